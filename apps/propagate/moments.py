"""Means and standard deviations of quantities, over draws of the law and corrected by PDE solves at some of them."""

from __future__ import annotations

from dataclasses import dataclass

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
    errors: tuple[Array, Array] | None,
    solves: tuple[Array, Array, Array] | None,
    failed_as: tuple[Array, Array] | None = None,
) -> tuple[Estimate, Estimate, Array | None]:
    """Mean and standard deviation of quantities, and the coefficients (k,) of the control variate, if there is one.

    Parameters
    ----------
    values : (r, m, k)
        Of the surrogate at all draws.
    errors : (k,), (k,)
        Mean and root mean square of its error, in size, where no solves correct it; None where they are unknown.
    solves : (n, k), (n, k), (n,)
        Of the PDE and the surrogate at `Chosen` draws, and their weights. A draw that failed is NaN.
    failed_as : (k,), (k,)
        The lowest and the highest value that a failed draw is counted as: the interval holds for every one between.
    """
    mean, drawn = mean_of_draws(values, level)
    squares, drawn_squares = mean_of_draws(values, level, about=mean)
    if solves is None:
        e, rms = errors if errors is not None else (np.full_like(mean, np.nan), np.full_like(mean, np.nan))
        of_mean = Estimate(mean, mean - drawn - e, mean + drawn + e, mean - drawn, mean + drawn)
        low, high = np.sqrt(np.maximum(squares - drawn_squares, 0)), np.sqrt(squares + drawn_squares)
        deviation = Estimate(np.sqrt(squares), np.maximum(low - rms, 0), high + rms, low, high)
        return of_mean, deviation, None
    solved, cheap, weights = solves
    failed = np.isnan(solved)
    found = [
        _corrected(np.where(failed, as_one, solved), cheap, weights, mean, squares, drawn, drawn_squares, level)
        for as_one in (cheap, *((failed_as or ()) if failed.any() else ()))
    ]
    return _covering([one for one, _, _ in found]), _covering([one for _, one, _ in found]), found[0][2]


def _covering(parts: list[Estimate]) -> Estimate:
    """The first, what fails being as the surrogate says, with an interval that covers those of all."""
    first = parts[0]
    lower, upper = np.min([one.lower for one in parts], axis=0), np.max([one.upper for one in parts], axis=0)
    return Estimate(first.value, lower, upper, first.drawn_lower, first.drawn_upper)


def _corrected(
    solved: Array,
    cheap: Array,
    weights: Array,
    mean: Array,
    squares: Array,
    drawn: Array,
    drawn_squares: Array,
    level: float,
) -> tuple[Estimate, Estimate, Array]:
    first = correction(solved, cheap, mean, weights, level)
    value = mean + first.shift
    half = np.hypot(first.half_width, drawn)
    of_mean = Estimate(value, value - half, value + half, value - drawn, value + drawn)
    # About the mean of the surrogate, which is no draw of the solves; then E (f - c)² - (E f - c)², less its bias.
    second = correction((solved - mean) ** 2, (cheap - mean) ** 2, squares, weights, level)
    variance = squares + second.shift - first.shift**2 + first.variance
    half = np.hypot(second.half_width, drawn_squares)

    def root(x: Array) -> Array:
        return np.sqrt(np.maximum(x, 0))

    low, high, drawn_low, drawn_high = (variance + d for d in (-half, half, -drawn_squares, drawn_squares))
    return (
        of_mean,
        Estimate(root(variance), root(low), root(high), root(drawn_low), root(drawn_high)),
        first.coefficient,
    )
