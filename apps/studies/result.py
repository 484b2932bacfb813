"""What a study leaves, and what it may ask of the command that runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.table import Table


@dataclass(frozen=True)
class StudyResult:
    """Numbers for programs, tables for people, figures by file name (without ending).

    Attributes
    ----------
    numbers
        JSON-able; everything that is in a table or figure stands here too.
    files
        Further files by name, each written by a function of its path (an animation, a data set).
    """

    numbers: dict[str, Any]
    tables: list[Table]
    figures: dict[str, Figure] = field(default_factory=dict)
    files: dict[str, Callable[[Path], None]] = field(default_factory=dict)
