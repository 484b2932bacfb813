"""Limits that quantities are to keep: as a user writes them, and which quantity each is of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from gnvpro.apps.propagate.limit_texts import EXPECTED, VALUE, read_texts
from gnvpro.apps.propagate.quantities import Quantities
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import with_unit
from gnvpro.surrogate.names import find_names, listed


@dataclass(frozen=True)
class Limit:
    """The limit of quantity number `column`: `above` where what exceeds it counts, else what falls below."""

    column: int
    value: float
    above: bool

    @property
    def sign(self) -> str:
        """Of the event that is counted."""
        return ">" if self.above else "<"

    def event(self, quantities: Quantities) -> str:
        """In words."""
        return f"{quantities.names[self.column]} {self.sign} {with_unit(f'{self.value:.6g}', quantities.unit(self.column))}"


def limits_of(given: Any, quantities: Quantities) -> tuple[Limit, ...]:
    """Limits of quantities.

    Parameters
    ----------
    given
        A number or text, `0.3` or `<0.1`, with the unit after it or without: of every scalar, or where there are none of
        every observable. Or a mapping of names to these, with the empty name for all; or several of them.

    Raises
    ------
    UsageError
        What is no limit, a name that no quantity has, another unit, or two limits of one quantity.
    """
    parts = _parts(given)
    named = [name for name, _ in parts if name]
    places = dict(zip(named, find_names(named, quantities.names, "the limits"), strict=True))
    found: dict[int, Limit] = {}
    first = quantities.n_observables if quantities.scalars else 0
    for name, value in sorted(parts, key=lambda part: bool(part[0])):  # those of all first: a name has precedence
        if name and places[name] is None:
            raise UsageError(
                f"there is no quantity {name!r} that a limit could be of; there are {listed(quantities.names)}"
            )
        place = places[name] if name else None
        for column in range(first, len(quantities.names)) if place is None else [place]:
            found[column] = _limit(column, value, quantities)
    if len([name for name, _ in parts if not name]) > 1:
        raise UsageError(
            f"expected one limit of all quantities, got {listed(value for name, value in parts if not name)}"
        )
    return tuple(found[column] for column in sorted(found))


def _parts(given: Any) -> list[tuple[str, Any]]:
    if given is None:
        return []
    if isinstance(given, Mapping):
        return [(str(name).strip(), value) for name, value in given.items()]
    if isinstance(given, str):
        return list(read_texts([given]).items())
    if isinstance(given, Sequence):
        return [part for one in given for part in _parts(one)]
    return [("", given)]


def _limit(column: int, value: Any, quantities: Quantities) -> Limit:
    if isinstance(value, Real) and not isinstance(value, bool):
        value = repr(float(value))
    match = VALUE.match(value) if isinstance(value, str) else None
    if match is None or not math.isfinite(float(match[2])):
        raise UsageError(f"{EXPECTED}; got {value!r}")
    unit, own = match[3], quantities.unit(column)
    if unit and unit != own:
        raise UsageError(
            f"the limit of {quantities.names[column]} is in {unit!r}, expected {own!r}; leave the unit out"
        )
    return Limit(column, float(match[2]), match[1] != "<")
