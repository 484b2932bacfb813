"""The contract of a solver, one step at a time; when a solver stops, and when a trial step is accepted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.surrogate.precision import in_precision

# A gradient this much smaller than the first one is rounding, in float64: the line search sees nothing below it.
GRADIENT_REDUCTION = 1e-10
# Of the reduction a step predicts: the error of the value that an iterative inner solve may leave.
INNER_SHARE = 1e-3
# Of the same: what a trial step has to reach.
ACCEPT = 1e-4


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


@dataclass(frozen=True, eq=False)
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
    # Iterations between measurements of the validation error; one costs about half an iteration of L-BFGS.
    validation_interval: int

    def step(self, point: Point) -> Step:
        """One iteration from `point`, which is where the previous step ended."""
        ...


@runtime_checkable
class Resumable(Solver, Protocol):
    """A solver whose state a checkpoint stores, and which goes on from it with the same bits.

    `state` is a dataclass of what the next steps depend on besides the point, for `gnvpro.training.fitting.stored`; a solver
    of the same arguments goes on as this one once it has its state.
    """

    state: Any


@dataclass
class StoppingTest:
    """Whether a gradient still gives a step, compared with the first one of the fit."""

    first_norm: float = 0.0
    norm: float = 0.0

    def status(self, point: Point) -> Status:
        """`running`, `converged` or `nonfinite`; the norm of the gradient is `norm` then."""
        self.norm = point.gradient_norm
        self.first_norm = self.first_norm or self.norm
        if not math.isfinite(self.norm):
            return Status.nonfinite
        reduction = in_precision(GRADIENT_REDUCTION, point.theta.dtype)
        return Status.converged if self.norm <= reduction * self.first_norm else Status.running


class Trial(NamedTuple):
    """A point that was tried, and its ratio; not a number where its value is not."""

    point: Point
    ratio: float

    @property
    def is_accepted(self) -> bool:
        """Whether the objective fell by a part of what was predicted."""
        return self.ratio > ACCEPT


def try_step(point: Point, step: Tensor, predicted: float) -> Trial:
    """The objective a step away, by one forward pass."""
    there = point.objective.at(point.theta + step, near=point, accuracy=INNER_SHARE * predicted)
    return Trial(there, (point.value - there.value) / predicted)
