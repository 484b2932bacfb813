"""What a command says: results on stdout, everything else on stderr, and how it exits."""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gnvpro.apps.progress import Report
from gnvpro.surrogate.errors import NumericalFailure, UsageError

# Where stderr is a log: one line of progress a minute.
LOG_SECONDS = 60.0

EXIT_NUMERICAL_FAILURE, EXIT_BAD_USAGE, EXIT_INTERRUPTED = 1, 2, 130

stderr = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Outcome:
    """What a command leaves: numbers for programs, text for people, and whether the numerics failed."""

    numbers: dict[str, Any]
    text: RenderableType
    failure: str | None = None


def present(action: Callable[[], Outcome], *, as_json: bool, debug: bool) -> None:
    """Run a command, print its outcome and exit with its code.

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
        stderr.print(f"error: {_sentence(error)}", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_BAD_USAGE) from None
    except NumericalFailure as failure:
        stderr.print(f"failed: {_as_options(str(failure))}", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_NUMERICAL_FAILURE) from None
    except KeyboardInterrupt as interrupt:
        stderr.print(f"interrupted; {str(interrupt) or 'nothing was written'}", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        print(json.dumps(jsonable(outcome.numbers), allow_nan=False))
    else:
        Console(highlight=False).print(outcome.text)
    if outcome.failure:
        stderr.print(f"failed: {outcome.failure}", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_NUMERICAL_FAILURE)


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
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    last = clock()
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task(what, total=None, note="")

        def report(done: float, total: float | None, note: str) -> None:
            nonlocal last
            bar.update(task, completed=done, total=total, note=note)
            if in_logs and not stderr.is_terminal and clock() - last >= LOG_SECONDS:
                last = clock()
                stderr.print(f"{what}: {note}", markup=False, soft_wrap=True)

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
    """Two columns: what, and its value."""
    grid = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for what, value in rows:
        grid.add_row(what, value)
    return grid


def _sentence(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        extra = "invert" if error.name in ("nutpie", "arviz_base", "arviz_plots", "arviz_stats", "umbridge") else "pde"
        needs = "inversion needs" if extra == "invert" else "data and PDEs need"
        return f'{error.name} is not installed; {needs} pip install "gnvpro[{extra}]" (see the README)'
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(_as_options(str(error)).split()) or type(error).__name__


def _as_options(text: str) -> str:
    """What is an argument of a function is an option here."""
    return re.sub(r"\b(\w+)=True\b", lambda found: "--" + found[1].replace("_", "-"), text)
