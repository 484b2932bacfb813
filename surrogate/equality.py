"""Equality of dataclasses with arrays: by value, where Python's own would ask an array whether it is true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np


class ComparedByValue:
    """Base of a dataclass that is declared with `eq=False`: equal where every field is, arrays number by number."""

    __hash__: None  # pyright: ignore[reportIncompatibleMethodOverride]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(same(getattr(self, field.name), getattr(other, field.name)) for field in fields(self))  # pyright: ignore[reportArgumentType]


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal, arrays and tensors in type and shape too, and numbers that are none to each other."""
    if _is_array(a) or _is_array(b):
        if type(a) is not type(b) or a.dtype != b.dtype:
            return False
        a, b = np.asarray(a), np.asarray(b)
        return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and type(a) is type(b):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b or (a != a and b != b))


def _is_array(value: Any) -> bool:
    """An array of numpy or a tensor on the CPU, without the import of torch: data are made without it."""
    return hasattr(value, "__array__") and not isinstance(value, np.generic)
