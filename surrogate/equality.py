"""Equality of dataclasses with arrays: by value, where Python's own would ask an array whether it is true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor


class ComparedByValue:
    """Base of a dataclass that is declared with `eq=False`: equal where every field is, arrays number by number."""

    __hash__: None  # pyright: ignore[reportIncompatibleMethodOverride]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(same(getattr(self, field.name), getattr(other, field.name)) for field in fields(self))  # pyright: ignore[reportArgumentType]


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal, arrays and tensors in type and shape too, and numbers that are none to each other."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.allclose(a, b.to(a), rtol=0, atol=0, equal_nan=True)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if type(a) is not type(b):
        return not isinstance(a, np.ndarray | Tensor) and not isinstance(b, np.ndarray | Tensor) and bool(a == b)
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b or (a != a and b != b))
