"""How large errors are on average, from the half widths of error bands: upper estimates, column by column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gnvpro.surrogate.spaces import Array

# Mean square of the errors beyond the largest finite band, in units of its square. A normal error has 1.3 beyond its 99 %
# quantile and 1.7 beyond its 90 % quantile; errors of surrogates have heavier tails.
_BEYOND = 4.0


def mean_square_errors(levels: Sequence[float], widths: Array) -> Array:
    """An upper estimate of the mean square error (k,) of what has bands of these levels and half widths (n_levels, k).

    The integral of the squared quantile function over the probability by the trapezoidal rule, which overestimates what is
    convex, and beyond the largest finite level four times its square: of a normal error 1.26 times the mean square with a
    level of 99 %, 1.7 times with one of 90 %. NaN where no level is finite.
    """
    return _mean(levels, widths**2, _BEYOND)


def mean_errors(levels: Sequence[float], widths: Array) -> Array:
    """The same of the mean of the error's absolute value: beyond, the root of a mean square is no less than the mean."""
    return _mean(levels, widths, _BEYOND**0.5)


def _mean(levels: Sequence[float], sizes: Array, beyond: float) -> Array:
    """Of sizes (n_levels, k) that ascend, finite up to a level of each column's own."""
    finite = np.isfinite(sizes)
    reached = np.concatenate([np.zeros((1, sizes.shape[1])), np.where(finite, sizes, 0.0)])
    steps = np.diff(levels, prepend=0.0)[:, None] * finite
    rest = (1 - steps.sum(axis=0)) * beyond * reached.max(axis=0)
    found = (steps * (reached[1:] + reached[:-1]) / 2).sum(axis=0) + rest
    return np.where(finite.any(axis=0), found, np.nan)
