"""Progress of long work, handed to whoever shows it; what does the work prints nothing."""

from __future__ import annotations

from collections.abc import Callable

# How far the work is: (done, total, a few words). Without a total (None) nobody knows when it ends.
Report = Callable[[float, float | None, str], None]


def silent(done: float, total: float | None, note: str) -> None:
    """A `Report` that shows nothing."""


def noted(progress: Report, what: str) -> Report:
    """A `Report` of one part of the work, whose notes begin with the name of the part."""
    return lambda done, total, note: progress(done, total, f"{what}: {note}")
