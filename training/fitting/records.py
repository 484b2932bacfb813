"""What a fit writes down: lines of its history, the iterate it keeps, and what was seen where an advance ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from gnvpro.surrogate.objectives.protocol import OuterLayer, Point
from gnvpro.training.solvers.protocol import Status


@dataclass(frozen=True)
class Record:
    """One line of history; errors are measured only where validation was looked at."""

    stage: str
    iteration: int
    work_units: float
    cpu_seconds: float
    wall_seconds: float
    objective: float
    gradient_norm: float
    step: float
    accepted: bool
    train_error: float | None = None
    validation_loss: float | None = None
    validation_error: float | None = None


@dataclass(frozen=True)
class Iterate:
    """A point worth keeping: the network's theta, the last layer, and its validation error."""

    validation_error: float
    theta: Tensor
    outer: OuterLayer
    work_units: float
    iteration: int

    @classmethod
    def of(cls, point: Point, validation_error: float, iteration: int) -> Iterate:
        """What is kept of a point."""
        work = point.objective.meter.total
        return cls(validation_error, point.network_weights, point.outer, work, iteration)

    @property
    def network_weights(self) -> Tensor:
        """Another name of theta, that of points."""
        return self.theta

    @property
    def weights(self) -> Tensor:
        """W in the coordinates of the targets, (n_out, width + q + 1)."""
        return self.outer.weights


class End(NamedTuple):
    """What others saw of a fit where an `advance` ended."""

    status: Status
    forward: float
    backward: float
    validation_error: float
