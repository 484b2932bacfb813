"""Quantiles from probabilities: where the chance to fall below reaches a level, and which thresholds are possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import isotonic_regression

from gnvpro.apps.propagate.drawn import Drawn, Sizes
from gnvpro.apps.propagate.exceedance import Exceedance, Solved, exceedance
from gnvpro.apps.propagate.moments import Estimate
from gnvpro.surrogate.spaces import Array

# Thresholds over the whole law, and around every quantile: by the spread of the draws and by the largest error.
_OVERALL, _AROUND = 65, 33
# How far around, in standard deviations of a count.
_DEVIATIONS = 5.0


@dataclass(frozen=True, eq=False)
class Curve:
    """The probability to exceed thresholds (t,) in ascending order: an empirical distribution with its intervals."""

    thresholds: Array
    exceedance: Exceedance

    @cached_property
    def value(self) -> Array:
        """The probabilities (t,), made to descend: single solves that differ are no steps up and down again.

        By isotonic regression, a threshold weighing as much as the surrogate has around it.
        """
        weights = np.maximum(-np.gradient(self.exceedance.surrogate), 1e-12) if len(self.thresholds) > 1 else np.ones(1)
        return isotonic_regression(self.exceedance.value, weights=weights, increasing=False).x


def curve(levels: Sequence[float], drawn: Drawn, level: float, sizes: Sizes | None, solved: Solved | None) -> Curve:
    """Probabilities at thresholds that are dense where the quantiles of these levels may be."""
    values = drawn.ordered
    n = len(values)
    rare = np.geomspace(1 / n, 0.5, _OVERALL)
    shares = [np.linspace(0, 1, _OVERALL), rare, 1 - rare]
    offsets = []
    reach = 0.0 if sizes is None else float(np.median(sizes.widths))
    n_solves = n if solved is None else len(solved.pde)
    if solved is not None:
        reach = max(solved.least, float(np.nanmax(np.abs(solved.pde - solved.surrogate), initial=0.0)))
    for one in levels:
        for count in {n_solves, n}:
            spread = _DEVIATIONS * np.sqrt(one * (1 - one) / count)
            shares.append(np.linspace(one - spread, one + spread, _AROUND))
        centre = values[min(n - 1, int(one * n))]
        # Fine near the centre and coarse far from it.
        offsets.append(centre + reach * np.sinh(np.linspace(-4, 4, _AROUND)) / np.sinh(3.0))
    at = np.clip(np.concatenate(shares), 0, 1)
    thresholds = np.unique(np.concatenate([values[np.minimum((at * n).astype(int), n - 1)], *offsets]))
    return Curve(thresholds, exceedance(thresholds, drawn, level, sizes, solved))


def quantiles_of(levels: Sequence[float], found: Curve) -> Estimate:
    """The quantiles of these levels (q,): intervals are of the thresholds that the probabilities allow."""
    t, of = found.thresholds, found.exceedance
    below = 1 - found.value
    value = np.array([_first(t, below, level) for level in levels])
    ends = {}
    for kind, low, high in (("", of.lower, of.upper), ("drawn_", of.drawn_lower, of.drawn_upper)):
        most, least = np.maximum.accumulate(1 - low), np.minimum.accumulate((1 - high)[::-1])[::-1]
        ends[f"{kind}lower"] = np.array([_last_below(t, most, level) for level in levels])
        ends[f"{kind}upper"] = np.array([_first_above(t, least, level) for level in levels])
    return Estimate(
        value,
        np.fmin(ends["lower"], value) if not np.isnan(of.lower).all() else np.full_like(value, np.nan),
        np.fmax(ends["upper"], value) if not np.isnan(of.upper).all() else np.full_like(value, np.nan),
        ends["drawn_lower"],
        ends["drawn_upper"],
    )


def _first(t: Array, below: Array, level: float) -> float:
    """Where an ascending probability reaches a level, linear between thresholds."""
    i = int(np.searchsorted(below, level))
    if i == 0 or i == len(t):
        return float(t[min(i, len(t) - 1)])
    share = (level - below[i - 1]) / (below[i] - below[i - 1])
    return float(t[i - 1] + share * (t[i] - t[i - 1]))


def _last_below(t: Array, most: Array, level: float) -> float:
    """The last threshold up to which the probability is below the level at most; -inf where there is none."""
    i = int(np.searchsorted(most, level))
    return float(t[i - 1]) if i > 0 else -np.inf


def _first_above(t: Array, least: Array, level: float) -> float:
    """The first threshold from which on it is above the level at least; inf where there is none."""
    i = int(np.searchsorted(least, level, side="right"))
    return float(t[i]) if i < len(t) else np.inf
