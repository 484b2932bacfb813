"""What is rounding of a quantity: its spread is compared with its own size, so that units do not matter."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

# Equal numbers that were computed in different ways differ by a few ulps.
_ULPS = 8
_EPSILON = sys.float_info.epsilon


def varies(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which columns of values (n, …) hold more than one number, told apart from rounding of its own size; NaN is none."""
    highest, lowest = np.fmax.reduce(values, axis=0), np.fmin.reduce(values, axis=0)
    return highest - lowest > _ULPS * _EPSILON * np.fmax(np.abs(highest), np.abs(lowest))


def spread_or_size(values: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """The spreads of columns of values (n, …); the size of a column that does not vary, and one of a column of zeros."""
    size = np.abs(values).max(axis=0)
    return np.where(varies(values), spread, np.where(size > 0, size, 1.0))
