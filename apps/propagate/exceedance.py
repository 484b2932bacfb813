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
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from gnvpro.apps.propagate.counts import weighted_counts, wilson
from gnvpro.surrogate.spaces import Array

# Values that stand for those of all draws where distances are averaged.
_NODES = 1024
_NEAR = 4.0
# What is left of the errors beyond the last level of the bands: shares of them, and how many times its width they have.
_BEYOND = ((0.5, 2.0), (0.4, 10.0), (0.09, 100.0))


@dataclass(frozen=True, eq=False)
class Sizes:
    """How large errors of a quantity are: a share of them, (q,), is at most as large as the width beside it, (q,).

    Shares sum to less than one: of the rest nothing is known.
    """

    shares: Array
    widths: Array

    @classmethod
    def of_bands(cls, levels: Array, widths: Array) -> Sizes | None:
        """From half widths (n_levels,) of error bands; None where no level is finite."""
        finite = np.isfinite(widths)
        if not finite.any():
            return None
        levels, widths = np.asarray(levels)[finite], widths[finite]
        last = 1 - levels[-1]
        beyond = np.array(_BEYOND)
        shares = np.concatenate([np.diff(levels, prepend=0.0), last * beyond[:, 0]])
        return cls(shares, np.concatenate([widths, widths[-1] * beyond[:, 1]]))

    @property
    def mean(self) -> float:
        """Of the sizes that are known."""
        return float(self.shares @ self.widths)

    @property
    def root_mean_square(self) -> float:
        """Of the sizes that are known."""
        return float(np.sqrt(self.shares @ self.widths**2))


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


@dataclass(frozen=True, eq=False)
class Drawn:
    """One quantity by the surrogate at all draws, in r parts of m that are independent of each other.

    Attributes
    ----------
    parts : (r, m)
        In ascending order within each.
    effective
        As many independent draws tell as much.
    """

    parts: Array
    effective: float

    @classmethod
    def of(cls, values: Array, effective: float | None = None) -> Drawn:
        """From values (r, m)."""
        return cls(np.sort(values, axis=1), float(values.size) if effective is None else effective)

    @cached_property
    def ordered(self) -> Array:
        """All draws (N,) in ascending order."""
        return np.sort(self.parts, axis=None)

    @cached_property
    def nodes(self) -> Array:
        """Values that stand for all draws, as many of them below one as above the next."""
        n = len(self.ordered)
        few = min(_NODES, n)
        return self.ordered[((np.arange(few) + 0.5) * n / few).astype(int)]

    @cached_property
    def negated(self) -> Drawn:
        """Of the quantity times -1."""
        mirrored = Drawn(-self.parts[:, ::-1], self.effective)
        mirrored.__dict__["ordered"] = -self.ordered[::-1]  # need not be sorted again
        return mirrored

    def above(self, thresholds: Array) -> Array:
        """Share of the draws of every part beyond thresholds (t,): (r, t)."""
        m = self.parts.shape[1]
        return np.array([1 - np.searchsorted(part, thresholds, side="right") / m for part in self.parts])

    def interval(self, shares: Array, level: float) -> tuple[Array, Array]:
        """Of the mean (t,) of shares (r, t) of the parts: never narrower than that of independent draws."""
        r, share = len(shares), shares.mean(axis=0)
        variance, binomial = shares.var(axis=0, ddof=1) / r, share * (1 - share)
        n = np.divide(binomial, variance, out=np.full_like(share, np.inf), where=variance > 0)
        return wilson(share, np.clip(n, r, self.effective), stdtrit(r - 1, (1 + level) / 2))


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
