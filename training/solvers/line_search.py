"""A step length that satisfies the weak Wolfe conditions, by bracketing and safeguarded interpolation."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from gnvpro.surrogate.objectives.protocol import Point

SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9
MAX_TRIALS = 20
# As `gnvpro.training.solvers.protocol.INNER_SHARE`. A search along one line asks less of W than the ratio of a trust
# region: Indian Pines ends alike from 1e-3 to 1e-1 (docs/method.md), and the solves cost less.
INNER_SHARE = 0.05


class LineStep(NamedTuple):
    """Where a search ended, and the length in units of the direction."""

    point: Point
    length: float


def wolfe_search(start: Point, direction: Tensor, growth: float) -> LineStep | None:
    """A step with sufficient decrease and, where `MAX_TRIALS` find one, curvature.

    Where no trial meets the curvature condition, the last one with sufficient decrease is kept. None where the direction
    does not descend, or no trial decreased enough. The length grows by `growth` until the bracket has an upper end.
    """
    descent = start.gradient @ direction
    # An inner solve in closed form needs no accuracy: the slope is read with the first value.
    slope = float(descent) if start.objective.elimination.is_iterative else math.nan
    if slope >= 0:
        return None
    length, low, high = 1.0, 0.0, math.inf
    kept: LineStep | None = None
    for _ in range(MAX_TRIALS):
        # The Wolfe tests and the gradient need the value to a small part of the decrease that the slope promises.
        accuracy = -INNER_SHARE * length * slope
        trial = start.objective.at(start.theta + length * direction, near=start, accuracy=accuracy)
        value, slope = trial.value_and(descent)
        if not slope < 0:
            return None
        excess = value - start.value - SUFFICIENT_DECREASE * length * slope
        if not excess <= 0:  # also where the value is not a number
            high = length
        elif trial.gradient_norm_and(trial.gradient @ direction)[1] < CURVATURE * slope:
            low, kept = length, LineStep(trial, length)
        else:
            return LineStep(trial, length)
        if high == math.inf:
            length *= growth
        elif low == 0.0 and math.isfinite(trial.value):
            # The minimiser of the parabola through both values and the slope, kept inside the bracket.
            bend = trial.value - start.value - length * slope
            best = -slope * length**2 / (2 * bend) if bend > 0 else 0.5 * length
            length = min(max(best, 0.1 * length), 0.6 * length)
        else:
            length = 0.5 * (low + high)
    return kept
