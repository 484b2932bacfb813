"""The contract of a solver: one step at a time, each with a record of what it did."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gnvpro.surrogate.objectives.protocol import Point


class Status(StrEnum):
    """How a fit stands; everything but `running` is an end, and the best iterate is kept at every end."""

    running = "running"
    converged = "converged"
    budget_spent = "budget_spent"
    no_improvement = "no_improvement"
    radius_collapsed = "radius_collapsed"
    line_search_failed = "line_search_failed"
    nonfinite = "nonfinite"
    interrupted = "interrupted"


@dataclass(frozen=True)
class Step:
    """One iteration: where it ended, how far it was allowed or went, and whether it was accepted.

    `gradient_norm` is for the history, where the solver has not asked for the point's gradient and nobody should.
    """

    point: Point
    size: float
    accepted: bool
    status: Status = Status.running
    gradient_norm: float | None = None


class Solver(Protocol):
    """Minimises an objective. Holds its own memory, so one solver serves one fit."""

    name: str
    # Iterations between looks at the validation data; a look costs about half an iteration of L-BFGS.
    validation_interval: int

    def step(self, point: Point) -> Step:
        """One iteration from `point`, which is where the previous step ended."""
        ...


# Of the reduction a step predicts: the error of the value that an iterative inner solve may leave.
INNER_SHARE = 1e-3
# A gradient this much smaller than the first one is rounding: the line search sees nothing below it.
GRADIENT_REDUCTION = 1e-10


def judge(gradient_norm: float, first: float) -> Status:
    """Whether a gradient of this norm still gives a step, when the first of the fit had norm `first`."""
    if not math.isfinite(gradient_norm):
        return Status.nonfinite
    return Status.converged if gradient_norm <= GRADIENT_REDUCTION * first else Status.running
