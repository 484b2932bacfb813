"""Numbers as people read them."""

from __future__ import annotations


def percent(value: float) -> str:
    """A relative error in per cent, three digits."""
    return f"{100 * value:.3g} %"


def seconds(value: float) -> str:
    """A duration in the unit that reads best."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"
