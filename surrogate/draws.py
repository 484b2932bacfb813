"""Points drawn from the law of a space, every one reproducible alone.

Sample i comes from its own stream of the counter-based generator Philox: key = seed, the highest word of the counter
= i. It does not depend on how many samples there are nor on how they are divided into blocks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Space


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
    UsageError
        A law that cannot be drawn from, missing bounds, a negative seed or a negative index.
    """
    if space.law not in LAWS:
        raise UsageError(f"cannot draw from the law {space.law!r}; give the space one of {', '.join(LAWS)}")
    return LAWS[space.law](space, seed, sample_numbers(seed, index))


def sample_numbers(seed: int, index: ArrayLike) -> NDArray[np.int64]:
    """Numbers of samples and their seed, checked: (n,)."""
    if not 0 <= seed < 2**64:
        raise UsageError(f"expected a seed from 0 to 2**64 - 1, got {seed}")
    numbers = np.atleast_1d(np.asarray(index, dtype=np.int64))
    if numbers.ndim != 1 or (numbers < 0).any():
        raise UsageError("expected a list of sample numbers >= 0")
    return numbers


def finite_bounds(space: Space) -> tuple[Array, Array]:
    """Lower and upper bounds (size,) of a space with the law `uniform` or `log_uniform`, which needs them."""
    if space.lower is None or space.upper is None or not np.isfinite([space.lower, space.upper]).all():
        raise UsageError(f"the law {space.law!r} needs finite bounds; give the space `lower` and `upper`")
    return np.asarray(space.lower, dtype=np.float64), np.asarray(space.upper, dtype=np.float64)


def _uniform(space: Space, seed: int, index: NDArray[np.int64]) -> Array:
    lower, upper = finite_bounds(space)
    return lower + (upper - lower) * _unit_cube(space.size, seed, index)


def _log_uniform(space: Space, seed: int, index: NDArray[np.int64]) -> Array:
    lower, upper = finite_bounds(space)
    if lower.min() <= 0:
        raise UsageError(f"the law 'log_uniform' needs positive bounds, got {lower.min():g}; choose the law 'uniform'")
    # Rounding may leave the box by one bit.
    return np.clip(lower * np.exp(np.log(upper / lower) * _unit_cube(space.size, seed, index)), lower, upper)


def _normalised_uniform(space: Space, seed: int, index: NDArray[np.int64]) -> Array:
    points = _unit_cube(space.size, seed, index)
    return points / points.sum(axis=1, keepdims=True)


def _independent(space: Space, seed: int, index: NDArray[np.int64]) -> Array:
    return space.own_laws.of_uniform(_unit_cube(space.size, seed, index))


def _unit_cube(size: int, seed: int, index: NDArray[np.int64]) -> Array:
    points = np.empty((len(index), size))
    for row, i in zip(points, index, strict=True):
        np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, int(i)])).random(out=row)
    return points


LAWS: dict[str, Callable[[Space, int, NDArray[np.int64]], Array]] = {
    "uniform": _uniform,
    "log_uniform": _log_uniform,
    "normalised_uniform": _normalised_uniform,
    "independent": _independent,
}
