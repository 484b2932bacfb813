"""Whether a trial step is taken: the reduction found, over the one that a model predicted."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from gnvpro.surrogate.objectives.protocol import Point

# Of the reduction a step predicts: the error of the value that an iterative inner solve may leave.
INNER_SHARE = 1e-3
ACCEPT = 1e-4


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
