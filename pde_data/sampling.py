"""Parameters drawn from the law of their space, or placed by a design; every sample reproducible alone.

A draw: see `gnvpro.surrogate.draws`. A design: sample i is point i of its sequence. Neither depends on how many samples
there are nor on how they are divided into blocks, so that a data set can be cut and extended anywhere. Nor do the
directions that derivatives of a sample are taken along.
"""

from __future__ import annotations

import warnings
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnvpro.surrogate.draws import draw, finite_bounds, sample_numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws.scalar import log_uniform_deviations
from gnvpro.surrogate.spaces import Array, Space

Design = Literal["random", "sobol-arcsine", "sobol"]
DESIGNS: tuple[Design, ...] = get_args(Design)
# The design that draws from the law of the space.
LAW: Design = "random"

# Up to so many parameters a design that fills the corners is affordable: a box of d parameters has 2^d of them.
FEW_PARAMETERS = 5
# scipy's Sobol generator works with 30 bits.
_SOBOL_POINTS = 2**30
# Second word of the key of Philox: draws of parameters have zero there.
_OF_DIRECTIONS = 1


def default_design(space: Space) -> Design:
    """In few parameters `sobol-arcsine` where they are uniform, `sobol` where they have laws of their own; else `random`."""
    if space.size > FEW_PARAMETERS:
        return "random"
    return "sobol-arcsine" if _is_uniform_box(space) else "sobol" if space.law == "independent" else "random"


def place(space: Space, design: str, seed: int, index: ArrayLike) -> Array:
    """Samples number `index` of a design: (n, space.size).

    Parameters
    ----------
    design
        `random`: what `draw` gives. `sobol-arcsine`: y = lower + (upper - lower) (1 - cos(pi s)) / 2 with s the
        points of the Sobol sequence scrambled by `seed`. They are dense towards the faces, with the arcsine law
        of Chebyshev's points: that bounds the largest error of a surrogate and not only its mean. `sobol`: the same
        points s brought to the law of the space by its quantiles, so that they follow it more evenly than draws.
    index : (n,)
        Numbers of the samples, not negative, in any order.

    Raises UsageError: an unknown design, one that the space does not allow, or what `draw` refuses.
    """
    if design not in DESIGNS:
        raise UsageError(f"unknown design {design!r}; expected one of {', '.join(DESIGNS)}")
    if design == "random":
        return draw(space, seed, index)
    if design == "sobol":
        if space.transport is None:
            raise UsageError(
                f"the design 'sobol' needs a law that can be drawn from, got {space.law!r} of {space.in_words()}"
            )
        return space.transport.of_uniform(_scrambled_sobol(space.size, seed, sample_numbers(seed, index)))
    if not _is_uniform_box(space):
        raise UsageError(
            f"the design {design!r} needs a box with the law 'uniform', got a {space.constraint} with the law "
            f"{space.law!r}; choose the design 'sobol' or 'random'"
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
        raise UsageError(f"a design of Sobol points has {_SOBOL_POINTS} samples; choose the design 'random'")
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


def directions(space: Space, seed: int, index: ArrayLike, r: int) -> Array:
    """Directions that derivatives of samples number `index` are taken along: (n, r, space.size).

    Each is a random unit vector of the parameters that vary, in units of their standard deviations, times these. On a
    simplex it is drawn among those that sum to zero; a parameter with single values stays. The first directions of a
    sample are the same for every r.

    Raises UsageError: what `draw` refuses, or a space in which nothing varies.
    """
    numbers = sample_numbers(seed, index)
    drawn = np.empty((len(numbers), r, space.size))
    if not r:
        return drawn
    spread = standard_deviations(space)
    along = spread > 0
    if space.transport is not None:
        along &= ~space.transport.discrete
        spread = np.where(along, spread, 0.0)
    normals = []  # of the simplexes, which a direction must not leave
    for of in space.simplexes:
        on_simplex = np.zeros(space.size)
        on_simplex[of] = spread[of]
        if on_simplex.any():
            normals.append(on_simplex / np.linalg.norm(on_simplex))
    if along.sum() <= len(normals):
        raise UsageError("expected parameters that vary, to take derivatives along; every one of them is fixed")
    for row, i in zip(drawn, numbers, strict=True):
        stream = np.random.Generator(np.random.Philox(key=[seed, _OF_DIRECTIONS], counter=[0, 0, 0, int(i)]))
        stream.standard_normal(out=row)
    drawn = np.where(along, drawn, 0.0)
    for normal in normals:  # no BLAS, whose bits depend on the other samples
        drawn -= (drawn * normal).sum(axis=-1, keepdims=True) * normal
    return spread * drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def standard_deviations(space: Space) -> Array:
    """Of every parameter by the law of its space (size,); zero of those that are fixed.

    Raises UsageError: a law that says nothing, or bounds that are not finite.
    """
    if space.law == "unknown":
        raise UsageError("parameters of the law 'unknown' have no spread; give the space a law that they are drawn by")
    if space.law in ("uniform", "log_uniform"):
        lower, upper = finite_bounds(space)
        if space.law == "log_uniform" and lower.min() <= 0:
            raise UsageError(f"the law 'log_uniform' needs positive bounds, got {lower.min():g}")
        spread = (upper - lower) / np.sqrt(12) if space.law == "uniform" else log_uniform_deviations(lower, upper)
    else:
        assert space.transport is not None
        spread = np.concatenate([law.standard_deviations for law in space.transport.laws])
    return np.where(space.fixed, 0.0, spread)
