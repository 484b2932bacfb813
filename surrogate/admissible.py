"""Points to try a model at, also where its space names no law: by the law, else uniform in the bounds, else near zero."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import ndtri

from gnvpro.surrogate.draws import draw
from gnvpro.surrogate.spaces import Array, Space

# Of a law without bounds, what is left out at each end.
_TAIL = 1e-3


def admissible_points(space: Space, n: int, seed: int) -> Array:
    """Points (n, space.size) by the law of the space; where it has none, uniform in the bounds and on the simplex.

    A component without bounds on both sides is placed in unit distance of the bound it has, or around zero.
    """
    if space.law != "unknown":
        return draw(space, seed, np.arange(n))
    if space.constraint == "simplex":
        return draw(replace(space, law="normalised_uniform"), seed, np.arange(n))
    lower, upper = box(space)
    return draw(replace(space, law="uniform", lower=tuple(lower), upper=tuple(upper)), seed, np.arange(n))


def box(space: Space) -> tuple[Array, Array]:
    """Finite bounds (size,), (size,): those of the space; where it has none, nearly all of its law, or unit distance."""
    if space.laws:
        low, high = space.own_laws.of_normal(np.multiply.outer(ndtri([_TAIL, 1 - _TAIL]), np.ones(space.size)))
        lower, upper, logarithmic = (
            space.lower_bounds,
            space.upper_bounds,
            space.own_laws.coordinates.logarithmic,
        )
        below = np.isfinite(lower) & ~(logarithmic & (lower <= 0))
        return np.where(below, lower, low), np.where(np.isfinite(upper), upper, high)
    lower = np.full(space.size, -np.inf) if space.lower is None else np.asarray(space.lower, float)
    upper = np.full(space.size, np.inf) if space.upper is None else np.asarray(space.upper, float)
    anchor = np.where(np.isfinite(lower), lower, np.where(np.isfinite(upper), upper - 1, -1.0))
    above = np.where(np.isfinite(lower) | np.isfinite(upper), anchor + 1, 1.0)
    return anchor, np.where(np.isfinite(upper), upper, above)
