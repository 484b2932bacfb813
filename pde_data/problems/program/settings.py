"""What the TOML file of a program holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt

Keep = Literal["none", "failed", "all"]
# What may be tried again, in the words of the statuses; `exception`: what it wrote cannot be read.
Failure = Literal["exit code", "signal", "timed out", "exception"]


@dataclass(frozen=True)
class AxisSettings:
    """An axis of the observables: its labels, or the number of them."""

    name: str
    labels: tuple[str, ...] | tuple[float, ...] = ()
    count: Annotated[int, Ge(0)] = 0
    unit: str = "1"


@dataclass(frozen=True)
class Observables:
    """Where the observables are and what they are called: one of `names`, `count` and `axes`.

    Attributes
    ----------
    read_from
        `stdout`, or a file in the working directory; its suffix (.json, .csv, .npy, .npz) says how it is read, else it is
        text.
    format
        Of what has no such suffix.
    key
        In JSON the entries, such as `result.T`, in a CSV file the columns, in an .npz file the arrays, in text the first
        word of the line (the last such line counts); all of the numbers without.
    unit
        One, or one for each.
    """

    read_from: str = "stdout"
    format: Literal["text", "json", "csv"] | None = None
    key: str | tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    count: Annotated[int, Ge(0)] = 0
    axes: tuple[AxisSettings, ...] = ()
    unit: str | tuple[str, ...] = "unknown"

    @property
    def keys(self) -> tuple[str, ...]:
        """All of them."""
        return (self.key,) if isinstance(self.key, str) else self.key


@dataclass(frozen=True)
class Settings:
    """What the file of a program holds; paths are relative to its folder.

    Attributes
    ----------
    command
        Words, or a line that is split as a shell does. `{name}` is a parameter or an entry of the level, `{name:.3f}` the
        same as Python formats it, `{folder}` the folder of the file. A word that names a file there is that file.
    parameters, units
        A law for each parameter, `[lower, upper]` for a uniform one; their units.
    observables
        Where they are and what they are called.
    templates
        Files that are written into the working directory, and the Jinja templates of them.
    parameters_file
        A .json or .csv file that is written there, with all parameters by name.
    copy, link
        Files or folders that are copied or linked there.
    environment, threads
        Variables of the program, and the number of threads that it is told to use.
    levels, level
        Entries that stand in command and templates, then those of cheaper versions, the cheapest last; which of them this is.
    time_limit
        Seconds for a sample.
    retries, retry_on
        How often a sample that failed is tried again, and after which failures.
    at_once
        How many samples are solved at a time in one process.
    keep, keep_in
        Whose working directories are kept, and where; else they are temporary.
    """

    command: str | tuple[str, ...]
    parameters: dict[str, Any]
    observables: Observables
    units: dict[str, str] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)
    parameters_file: str | None = None
    copy: tuple[str, ...] = ()
    link: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    threads: Annotated[int, Ge(1)] = 1
    levels: tuple[dict[str, Any], ...] = ({},)
    level: Annotated[int, Ge(0)] = 0
    time_limit: Annotated[float, Gt(0)] | None = None
    retries: Annotated[int, Ge(0)] = 0
    retry_on: tuple[Failure, ...] = ("exit code", "signal", "timed out", "exception")
    at_once: Annotated[int, Ge(1)] = 1
    keep: Keep = "none"
    keep_in: str = "kept"


# What a user may set beside the file (and a saved model may hold): nothing that names a program or a file.
OPTIONS = ("level", "time_limit", "retries", "at_once", "keep")
# What the numbers do not depend on: not part of the definition.
NOT_DEFINING = ("level", "time_limit", "retries", "retry_on", "at_once", "keep", "keep_in")
