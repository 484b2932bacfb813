"""What a study returns."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from gnvpro.apps.console import jsonable
from gnvpro.apps.reports.figure_style import as_data_uri, save_png
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.writing import require_new_folder, whole_folder

NUMBERS = "study.json"


@dataclass(frozen=True, repr=False)
class StudyResult(Result):
    """Numbers for programs, tables for people, figures by file name (without ending).

    Attributes
    ----------
    measured
        JSON-able; everything that is in a table or figure stands here too.
    files
        Further files by name, each written by a function of its path (an animation, a data set).
    """

    measured: dict[str, Any]
    tables: list[Table]
    figures: dict[str, Figure] = field(default_factory=dict)
    files: dict[str, Callable[[Path], None]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The study's name."""
        return f"Study {self.measured.get('study', '')}".rstrip()

    def rows(self) -> list[tuple[str, str]]:
        """Its tables by their titles, and its figures by their names."""
        tables = [(f"table {i}", str(table.title)) for i, table in enumerate(self.tables, 1)]
        return [*tables, ("figures", ", ".join(self.figures))]

    def numbers(self) -> dict[str, Any]:
        """See `measured`."""
        return self.measured

    def __repr__(self) -> str:
        console = Console(width=120, highlight=False)
        with console.capture() as capture:
            console.print(self.title, *self.tables, sep="\n")
        return capture.get()

    def _repr_html_(self) -> str:
        images = "".join(f'<img src="{as_data_uri(figure)}" alt="{name}">' for name, figure in self.figures.items())
        return f"<pre>{escape(repr(self))}</pre>{images}"

    def save(self, out: Path) -> None:
        """Write a new folder with figures, further files and numbers."""
        require_new_folder(out, "study")
        with whole_folder(out) as folder:
            for name, figure in self.figures.items():
                save_png(figure, folder / f"{name}.png")
            for name, write in self.files.items():
                write(folder / name)
            (folder / NUMBERS).write_text(json.dumps(jsonable(self.measured), indent=1))


def study_table(title: str, first: str, *columns: str, **style: Any) -> Table:
    """An empty table: words in the first column, numbers in the others."""
    table = Table(title=title, title_justify="left", **style)
    table.add_column(first)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def spread_of_errors(errors: list[float]) -> tuple[str, str]:
    """Median and range in per cent, for two columns of a table."""
    return percent(median(errors)), f"{100 * min(errors):.3g} to {100 * max(errors):.3g}"
