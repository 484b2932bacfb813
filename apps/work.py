"""What long work says of itself, whoever listens: how far it is, and that its numerics failed."""

from __future__ import annotations

from collections.abc import Callable

# How far the work is: (done, total, a few words). A total of None shows a bar without an end.
Report = Callable[[float, float | None, str], None]


class NumericalFailure(Exception):
    """The numerics did not give what was asked for; the input was fine."""
