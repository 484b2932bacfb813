"""Parameters drawn from the law of their space, every sample reproducible alone.

Sample i comes from its own stream of the counter-based generator Philox: key = seed, the highest word of the
counter = i. It depends neither on how many samples are drawn nor on how they are divided into blocks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from surrogate.forward_model import Array, Space


def draw(space: Space, seed: int, index: ArrayLike) -> Array:
    """Samples number `index` of the sequence that belongs to `seed`.

    Parameters
    ----------
    index : (n,)
        Numbers of the samples, not negative, in any order.

    Returns
    -------
    (n, space.size)
        One row per sample.

    Raises
    ------
    ValueError
        A law that cannot be drawn from, missing bounds, a negative seed or a negative index.
    """
    if space.law not in _LAWS:
        raise ValueError(f"cannot draw from the law {space.law!r}; give the space one of {', '.join(_LAWS)}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"expected a seed from 0 to 2**64 - 1, got {seed}")
    numbers = np.atleast_1d(np.asarray(index, dtype=np.int64))
    if numbers.ndim != 1 or (numbers < 0).any():
        raise ValueError("expected a list of sample numbers >= 0")
    return _LAWS[space.law](space, seed, numbers)


def _uniform(space: Space, seed: int, index: NDArray[np.int64]) -> Array:
    if space.lower is None or space.upper is None or not np.isfinite([space.lower, space.upper]).all():
        raise ValueError("the law 'uniform' needs finite bounds; give the space `lower` and `upper`")
    lower, upper = np.asarray(space.lower), np.asarray(space.upper)
    return lower + (upper - lower) * _unit_cube(space.size, seed, index)


def _normalised_uniform(space: Space, seed: int, index: NDArray[np.int64]) -> Array:
    points = _unit_cube(space.size, seed, index)
    return points / points.sum(axis=1, keepdims=True)


def _unit_cube(size: int, seed: int, index: NDArray[np.int64]) -> Array:
    points = np.empty((len(index), size))
    for row, i in zip(points, index, strict=True):
        np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, int(i)])).random(out=row)
    return points


_LAWS: dict[str, Callable[[Space, int, NDArray[np.int64]], Array]] = {
    "uniform": _uniform,
    "normalised_uniform": _normalised_uniform,
}
