"""Derivatives of a surrogate beside those of its PDE: what an inversion or a gradient-based sampler will live on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.solving import derivative_block
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.model.inputs import training_range
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array, Space

# Points of the check: a PDE differentiates sample by sample and may take seconds for each.
N_POINTS = 8


@dataclass(frozen=True, eq=False)
class JacobianCheck:
    """Relative errors of derivatives in random directions, one per point.

    Attributes
    ----------
    forward : (n,)
        ||J_s dy - J dy|| / ||J dy|| with dy normal, scaled by the ranges of the parameters.
    reverse : (n,)
        The same of the gradients J^T dc, in parameters scaled to their ranges; dc is normal. On a simplex both are
        along it: sideways, neither model means anything.
    """

    forward: Array
    reverse: Array

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        forward, reverse = (
            {"mean": float(errors.mean()), "max": float(errors.max())} for errors in (self.forward, self.reverse)
        )
        return {"n_points": len(self.forward), "jvp": forward, "vjp": reverse}

    def in_words(self) -> str:
        """Mean and largest errors."""
        numbers = self.numbers()
        forward, reverse = (
            f"{percent(e['mean'])} (at most {percent(e['max'])})" for e in (numbers["jvp"], numbers["vjp"])
        )
        return f"along directions {forward}, of gradients {reverse}, at {len(self.forward)} points"


def check_jacobian(surrogate: Surrogate, problem: Problem, points: Array, seed: int) -> JacobianCheck | None:
    """Compare at the first `N_POINTS` of points (n, n_in); None where the problem has no derivatives.

    Points where the PDE has no finite derivatives, or they are zero, are left out; where the surrogate has none, its
    error is infinite.
    """
    if not (hasattr(problem, "jvp") and hasattr(problem, "vjp")):
        return None
    y, rng = points[:N_POINTS], np.random.default_rng(seed)
    size = _ranges(surrogate, points)
    dy = size * along(surrogate.parameters, rng.standard_normal(y.shape))
    dc = rng.standard_normal((len(y), surrogate.observables.size))
    try:
        forward = derivative_block(problem.jvp, (y, dy), dc.shape[1]), surrogate.jvp(y, dy)
        reverse = derivative_block(problem.vjp, (y, dc), y.shape[1]), surrogate.vjp(y, dc)
    except NotImplementedError:
        return None
    expected, predicted = zip(forward, [along(surrogate.parameters, dy) * size for dy in reverse], strict=True)
    sizes = [np.linalg.norm(derivative, axis=1) for derivative in expected]
    known = np.logical_and.reduce([np.isfinite(s) & (s > 0) for s in sizes])
    if not known.any():
        return None
    errors = (_relative(*pair) for pair in zip(expected, predicted, sizes, strict=True))
    return JacobianCheck(*(error[known] for error in errors))


def along(space: Space, directions: Array) -> Array:
    """The part of directions (n, n_in) that stays in the space: on a simplex their components sum to zero."""
    return directions - directions.mean(axis=1, keepdims=True) if space.constraint == "simplex" else directions


def _ranges(surrogate: Surrogate, points: Array) -> Array:
    """Range of every parameter in training; a common one on a simplex, so that scaling leads nowhere off it."""
    trained = training_range(surrogate.training, margin=0.0)
    ranges = np.ptp(points, axis=0) if trained is None else trained[1] - trained[0]
    return np.full_like(ranges, ranges.mean()) if surrogate.parameters.constraint == "simplex" else ranges


def _relative(expected: Array, predicted: Array, size: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.linalg.norm(predicted - expected, axis=1) / size
    return np.where(np.isnan(error), np.inf, error)
