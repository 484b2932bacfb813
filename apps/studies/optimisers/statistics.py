"""Statistics over seeds: bands of curves, and differences seed by seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; the interval is None for a single seed."""

    mean: float
    low: float | None
    high: float | None

    def mapped(self, function: Callable[[float], float]) -> Interval:
        """The interval of an increasing function of the quantity."""
        low, high = (None if x is None else float(function(x)) for x in (self.low, self.high))
        return Interval(float(function(self.mean)), low, high)


def paired_interval(differences: Array, level: float = 0.95) -> Interval:
    """Mean of differences (n_seeds,) with Student's interval.

    Seeds share split and initial weights between methods, so a difference does not see how hard a seed is. With a
    handful of seeds the interval is wide, as it should be; it takes differences to be normal.
    """
    n, mean = len(differences), float(np.mean(differences))
    if n < 2 or not math.isfinite(mean):
        return Interval(mean, None, None)
    half = float(student.ppf(0.5 + level / 2, n - 1) * np.std(differences, ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def stepwise(at: Array, position: Array, values: Array) -> Array:
    """The last value at or before every position `at`; NaN before the first one."""
    index = np.searchsorted(position, at, side="right") - 1
    return np.where(index >= 0, values[np.maximum(index, 0)], np.nan)


def first_reach(target: float, position: Array, values: Array) -> float:
    """Position of the first value at or below the target; infinite if there is none."""
    reached = np.flatnonzero(values <= target)
    return float(position[reached[0]]) if len(reached) else math.inf


@dataclass(frozen=True, eq=False)
class Band:
    """Median, smallest and largest over seeds, at some positions."""

    at: Array
    median: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, curves: list[tuple[Array, Array]], n_points: int = 120) -> Band:
        """Over curves (position, values), one a seed, at positions spaced evenly in their logarithm.

        From where all seeds have spent something, to the median of where they end: a curve that ended goes on as it
        ended.
        """
        begin = max(position[position > 0].min(initial=1.0) for position, _ in curves)
        end = max(float(np.median([position[-1] for position, _ in curves])), begin)
        at = np.geomspace(begin, end, n_points)
        at[0], at[-1] = begin, end  # rounding must not move them
        table = np.stack([stepwise(at, position, values) for position, values in curves])
        return cls(at, np.median(table, 0), table.min(0), table.max(0))
