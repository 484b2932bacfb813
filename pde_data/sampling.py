"""Parameters drawn from the law of their space, or placed by a design; every sample reproducible alone.

A draw: see `gnvpro.surrogate.draws`. A design: sample i is point i of its sequence. Neither depends on how many samples
there are nor on how they are divided into blocks, so that a data set can be cut and extended anywhere.
"""

from __future__ import annotations

import warnings
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnvpro.surrogate.draws import draw, finite_bounds, sample_numbers
from gnvpro.surrogate.errors import UsageError
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
    """Samples number `index` of a design: (n, space.size).

    Parameters
    ----------
    design
        `random`: what `draw` gives. `sobol-arcsine`: y = lower + (upper - lower) (1 - cos(pi s)) / 2 with s the
        points of the Sobol sequence scrambled by `seed`. They are dense towards the faces, with the arcsine law
        of Chebyshev's points: that bounds the largest error of a surrogate and not only its mean.
    index : (n,)
        Numbers of the samples, not negative, in any order.

    Raises UsageError: an unknown design, one that the space does not allow, or what `draw` refuses.
    """
    if design not in DESIGNS:
        raise UsageError(f"unknown design {design!r}; expected one of {', '.join(DESIGNS)}")
    if design == "random":
        return draw(space, seed, index)
    if not _is_uniform_box(space):
        raise UsageError(
            f"the design {design!r} needs a box with the law 'uniform', got a {space.constraint} with the law "
            f"{space.law!r}; choose the design 'random'"
        )
    return _sobol_arcsine(space, seed, sample_numbers(seed, index))


def _is_uniform_box(space: Space) -> bool:
    return space.constraint == "box" and space.law == "uniform"


def _sobol_arcsine(space: Space, seed: int, index: NDArray[np.int64]) -> Array:
    lower, upper = finite_bounds(space)
    points = _scrambled_sobol(space.size, seed, index)
    inside = lower + (upper - lower) * (1 - np.cos(np.pi * points)) / 2
    return np.clip(inside, lower, upper)  # rounding may leave the box by one bit


def _scrambled_sobol(size: int, seed: int, index: NDArray[np.int64]) -> Array:
    """Points number `index` of the sequence; going to point i costs some 20 ns times i, once a call."""
    from scipy.stats import qmc  # takes a second to import

    if len(index) and index.max() >= _SOBOL_POINTS:
        raise UsageError(f"the design 'sobol-arcsine' has {_SOBOL_POINTS} samples; choose the design 'random'")
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
