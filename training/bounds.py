"""The bounds that a field of a settings class carries (`Annotated[int, Ge(1)]`), checked where settings are made."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, get_type_hints

from annotated_types import Ge, Gt

from gnvpro.surrogate.errors import UsageError


def require_within_bounds(settings: Any) -> None:
    """Every number of a dataclass is within the bounds of its field; None is.

    Raises
    ------
    ValueError
        One that is not; the message says which.
    """
    hints = get_type_hints(type(settings), include_extras=True)
    for field in fields(settings):
        value = getattr(settings, field.name)
        for holds, sign, bound in _bounds(hints[field.name]):
            if value is not None and not holds(value, bound):
                raise UsageError(f"expected {field.name} {sign} {bound}, got {value}")


def _bounds(hint: Any) -> Iterator[tuple[Any, str, Any]]:
    for item in getattr(hint, "__metadata__", ()):
        if isinstance(item, Gt):
            yield operator.gt, ">", item.gt
        if isinstance(item, Ge):
            yield operator.ge, ">=", item.ge
