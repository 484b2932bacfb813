"""A program that is run once for every sample, as a problem: what its TOML file describes, solved."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import PickledWithoutCaches, SolveFailed
from gnvpro.pde_data.problems.options import make
from gnvpro.pde_data.problems.program.inputs import Inputs
from gnvpro.pde_data.problems.program.outputs import observable_space
from gnvpro.pde_data.problems.program.processes import Processes
from gnvpro.pde_data.problems.program.runs import Run
from gnvpro.pde_data.problems.program.settings import NOT_DEFINING, OPTIONS, Settings
from gnvpro.pde_data.problems.row_by_row import block_size_for, piece_size_for, solve_rows
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws import laws_of
from gnvpro.surrogate.laws.discrete import DiscreteLaw
from gnvpro.surrogate.names import listed
from gnvpro.surrogate.spaces import Array, Space


@dataclass(frozen=True)
class Program(PickledWithoutCaches):
    """A program and how it is called, given its parameters and read; a run that fails is a sample that failed.

    Attributes
    ----------
    path
        The TOML file, absolute; files that it names are relative to its folder.
    settings
        What it holds.

    Raises UsageError: settings that do not fit each other, or name what is not there.
    """

    path: Path
    settings: Settings

    def __post_init__(self) -> None:
        try:
            self._require_consistent()
        except UsageError as error:
            raise UsageError(f"{self.path}: {error}") from None

    def _require_consistent(self) -> None:
        levels = self.settings.levels
        if self.settings.level >= len(levels):
            raise UsageError(f"expected a level below {len(levels)}, got {self.settings.level}")
        if any(level.keys() != levels[0].keys() for level in levels):
            raise UsageError("expected the same entries in all levels")
        if taken := [name for name in (*levels[0], "folder") if name in self.parameters.names]:
            raise UsageError(f"{taken[0]!r} is a parameter and something else; give one another name")
        _ = self._inputs, self.observables

    @classmethod
    def from_file(cls, path: str | Path, options: dict[str, Any] | None = None) -> Program:
        """The program that a TOML file describes.

        `options`: `level`, `time_limit`, `retries`, `at_once` and `keep` in the place of those of the file.

        Raises UsageError: no TOML, or not that of a program; says what is expected.
        """
        path, options = Path(path).expanduser().absolute(), options or {}
        if unknown := [name for name in options if name not in OPTIONS]:
            raise UsageError(
                f"{path}: {unknown[0]!r} is no option; what may be set beside the file is {listed(OPTIONS)}"
            )
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is no TOML ({error})") from None
        if missing := [name for name in ("command", "parameters", "observables") if name not in content]:
            raise UsageError(f"{path} has no {missing[0]}; what describes a program is told in docs/programs.md")
        try:
            settings = make(Settings, content | options)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
        return cls(path, settings)

    @property
    def name(self) -> str:
        """The name of the file; no problem is made from it alone."""
        return self.path.name

    @cached_property
    def parameters(self) -> Space:
        """By the laws of the file."""
        space, units = Space.of_laws(self.settings.parameters), self.settings.units
        if unknown := [name for name in units if name not in space.names]:
            raise UsageError(f"units: there is no parameter {unknown[0]!r}; there are {listed(space.names)}")
        return replace(space, units=tuple(units.get(name, "1") for name in space.names))

    @cached_property
    def observables(self) -> Space:
        """As the file calls them."""
        return observable_space(self.settings.observables)

    @cached_property
    def definition(self) -> dict[str, Any]:
        """What the file says, less how it is run, and hashes of the files that it names.

        A program on the PATH has no hash: it is another file on every machine.
        """
        settings = {name: value for name, value in asdict(self.settings).items() if name not in NOT_DEFINING}
        settings["levels"] = self.settings.levels[self.settings.level]
        program = "hashed, beside the description" if self._inputs.programs else "on the PATH, not hashed"
        return dict(
            problem=self.name,
            route=f"a program, run for each sample ({program})",
            options={"level": self.settings.level} if self.settings.level else {},
            settings=json.loads(json.dumps(settings)),
            files=self._inputs.hashes(),
        )

    @property
    def block_size(self) -> int:
        """Samples of a block."""
        return block_size_for(self.settings.at_once)

    @property
    def piece_size(self) -> int:
        """Samples that are solved together, and lost together to an interrupt."""
        return piece_size_for(self.settings.at_once)

    def with_time_limit(self, seconds: float) -> Program:
        """The same with so many seconds for a sample."""
        return replace(self, settings=replace(self.settings, time_limit=seconds))

    def coarser(self) -> Program | None:
        """With the entries of the next level; None at the last."""
        level = self.settings.level + 1
        return (
            replace(self, settings=replace(self.settings, level=level)) if level < len(self.settings.levels) else None
        )

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out); NaN where a run fails."""
        return self.solve(y)[0]

    def solve(self, y: Array) -> tuple[Array, NDArray[np.int8], list[str]]:
        """Observables, status and messages: exit code, signal or time-out, with the end of what the program said."""
        y = self.parameters.rows(y)
        run, processes = Run(self.settings, self._inputs, self.path.parent, self.observables.size), Processes()

        def solve_row(row: Array) -> Array:
            for attempt in range(self.settings.retries + 1):
                try:
                    return run.observables(self._values(row), processes)
                except SolveFailed as failure:
                    if attempt == self.settings.retries or failure.status.in_words not in self.settings.retry_on:
                        said = f"{failure} (attempt {attempt + 1})" if attempt else str(failure)
                        raise SolveFailed(said, failure.status) from None
            raise AssertionError("not reached")

        inside, n_out = self.parameters.contains(y), self.observables.size
        return solve_rows(solve_row, y, inside, n_out, self.settings.at_once, processes.stop)

    def _values(self, row: Array) -> dict[str, Any]:
        """What placeholders stand for: parameters as Python's numbers, whose text has all digits."""
        whole = self._whole_numbers
        parameters = {
            name: round(value) if name in whole else value
            for name, value in zip(self.parameters.names, row.tolist(), strict=True)
        }
        return parameters | self.settings.levels[self.settings.level] | {"folder": str(self.path.parent)}

    @cached_property
    def _whole_numbers(self) -> set[str]:
        """Parameters that are always integers: programs read `3`, and not all of them `3.0`."""
        names, laws = laws_of(self.settings.parameters)
        of_names = (law for law in laws for _ in range(law.size))
        return {
            name
            for name, law in zip(names, of_names, strict=True)
            if isinstance(law, DiscreteLaw) and (law.values_in_order % 1 == 0).all()
        }

    @cached_property
    def _inputs(self) -> Inputs:
        return Inputs.of(self.settings, self.path.parent, (*self.parameters.names, *self.settings.levels[0]))
