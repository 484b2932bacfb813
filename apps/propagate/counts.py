"""Intervals of probabilities from counts, some of which are weighted and few or none of which are seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from gnvpro.surrogate.spaces import Array


def wilson(share: Array, n: Array | float, z: float) -> tuple[Array, Array]:
    """Interval (…) of a probability from the share of n draws in which it was seen, z standard deviations wide.

    Wilson (1927): it has a width also where the share is 0 or 1.
    """
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.clip(middle - half, 0, share), np.clip(middle + half, share, 1)


def weighted_counts(
    weights: Array, seen: NDArray[np.bool_], largest: Array, level: float
) -> tuple[Array, Array, Array]:
    """Sum of the weights (…, n) of what was seen (…, n), and its interval by the gamma law: three arrays (…).

    Fay and Feuer (1997): every seen event counts as Poisson. Where none was seen, the upper end is -ln((1 - level) / 2)
    times the largest weight that one might have had, the rule of three.

    Parameters
    ----------
    largest : (…)
        That weight.
    """
    total, squares = np.where(seen, weights, 0.0).sum(axis=-1), np.where(seen, weights**2, 0.0).sum(axis=-1)
    tail = (1 - level) / 2
    lower, upper = np.zeros_like(total), np.zeros_like(total)
    some = total > 0
    lower[some] = squares[some] / total[some] * gammaincinv(total[some] ** 2 / squares[some], tail)
    more, more_squares = total + largest, squares + largest**2
    some = more > 0
    upper[some] = more_squares[some] / more[some] * gammaincinv(more[some] ** 2 / more_squares[some], 1 - tail)
    return total, lower, np.maximum(upper, total)
