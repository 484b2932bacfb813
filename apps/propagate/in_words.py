"""Intervals as people read them."""

from __future__ import annotations

import math


def between(lower: float, upper: float) -> str:
    """An interval in words, in as many digits as tell its ends apart; `not known` where one of them is NaN."""
    if (digits := _digits(lower, upper)) is None:
        return "not known"
    return f"{lower:.{digits}g} to {upper:.{digits}g}"


def valued(value: float, lower: float, upper: float) -> str:
    """A value in the digits of its interval, so that rounding never puts it outside; in six where that is not known."""
    return f"{value:.{_digits(lower, upper) or 6}g}"


def in_brackets(lower: float, upper: float) -> str:
    """The interval after a value; nothing where it is not known."""
    return "" if math.isnan(lower) or math.isnan(upper) else f" ({between(lower, upper)})"


def _digits(lower: float, upper: float) -> int | None:
    if math.isnan(lower) or math.isnan(upper):
        return None
    size, width = max(abs(lower), abs(upper)), upper - lower
    return 3 if not 0 < width < math.inf else min(max(3, 2 + math.ceil(math.log10(size / width))), 9)
