"""Means and standard deviations of quantities, over draws of the law and corrected by PDE solves at some of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number for each of k quantities, with two intervals of the level that was asked for.

    Attributes
    ----------
    value : (k,)
    lower, upper : (k,)
        From everything: the finite number of draws, and the error of the surrogate by its bands or by PDE solves; NaN
        where nothing tells that error.
    drawn_lower, drawn_upper : (k,)
        From the finite number of draws alone.
    """

    value: Array
    lower: Array
    upper: Array
    drawn_lower: Array
    drawn_upper: Array

    @classmethod
    def joined(cls, parts: list[Estimate]) -> Estimate:
        """Those of several quantities, in their order."""
        names = ("value", "lower", "upper", "drawn_lower", "drawn_upper")
        return cls(*(np.concatenate([np.atleast_1d(getattr(part, name)) for part in parts]) for name in names))


def mean_of_draws(values: Array, level: float, about: Array | None = None) -> tuple[Array, Array]:
    """Mean (k,) over draws (r, m, k) in r parts that are independent of each other, and the half width of its interval.

    Of the values, or of their squares `about` a point (k,).
    """
    of_parts = np.array([(part if about is None else (part - about) ** 2).mean(axis=0) for part in values])
    r = len(of_parts)
    return of_parts.mean(axis=0), stdtrit(r - 1, (1 + level) / 2) * of_parts.std(axis=0, ddof=1) / np.sqrt(r)


@dataclass(frozen=True, eq=False)
class Correction:
    """What solves change of means: (k,) each.

    Attributes
    ----------
    shift
        To add to the mean of the surrogate over all draws.
    variance, half_width
        Of it.
    coefficient
        Of the control variate, the mean of those of both halves.
    """

    shift: Array
    variance: Array
    half_width: Array
    coefficient: Array


def correction(solved: Array, cheap: Array, centre: Array, weights: Array, level: float) -> Correction:
    """The control variate: Σ w ((f - c) - b (s - c)) over pairs of draws from strata, with b optimal.

    The centre c is the mean of s over the population, so that the second term has mean zero and b no influence on the
    mean. b is that of the other half of the draws, one of every pair (cross-fitting): taken from the same draws it would
    be biased. The variance is that of differences within pairs.

    Parameters
    ----------
    solved, cheap : (n, k)
        f by the PDE and s by the surrogate at `Chosen` draws.
    centre : (k,)
    weights : (n,)
    """
    f, s, w = solved - centre, cheap - centre, weights[:, None]
    halves = slice(0, None, 2), slice(1, None, 2)
    b = [_slope(f[half], s[half], w[half]) for half in halves]
    terms = np.empty_like(f)
    for half, other in ((0, 1), (1, 0)):
        terms[halves[half]] = (w * (f - b[other] * s))[halves[half]]
    squares = (terms[halves[0]] - terms[halves[1]]) ** 2
    variance = squares.sum(axis=0)
    fourth = (squares**2).sum(axis=0)
    # Of n / 2 squares of normal variables, mean fourth power three (Johnson and Rust 1992).
    freedom = np.maximum(1.0, 3 * np.divide(variance**2, fourth, out=np.ones_like(fourth), where=fourth > 0) - 2)
    half_width = stdtrit(freedom, (1 + level) / 2) * np.sqrt(variance)
    return Correction(terms.sum(axis=0), variance, half_width, (b[0] + b[1]) / 2)


def _slope(f: Array, s: Array, w: Array) -> Array:
    """Weighted regression (k,) of f on s; 1 where s does not vary."""
    f, s = (x - (w * x).sum(axis=0) / w.sum() for x in (f, s))
    square = (w * s**2).sum(axis=0)
    return np.divide((w * f * s).sum(axis=0), square, out=np.ones_like(square), where=square > 0)


