"""Tables some of whose numbers are missing: NaN stands for them, and every column is described by what there is of it.

Where nothing is missing, results have the bits of NumPy's own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# What a mean sample counts beside what a sample has, where that says how large the rest is: a sample with less than this
# share of the mean energy says little.
_PRIOR = 0.01


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

    What a row lacks is taken to be of mean square size times what the row is larger than the mean in what it has. A row of
    which only little is known, in mean energy, is of mean size: its length is not that of few small numbers.
    """
    squares = np.where(missing, 0.0, values**2)
    energies = squares.sum(0) / np.maximum((~missing).sum(0), 1)
    known, prior = ~missing @ energies, _PRIOR * energies.sum()
    have = squares.sum(1)
    larger = np.divide(have + prior, known + prior, out=np.ones_like(have), where=known + prior > 0)
    return np.where(missing.all(1), np.nan, np.sqrt(have + larger * (energies.sum() - known)))
