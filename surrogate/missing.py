"""Tables some of whose numbers are missing: NaN stands for them, and every column is described by what there is of it.

Where nothing is missing, results have the bits of NumPy's own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# What the sample in the middle counts beside what a sample has, where that says how large the rest is: a sample with less
# than this share of the shape says little.
_PRIOR = 0.01
# In which shape and sizes settle.
_ROUNDS = 4


class Lacking(NamedTuple):
    """How much of a table (samples, observables) is missing: samples and observables that lack anything, and values."""

    samples: int
    of_samples: int
    observables: int
    of_observables: int
    values: int

    @property
    def in_words(self) -> str:
        """A sentence without its full stop."""
        share = self.values / (self.of_samples * self.of_observables)
        return (
            f"{self.samples} of {self.of_samples} samples lack values of {self.observables} of {self.of_observables} "
            f"observables, {100 * share:.2g} % of all"
        )


def missing_in(values: Array) -> NDArray[np.bool_] | None:
    """Which numbers are missing; None where none is."""
    found = np.isnan(values)
    return found if found.any() else None


def lacking(missing: NDArray[np.bool_] | None) -> Lacking | None:
    """The same counted, of a table (n, k); None where none is."""
    if missing is None:
        return None
    samples, observables = int(missing.any(1).sum()), int(missing.any(0).sum())
    return Lacking(samples, len(missing), observables, missing.shape[1], int(missing.sum()))


def mean(values: Array) -> Array:
    """Of every column (n, k); zero where there is nothing of it."""
    found = values.mean(axis=0)
    if not np.isnan(found).any():
        return found
    there = ~np.isnan(values)
    return np.where(there, values, 0.0).sum(0) / np.maximum(there.sum(0), 1)


def variance(values: Array) -> Array:
    """Of every column (n, k); zero where there is nothing of it."""
    found = values.var(axis=0)
    return mean((values - mean(values)) ** 2) if np.isnan(found).any() else found


def mean_square(values: Array) -> float:
    """Of all numbers (n, k); where some are missing the mean over the columns of theirs."""
    found = float((values**2).mean())
    return float(mean(values**2).mean()) if math.isnan(found) else found


def lengths_of_all(values: Array, missing: NDArray[np.bool_]) -> Array:
    """Estimated norms (n,) of whole rows (n, k) some numbers of which are missing; NaN for rows without any.

    Rows are taken to be of one shape, in mean squares, and of sizes of their own: what a row lacks is as much larger than
    the shape as what it has. A row of which only little is known, of the shape, is of the size of the one in the middle: its
    length is not that of few small numbers.
    """
    there, squares = ~missing, np.where(missing, 0.0, values**2)
    have, level = squares.sum(1), np.ones(len(values))
    shape, known = np.zeros(values.shape[1]), np.zeros(len(values))
    for _ in range(_ROUNDS):
        counted = level > 0
        relative = np.divide(squares, level[:, None], out=np.zeros_like(squares), where=counted[:, None])
        shape = relative.sum(0) / np.maximum(there[counted].sum(0), 1)
        known = there @ shape
        level = np.divide(have, known, out=np.zeros_like(have), where=known > 0)
    prior = _PRIOR * shape.sum()
    middle = float(np.median(level[known > 0])) if (known > 0).any() else 0.0
    larger = np.divide(have + prior * middle, known + prior, out=np.zeros_like(have), where=known + prior > 0)
    return np.where(missing.all(1), np.nan, np.sqrt(have + larger * np.maximum(shape.sum() - known, 0.0)))
