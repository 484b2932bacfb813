"""Probabilities that one quantity exceeds thresholds: of the surrogate, by its error bands or corrected by PDE solves.

With solves, the probability is that of the surrogate over all draws, more the chance D+ that the PDE exceeds where the
surrogate does not, less D-, the reverse. Both are means over the draws, estimated without bias from the solves, which
also tell how far each may be off:

- A difference needs an error larger than the distance of the surrogate to the threshold. Within the largest error seen
  near it, on its side, differences are counted; the interval is that of weighted counts, and at most what the surrogate
  has there. An error is seen near a distance where its own is at most `_NEAR` times that.
- Beyond it nothing is seen. That an error was the largest of n bounds the chance of a larger one (the rule of three), and
  what one believes of the tail says how fast it falls: here it halves at least when the size doubles, so that errors have
  just no infinite mean. Without any such belief no number of solves below 1/p says more than plain Monte Carlo: that
  interval is given beside, as `unassuming`.

Without solves, errors have the sizes of the error bands wherever the parameters are, and that tail; the interval is that
of all of them upwards, and all downwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps.propagate.counts import weighted_counts
from gnvpro.apps.propagate.drawn import Drawn, Sizes
from gnvpro.surrogate.spaces import Array

# Times the distance of a draw from the threshold: as near are solves whose errors tell how far it may be off.
_NEAR = 4.0


@dataclass(frozen=True, eq=False)
class Solved:
    """One quantity at `Chosen` draws: by the PDE, NaN where it failed, and by the surrogate, (n,) each, and their weights.

    Attributes
    ----------
    least
        Error that is reckoned with even where no solve shows one.
    """

    pde: Array
    surrogate: Array
    weights: Array
    least: float


@dataclass(frozen=True, eq=False)
class Exceedance:
    """Probabilities to exceed thresholds, (t,) each, and their intervals.

    Attributes
    ----------
    value
        Unbiased where solves corrected it, so that it may be a little below 0 or above 1.
    lower, upper, drawn_lower, drawn_upper
        As in `moments.Estimate`; with solves, those from draws alone are as wide as of the surrogate.
    surrogate
        That of the surrogate alone.
    unassuming_lower, unassuming_upper
        Where solves corrected it, without a word on errors larger than those seen; else NaN.
    differences
        How many solves differed from the surrogate; 0 without any.
    """

    value: Array
    lower: Array
    upper: Array
    drawn_lower: Array
    drawn_upper: Array
    surrogate: Array
    unassuming_lower: Array
    unassuming_upper: Array
    differences: NDArray[np.intp]

    @property
    def shown(self) -> float:
        """The first value, as a probability: what is unbiased may be none."""
        return min(max(float(self.value[0]), 0.0), 1.0)


def exceedance(
    thresholds: Array, drawn: Drawn, level: float, sizes: Sizes | None = None, solved: Solved | None = None
) -> Exceedance:
    """P(quantity > threshold) at thresholds (t,).

    By the solves where there are any, else by the sizes of errors; with neither, intervals are NaN.
    """
    shares = drawn.above(thresholds)
    share = shares.mean(axis=0)
    drawn_lower, drawn_upper = drawn.interval(shares, level)
    unknown, none = np.full_like(share, np.nan), np.zeros(len(share), dtype=np.intp)
    if solved is not None:
        return _corrected(thresholds, drawn, share, drawn_lower, drawn_upper, solved, level)
    if sizes is None:
        return Exceedance(share, unknown, unknown, drawn_lower, drawn_upper, share, unknown, unknown, none)
    rest = 1 - float(sizes.shares.sum())
    down = sum(w * drawn.above(thresholds + size) for w, size in zip(sizes.shares, sizes.widths, strict=True))
    up = sum(w * drawn.above(thresholds - size) for w, size in zip(sizes.shares, sizes.widths, strict=True))
    lower, upper = drawn.interval(np.asarray(down), level)[0], drawn.interval(np.asarray(up) + rest, level)[1]
    return Exceedance(share, lower, upper, drawn_lower, drawn_upper, share, unknown, unknown, none)


@dataclass(frozen=True, eq=False)
class _Differences:
    """The chance of a difference of one sign, (t,) each: as seen, its interval, and what may be beyond what is seen."""

    value: Array
    lower: Array
    upper: Array
    tail: Array
    unassuming: Array
    seen: NDArray[np.intp]


def _corrected(
    thresholds: Array,
    drawn: Drawn,
    share: Array,
    drawn_lower: Array,
    drawn_upper: Array,
    solved: Solved,
    level: float,
) -> Exceedance:
    gained = _differences(thresholds, drawn, solved, level)
    mirrored = Solved(-solved.pde, -solved.surrogate, solved.weights, solved.least)
    lost = _differences(-thresholds, drawn.negated, mirrored, level)
    value = share + gained.value - lost.value
    # Intervals of the parts give that of the sum (Zou and Donner 2008), and what is assumed is added to it.
    down = np.sqrt((share - drawn_lower) ** 2 + (gained.value - gained.lower) ** 2 + (lost.upper - lost.value) ** 2)
    up = np.sqrt((drawn_upper - share) ** 2 + (gained.upper - gained.value) ** 2 + (lost.value - lost.lower) ** 2)
    lower, upper = value - down, value + up
    return Exceedance(
        value,
        np.clip(lower - lost.tail, 0, 1),
        np.clip(upper + gained.tail, 0, 1),
        value - (share - drawn_lower),
        value + (drawn_upper - share),
        share,
        np.clip(lower - lost.unassuming, 0, 1),
        np.clip(upper + gained.unassuming, 0, 1),
        gained.seen + lost.seen,
    )


def _differences(thresholds: Array, drawn: Drawn, solved: Solved, level: float) -> _Differences:
    """Chance that the PDE exceeds and the surrogate does not."""
    t, s, f, w = thresholds[:, None], solved.surrogate, solved.pde, solved.weights
    below = s <= t
    failed = below & np.isnan(f)
    seen = below & (f > t)
    errors = np.where(np.isnan(f), 0.0, np.abs(f - s))
    near = below & (t - s <= _NEAR * errors)
    largest = np.maximum(np.where(near, errors, 0.0).max(axis=1), solved.least)
    # What the surrogate has below the threshold, and of it beyond the largest error.
    mass = 1 - drawn.above(thresholds).mean(axis=0)
    beyond = np.minimum(1 - drawn.above(thresholds - largest).mean(axis=0), mass)
    zone = below & (s > t - largest[:, None])
    heaviest = np.where(zone.any(axis=1), np.where(zone, w, 0.0).max(axis=1), w.max())
    value, lower, upper = weighted_counts(np.broadcast_to(w, seen.shape), seen, heaviest, level)
    upper = np.maximum(np.minimum(upper, mass - beyond), value)
    if failed.any():  # each of them might be a difference
        heaviest = np.maximum(heaviest, np.where(failed, w, 0.0).max(axis=1))
        some = failed.any(axis=1)
        counted = weighted_counts(np.broadcast_to(w, seen.shape), seen | failed, heaviest, level)[2]
        upper = np.where(some, np.maximum(counted, upper), upper)
    # The rule of three for errors of solves below the threshold, as many as their weights are worth.
    of_law = np.where(below & ~np.isnan(f), w, 0.0)
    squares = (of_law**2).sum(axis=1)
    worth = np.divide(of_law.sum(axis=1) ** 2, squares, out=np.zeros_like(squares), where=squares > 0)
    rate = np.minimum(1.0, np.divide(-np.log((1 - level) / 2), worth, out=np.ones_like(worth), where=worth > 0))
    return _Differences(
        value, lower, upper, _tail(thresholds, drawn, solved, largest, rate), rate * beyond, seen.sum(axis=1)
    )


def _tail(thresholds: Array, drawn: Drawn, solved: Solved, largest: Array, rate: Array) -> Array:
    """Chance (t,) of differences beyond the largest error near: mean of rate M(m) / m over draws at distances m below.

    M(m) is the largest error of solves below the threshold within `_NEAR` m of it.
    """
    whole = np.isfinite(solved.pde)
    order = np.argsort(solved.surrogate[whole])
    s = solved.surrogate[whole][order]
    errors = np.abs(solved.pde[whole][order] - s)
    of_below = np.where(s <= thresholds[:, None], errors, 0.0)
    # Column i: the largest of numbers i and on, so of all within a distance; the last one: of none.
    largest_from = np.zeros((len(thresholds), len(s) + 1))
    largest_from[:, :-1] = np.maximum.accumulate(of_below[:, ::-1], axis=1)[:, ::-1]
    distance = thresholds[:, None] - drawn.nodes
    first = np.searchsorted(s, thresholds[:, None] - _NEAR * np.maximum(distance, 0.0))
    local = np.maximum(np.take_along_axis(largest_from, first, axis=1), solved.least)
    with np.errstate(divide="ignore", invalid="ignore"):
        chances = np.where(distance > largest[:, None], rate[:, None] * local / distance, 0.0)
    return chances.mean(axis=1)
