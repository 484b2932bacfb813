"""Folds of samples: which are left out together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Up to so many samples, so many folds: few samples need all of them but one, many cost too much and need no more.
_FOLDS = ((1000, 10), (2000, 5))
# Beyond, one part is held out, of this share and at most so many.
SHARE, MOST_HELD_OUT = 0.2, 5000


def folds_of(n: int, seed: int) -> NDArray[np.intp]:
    """The fold of every sample (n,), at random; -1 for samples that are never left out."""
    number = next((folds for most, folds in _FOLDS if n <= most), None)
    if number is None:
        return np.where(held_out(n, seed), 0, -1)
    return np.random.default_rng(seed).permutation(n) % min(n, number)


def held_out(n: int, seed: int) -> NDArray[np.bool_]:
    """Which samples (n,) are the one part of many that is held out."""
    return np.random.default_rng(seed).permutation(n) < min(SHARE * n, MOST_HELD_OUT)


def coarser(folds: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """The same with at most so many folds, several left out together; samples that never are stay so."""
    return np.where(folds < 0, folds, folds % most)
