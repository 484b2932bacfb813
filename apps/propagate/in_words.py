"""Intervals as people read them."""

from __future__ import annotations

import math


def between(lower: float, upper: float) -> str:
    """An interval in words, in as many digits as tell its ends apart; `not known` where one of them is NaN."""
    if math.isnan(lower) or math.isnan(upper):
        return "not known"
    size, width = max(abs(lower), abs(upper)), upper - lower
    digits = 3 if not 0 < width < math.inf else min(max(3, 2 + math.ceil(math.log10(size / width))), 9)
    return f"{lower:.{digits}g} to {upper:.{digits}g}"


def in_brackets(lower: float, upper: float) -> str:
    """The same after a value; nothing where it is not known."""
    return "" if math.isnan(lower) or math.isnan(upper) else f" ({between(lower, upper)})"
