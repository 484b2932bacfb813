"""What is rounding: of a quantity, compared with its own size so that units do not matter, and in a precision."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from gnvpro.surrogate.spaces import Array

# Equal numbers that were computed in different ways differ by a few ulps.
_ULPS = 8
_EPSILON = torch.finfo(torch.float64).eps


def varies(values: Array) -> NDArray[np.bool_]:
    """Which columns of values (n, …) hold more than one number, told apart from rounding of its own size."""
    return values.max(axis=0) - values.min(axis=0) > _ULPS * _EPSILON * np.abs(values).max(axis=0)


def spread_or_size(values: Array, spread: Array) -> Array:
    """The spreads of columns of values (n, …); the size of a column that does not vary, and one of a column of zeros."""
    size = np.abs(values).max(axis=0)
    return np.where(varies(values), spread, np.where(size > 0, size, 1.0))


def in_precision(threshold: float, dtype: torch.dtype) -> float:
    """A threshold that is right in float64, for another type: the same power of the type's machine epsilon."""
    if dtype == torch.float64:
        return threshold
    return torch.finfo(dtype).eps ** (math.log(threshold) / math.log(_EPSILON))
