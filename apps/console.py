"""What a command says: results on stdout, everything else on stderr, and how it exits."""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.extras import MissingLibrary, how_to_get
from gnvpro.surrogate.launch import rank
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.result import Result

# Where stderr is a log: one line of progress a minute.
LOG_SECONDS = 60.0

EXIT_NUMERICAL_FAILURE, EXIT_BAD_USAGE, EXIT_INTERRUPTED = 1, 2, 130

# Of several processes the first reports.
stderr = Console(stderr=True, highlight=False, quiet=rank() > 0)
# Seconds that another process waits with its error: where the first has one too, all are ended meanwhile.
_OTHERS_WAIT = 5.0


@dataclass(frozen=True)
class Outcome:
    """What a command leaves: numbers for programs, text for people, and whether the numerics failed."""

    numbers: dict[str, Any]
    text: RenderableType
    failure: str | None = None

    @classmethod
    def of(cls, result: Result, *, saved: Path | None = None, failure: str | None = None, **more: Any) -> Outcome:
        """Of what a function of the library returned; `saved` is where it was written to, and `more` are further numbers."""
        rows = result.rows() + ([] if saved is None else [("saved", str(saved))])
        return cls({**result.numbers(), **more}, table(result.title, rows), failure)


def present(action: Callable[[], Outcome], *, as_json: bool, debug: bool, options: Collection[str] = ()) -> None:
    """Run a command, which has these options, print its outcome and exit with its code.

    Bad usage (UsageError), files (OSError) and a missing library (ImportError) are one sentence on stderr; anything else
    is a defect of this program and keeps its traceback.
    """
    try:
        # A user's problem may print: stdout stays clean for the result.
        with contextlib.redirect_stdout(sys.stderr):
            outcome = action()
    except (UsageError, OSError, ImportError) as error:
        if debug:
            raise
        raise _exit(EXIT_BAD_USAGE, f"error: {_sentence(error, options)}") from None
    except NumericalFailure as failure:
        raise _exit(EXIT_NUMERICAL_FAILURE, f"failed: {as_typed(str(failure), options)}") from None
    except KeyboardInterrupt as interrupt:
        raise _exit(EXIT_INTERRUPTED, f"interrupted; {str(interrupt) or 'nothing was written'}") from None
    if rank() > 0:
        pass
    elif as_json:
        print(json.dumps(jsonable(outcome.numbers), allow_nan=False))
    else:
        Console(highlight=False).print(outcome.text)
    if outcome.failure:
        raise _exit(EXIT_NUMERICAL_FAILURE, f"failed: {as_typed(outcome.failure, options)}")


def _exit(code: int, why: str) -> typer.Exit:
    """Says on stderr why, and what to raise."""
    if number := rank():
        time.sleep(_OTHERS_WAIT)
        print(f"process {number}: {why}", file=sys.stderr, flush=True)
    say(why)
    return typer.Exit(code)


def interrupted(checkpoint: Path | None) -> KeyboardInterrupt:
    """What to raise where Ctrl-C ends a command before it wrote anything but PDE solves into a checkpoint."""
    kept = "" if checkpoint is None else f"; the PDE solves are in {checkpoint}, and the same command goes on"
    return KeyboardInterrupt(f"nothing was written{kept}")


def say(text: str) -> None:
    """A line on stderr, as it is."""
    stderr.print(text, markup=False, soft_wrap=True)


def jsonable(value: Any) -> Any:
    """JSON has no NaN and no infinity: both become null."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextlib.contextmanager
def progress(what: str, *, in_logs: bool = False, clock: Callable[[], float] = time.monotonic) -> Iterator[Report]:
    """A bar on stderr while the work runs.

    Where stderr is no terminal: nothing, or with `in_logs` a line a minute, for work that takes hours.
    """
    description, note = (TextColumn(f"{{task.{text}}}", markup=False) for text in ("description", "fields[note]"))
    columns = (description, BarColumn(), note, TimeElapsedColumn())
    last = clock()
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task(what, total=None, note="")

        def report(done: float, total: float | None, note: str) -> None:
            nonlocal last
            bar.update(task, completed=done, total=total, note=note)
            if in_logs and not stderr.is_terminal and clock() - last >= LOG_SECONDS:
                last = clock()
                say(f"{what}: {note}")

        yield report


class Pace:
    """How fast work goes and how long it will take, measured from its first report on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start: tuple[float, float] | None = None

    def at(self, done: float, total: float, unit: str) -> str:
        """`, 12.3 samples/s, 0:01:40 left`; empty until there is something to measure."""
        now = self._clock()
        if self._start is None:
            self._start = now, done
        began, had = self._start
        if done <= had or now <= began:
            return ""
        rate = (done - had) / (now - began)
        return f", {rate:.3g} {unit}/s, {timedelta(seconds=round((total - done) / rate))} left"


def table(title: str, rows: list[tuple[str, str]]) -> Table:
    """Two columns: what, and its value; brackets in them are text, such as those of units, no markup."""
    grid = Table(title=escape(title), title_justify="left", show_header=False, box=None, pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for what, value in rows:
        grid.add_row(escape(what), escape(as_typed(value)))
    return grid


def as_typed(text: str, options: Collection[str] = ()) -> str:
    """A text of the library in the words of the command line: arguments become options, and functions commands.

    `transpose=True` becomes `--transpose`, `fallback='pde'` becomes `--fallback pde`, `gnvpro.calibrate` `gnvpro calibrate`,
    and of `options` also `train=4` and what stands between backticks.
    """

    def option(argument: re.Match[str]) -> str:
        if argument[2].isdigit() and argument[1] not in options:
            return argument[0]
        name, value = "--" + argument[1].replace("_", "-"), argument[2].strip("'")
        return name if value == "True" else f"{name} {value}"

    def quoted(name: re.Match[str]) -> str:
        return "--" + name[1].replace("_", "-") if name[1] in options else name[0]

    text = re.sub(r"\b([a-z_]+)=(True\b|'[^']*'|\d+\b)", option, text)
    text = re.sub(r"`([a-z_]+)`", quoted, text)
    return re.sub(r"\bgnvpro\.(?!fenicsx\b)([a-z]+)\b(?!\.)", r"gnvpro \1", text)


def _sentence(error: BaseException, options: Collection[str]) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and not isinstance(error, MissingLibrary):
        return how_to_get(error.name)
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(as_typed(str(error), options).split()) or type(error).__name__
