"""What the next solves are best spent on: how fast the error falls with samples of each kind, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Of the error asked for: what a model aims at, so that a dozen fresh solves can confirm it.
AIM = 0.6
# How much more of a kind is bought at once, by the share of what there is; an error that is far off, or falls slowly, is
# learned from in steps no larger than that.
LEAST_GROWTH, MOST_GROWTH = 1.12, 1.4
# Falls of the log error over the log of a number of samples that are believed; and what is expected before any is seen.
_SLOPES, USUAL_SLOPE = (0.2, 8.0), 2.0
# Sizes and errors that a slope is fitted to, the last ones.
_SEEN = 4


@dataclass(frozen=True)
class Kind:
    """Samples of one kind, of which more can be bought.

    Attributes
    ----------
    name
        In words, several of them.
    have
        How many there are.
    cost
        Of one, in solves.
    slope
        Of the log error over the log of their number, positive where it falls.
    """

    name: str
    have: int
    cost: float
    slope: float

    @property
    def gain(self) -> float:
        """Fall of the log error for what a solve costs."""
        return self.slope / (self.have * self.cost)

    def growth(self, excess: float) -> int:
        """How many more of them, where the error is `excess` times what is aimed at."""
        factor = max(excess, 1.0) ** (1 / max(self.slope, _SLOPES[0]))
        factor = min(max(factor, LEAST_GROWTH), MOST_GROWTH)
        return max(math.ceil(self.have * (factor - 1)), 1)

    def to_halve(self) -> float:
        """Solves that half of the error is expected to cost; infinite where it does not fall."""
        if self.slope < _SLOPES[0]:
            return math.inf
        return self.have * (2 ** (1 / self.slope) - 1) * self.cost


def slope_of(numbers: Sequence[int], errors: Sequence[float], usual: float = USUAL_SLOPE) -> float:
    """Fall of the log error over the log of the number of samples, by least squares through the last few.

    What is usual counts as one more pair of them, a doubling: errors of few samples are noisy.
    """
    x, y = (np.log(np.asarray(values, float)[-_SEEN:]) for values in (numbers, errors))
    if len(x) < 2 or x.max() == x.min():
        return usual
    dx, dy, weight = x - x.mean(), y - y.mean(), math.log(2) ** 2 / 4
    fitted = -(dx @ dy - weight * usual) / (dx @ dx + weight)
    return float(np.clip(fitted, *_SLOPES))


def paired_slope(before: float, now: float, n_before: int, n_now: int) -> float:
    """The same by two models that are judged at the same samples; zero where more did not help."""
    return float(np.clip(math.log(before / now) / math.log(n_now / n_before), 0.0, _SLOPES[1]))
