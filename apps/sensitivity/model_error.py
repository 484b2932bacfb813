"""What a saved surrogate knows of the size of its own error: the mean square of it, from its error bands."""

from __future__ import annotations

import numpy as np

from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.trust.bands import Bands

# Mean square of the errors beyond the largest finite band, in units of its square. A normal error has 1.3 beyond its 99 %
# quantile and 1.7 beyond its 90 % quantile; errors of surrogates have heavier tails.
_BEYOND = 4.0


def mean_square_errors(bands: Bands) -> Array | None:
    """An upper estimate of the mean square error of every observable (n_out,), in its unit squared.

    The integral of the squared quantile function over the probability by the trapezoidal rule, which overestimates what is
    convex, and beyond the largest finite level four times its square: of a normal error 1.26 times the mean square with a
    level of 99 %, 1.7 times with one of 90 %. None where an observable has too few samples to give any finite band.
    """
    finite = np.isfinite(bands.marginal)  # (n_levels, n_out): each observable has samples of its own
    if not finite.any(axis=0).all():
        return None
    levels = np.array(bands.levels)
    return np.array([_mean_square(levels[of], bands.marginal[of, k]) for k, of in enumerate(finite.T)])


def _mean_square(levels: Array, widths: Array) -> float:
    levels, squares = np.append(0.0, levels), np.append(0.0, widths**2)
    return float(np.trapezoid(squares, levels) + (1 - levels[-1]) * _BEYOND * squares[-1])
