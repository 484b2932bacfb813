"""Parameters drawn from the law of their space, or placed by a design; every sample reproducible alone.

A draw: sample i comes from its own stream of the counter-based generator Philox: key = seed, the highest word of
the counter = i. A design: sample i is point i of its sequence. Neither depends on how many samples there are nor on
how they are divided into blocks, so that a data set can be cut and extended anywhere.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnvpro.surrogate.spaces import Array, Space

Design = Literal["random", "sobol-arcsine"]
DESIGNS: tuple[Design, ...] = get_args(Design)

# Up to so many parameters a design that fills the corners is affordable: a box of d parameters has 2^d of them.
FEW_PARAMETERS = 5
# scipy's Sobol generator works with 30 bits.
_SOBOL_POINTS = 2**30


def default_design(space: Space) -> Design:
    """`sobol-arcsine` in a box of few parameters with the law `uniform`, `random` everywhere else."""
    return "sobol-arcsine" if _is_uniform_box(space) and space.size <= FEW_PARAMETERS else "random"


def place(space: Space, design: str, seed: int, index: ArrayLike) -> Array:
    """Samples number `index` of a design.

    Parameters
    ----------
    design
        `random`: what `draw` gives. `sobol-arcsine`: y = lower + (upper - lower) (1 - cos(pi s)) / 2 with s the
        points of the Sobol sequence scrambled by `seed`. They are dense towards the faces, with the arcsine law
        of Chebyshev's points: that bounds the largest error of a surrogate and not only its mean.
    index : (n,)
        Numbers of the samples, not negative, in any order.

    Returns
    -------
    (n, space.size)
        One row per sample.

    Raises
    ------
    ValueError
        An unknown design, one that the space does not allow, or what `draw` refuses.
    """
    if design not in DESIGNS:
        raise ValueError(f"unknown design {design!r}; expected one of {', '.join(DESIGNS)}")
    if design == "random":
        return draw(space, seed, index)
    if not _is_uniform_box(space):
        raise ValueError(
            f"the design {design!r} needs a box with the law 'uniform', got a {space.constraint} with the law "
            f"{space.law!r}; choose the design 'random'"
        )
    return _sobol_arcsine(space, seed, _sample_numbers(seed, index))


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
    return _LAWS[space.law](space, seed, _sample_numbers(seed, index))


def _sample_numbers(seed: int, index: ArrayLike) -> NDArray[np.int64]:
    if not 0 <= seed < 2**64:
        raise ValueError(f"expected a seed from 0 to 2**64 - 1, got {seed}")
    numbers = np.atleast_1d(np.asarray(index, dtype=np.int64))
    if numbers.ndim != 1 or (numbers < 0).any():
        raise ValueError("expected a list of sample numbers >= 0")
    return numbers


def _is_uniform_box(space: Space) -> bool:
    return space.constraint == "box" and space.law == "uniform"


def _bounds(space: Space) -> tuple[Array, Array]:
    if space.lower is None or space.upper is None or not np.isfinite([space.lower, space.upper]).all():
        raise ValueError("the law 'uniform' needs finite bounds; give the space `lower` and `upper`")
    return np.asarray(space.lower, dtype=np.float64), np.asarray(space.upper, dtype=np.float64)


def _uniform(space: Space, seed: int, index: NDArray[np.int64]) -> Array:
    lower, upper = _bounds(space)
    return lower + (upper - lower) * _unit_cube(space.size, seed, index)


def _sobol_arcsine(space: Space, seed: int, index: NDArray[np.int64]) -> Array:
    lower, upper = _bounds(space)
    points = _scrambled_sobol(space.size, seed, index)
    inside = lower + (upper - lower) * (1 - np.cos(np.pi * points)) / 2
    return np.clip(inside, lower, upper)  # rounding may leave the box by one bit


def _scrambled_sobol(size: int, seed: int, index: NDArray[np.int64]) -> Array:
    """Points number `index` of the sequence; going to point i costs some 20 ns times i, once a call."""
    from scipy.stats import qmc  # takes a second to import

    if len(index) and index.max() >= _SOBOL_POINTS:
        raise ValueError(f"the design 'sobol-arcsine' has {_SOBOL_POINTS} samples; choose the design 'random'")
    numbers, back = np.unique(index, return_inverse=True)
    sequence, points = qmc.Sobol(size, scramble=True, rng=seed), np.empty((len(numbers), size))
    starts = np.flatnonzero(np.diff(numbers, prepend=-2) > 1)
    with warnings.catch_warnings():  # a sample's place in the sequence is fixed, whatever their number
        warnings.filterwarnings("ignore", message="The balance properties of Sobol")
        for rows in np.split(np.arange(len(numbers)), starts[1:]):
            if gap := int(numbers[rows[0]]) - sequence.num_generated:
                sequence.fast_forward(gap)
            points[rows] = sequence.random(len(rows))
    return points[back]


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
