"""Runs of a study that are kept in a file as they are measured, so that an interrupted study goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.progress import Report

# What was measured: a row of the file.
Row = dict[str, Any]


class KeptRuns[Run: tuple[Any, ...]]:
    """Rows by run: those of a JSON-lines file, where one is named, to which every new one is appended.

    `kind` is the class of the runs, a named tuple; every row holds its fields beside what was measured.
    """

    def __init__(self, kind: type[Run], file: Path | None) -> None:
        self._file, self._fields = file, tuple(kind.__annotations__)
        self.rows: dict[Run, Row] = {}
        if file is not None and file.exists():
            for i, line in enumerate(file.read_text().splitlines(), 1):
                try:
                    row = json.loads(line)
                    self.rows[kind(*(row[name] for name in self._fields))] = row
                except (json.JSONDecodeError, KeyError, TypeError) as error:
                    raise UsageError(
                        f"line {i} of {file} is not a run of this study; remove it or name another file"
                    ) from error

    def add(self, run: Run, row: Row) -> None:
        """Keep what a run has measured."""
        self.rows[run] = row
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a") as lines:
                lines.write(json.dumps(row) + "\n")

    def measured(
        self, plan: Sequence[Run], measure: Callable[[Run], Row], in_words: Callable[[Run], str], report: Report
    ) -> list[Row]:
        """The rows of a plan, those measured that are not kept yet."""
        for i, run in enumerate(plan):
            if run not in self.rows:
                report(i, len(plan), in_words(run))
                self.add(run, {**dict(zip(self._fields, run, strict=True)), **measure(run)})
        return [self.rows[run] for run in plan]
