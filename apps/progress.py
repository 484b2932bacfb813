"""Progress of long work, handed to whoever shows it; what does the work prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

# How far the work is: (done, total, a few words). A total of None shows a bar without an end.
Report = Callable[[float, float | None, str], None]


def silent(done: float, total: float | None, note: str) -> None:
    """A `Report` that shows nothing."""


# Begins a piece of work of that name; what it gives is told how far the work is.
Watch = Callable[[str], AbstractContextManager[Report]]


@contextmanager
def unwatched(what: str) -> Iterator[Report]:
    """A `Watch` that shows nothing."""
    yield lambda done, total, note: None
