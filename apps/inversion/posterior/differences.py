"""Jacobians of a model that gives none, by differences inside its parameter space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gnvpro.surrogate.spaces import Array, Space

# Relative to the range of a parameter, or to its size: balances the truncation of a second-order difference and rounding.
_STEP = 1e-5


def difference_jacobian(evaluate: Callable[[Array], Array], space: Space, y: Array) -> Array:
    """Derivatives (n, n_out, n_in) at y (n, n_in) by two more evaluations for each parameter and point.

    In a box, central differences; at a bound, of second order from the inside. On the simplex column j is the derivative
    towards its corner e_j, which is as good as that along e_j for all that stays on the simplex.
    """
    n, n_in = y.shape
    lower, upper = space.lower_bounds, space.upper_bounds
    width = upper - lower
    step = _STEP * np.where(np.isfinite(width), width, np.maximum(np.abs(y).max(axis=0, initial=0), 1.0))
    here: Array | None = None
    columns = []
    for j in range(n_in):
        unit = np.where(np.arange(n_in) == j, 1.0, 0.0)
        move = _STEP * (unit - y) if space.constraint == "simplex" else np.tile(step[j] * unit, (n, 1))
        # A point too near a bound is left to one side only: twice the step away from it.
        up, down = (y + move <= upper).all(axis=1), (y - move >= lower).all(axis=1)
        central = up & down & (space.constraint == "box")
        sign = np.where(up, 1.0, -1.0)[:, None]
        first = evaluate(np.where(central[:, None], y + move, y + sign * move))
        second = evaluate(np.where(central[:, None], y - move, y + 2 * sign * move))
        if here is None and not central.all():
            here = evaluate(y)
        size = (_STEP if space.constraint == "simplex" else step[j]) * np.ones((n, 1))
        ahead = (first - second) / (2 * size)
        if here is not None:
            aside = sign * (4 * first - second - 3 * here) / (2 * size)
            ahead = np.where(central[:, None], ahead, aside)
        columns.append(ahead)
    return np.stack(columns, axis=2)
