"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gnvpro.surrogate.units import typeset


def percent(value: float) -> str:
    """A relative error in per cent, three digits."""
    return f"{100 * value:.3g} %"


def seconds(value: float) -> str:
    """A duration in the unit that reads best."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def listed(values: Mapping[str, Any], show: Callable[[Any], str] = str) -> str:
    """Names with their values on one line, such as `train 0.1 %, test 0.2 %`."""
    return ", ".join(f"{name} {show(value)}" for name, value in values.items())


def shown_unit(unit: str) -> str:
    """A unit as people see it, such as m³ of `m3`: nothing for numbers without one, and where it is not known."""
    return "" if unit in ("1", "unknown") else typeset(unit)


def with_unit(value: str, unit: str) -> str:
    """A value followed by its unit, where there is one to show."""
    return f"{value} {shown_unit(unit)}".rstrip()


def in_unit(name: str, unit: str) -> str:
    """A name with its unit in brackets, for axes and columns, where there is one to show."""
    return f"{name} ({shown})" if (shown := shown_unit(unit)) else name