def moments(
    values: Array,
    level: float,
    errors: tuple[Array, Array],
    solves: tuple[Array, Array, Array] | None,
    failed_as: tuple[Array, Array] | None = None,
) -> tuple[Estimate, Estimate, Array | None]:
    """Mean and standard deviation of quantities, and the coefficients (k,) of the control variate, if there is one.

    Parameters
    ----------
    values : (r, m, k)
        Of the surrogate at all draws.
    errors : (k,), (k,)
        Mean and root mean square of its error, in size, where no solves correct it; NaN where they are unknown.
    solves : (n, k), (n, k), (n,)
        Of the PDE and the surrogate at `Chosen` draws, and their weights. A draw that failed is NaN.
    failed_as : (k,), (k,)
        The lowest and the highest value that a failed draw is counted as: the intervals hold for every one between.
    """
    mean, drawn = mean_of_draws(values, level)
    squares, drawn_squares = mean_of_draws(values, level, about=mean)
    if solves is None:
        e, rms = errors
        of_mean = Estimate(mean, mean - drawn - e, mean + drawn + e, mean - drawn, mean + drawn)
        low, high = np.sqrt(np.maximum(squares - drawn_squares, 0)), np.sqrt(squares + drawn_squares)
        deviation = Estimate(np.sqrt(squares), np.maximum(low - rms, 0), high + rms, low, high)
        return of_mean, deviation, None
    solved, cheap, weights = solves

    def filled(value: Array) -> Array:
        return np.where(failed, value, solved)

    def mean_by(solved: Array) -> Correction:
        return correction(solved, cheap, mean, weights, level)

    def deviation_by(solved: Array, first: Correction) -> Estimate:
        second = correction((solved - mean) ** 2, (cheap - mean) ** 2, squares, weights, level)
        return _deviation(squares, drawn_squares, first, second)

    failed = np.isnan(solved)
    first = mean_by(filled(cheap))
    of_mean, deviation = _mean(mean, drawn, first), deviation_by(filled(cheap), first)
    if failed_as is None or not failed.any():
        return of_mean, deviation, first.coefficient
    lowest, highest = (mean_by(filled(value)) for value in failed_as)
    of_mean = _covering(of_mean, *(_mean(mean, drawn, one) for one in (lowest, highest)))
    # The deviation is least where what failed lies at the mean of the others. It is largest with some at the lowest and
    # some at the highest value: at most as if all were at the one farther from c, and E f as near to c as it may be.
    known = np.where(failed, 0.0, weights[:, None])
    middle = np.clip((known * filled(cheap)).sum(axis=0) / known.sum(axis=0), *failed_as)
    farther = np.where(mean - failed_as[0] > failed_as[1] - mean, *failed_as)
    ends = np.sort([lowest.shift, highest.shift], axis=0)
    nearest = replace(first, shift=np.clip(0.0, ends[0], ends[1]))
    least = deviation_by(filled(middle), mean_by(filled(middle)))
    return of_mean, _covering(deviation, least, deviation_by(filled(farther), nearest)), first.coefficient


def _covering(first: Estimate, *others: Estimate) -> Estimate:
    """The first, what fails being as the surrogate says, with an interval that covers those of all."""
    lower, upper = (np.array([getattr(one, end) for one in (first, *others)]) for end in ("lower", "upper"))
    return replace(first, lower=lower.min(axis=0), upper=upper.max(axis=0))


def _mean(mean: Array, drawn: Array, first: Correction) -> Estimate:
    """The mean s̄ of the surrogate, known to `drawn`, corrected: Σ w (f - b s) + b s̄, so that the draws' error is b's."""
    value, drawn = mean + first.shift, drawn * np.abs(first.coefficient)
    half = np.hypot(first.half_width, drawn)
    return Estimate(value, value - half, value + half, value - drawn, value + drawn)


def _deviation(squares: Array, drawn_squares: Array, first: Correction, second: Correction) -> Estimate:
    """About c, the mean of the surrogate, which is no draw of the solves: E (f - c)² - (E f - c)², less its bias."""
    variance = squares + second.shift - first.shift**2 + first.variance
    drawn = drawn_squares * np.abs(second.coefficient)
    half = np.hypot(second.half_width, drawn)
    return Estimate(*(np.sqrt(np.maximum(variance + d, 0)) for d in (0.0, -half, half, -drawn, drawn)))
