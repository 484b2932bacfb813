"""Whether the mean error of a model is below the one asked for, by fresh solves: a statement that holds its level.

Errors of samples are positive and skewed, some nearly zero and a few large, and nothing bounds them: no few samples limit the
mean of every such law. Assumed is that the errors of fresh samples follow a generalised gamma law (Stacy 1962; Prentice
1974), which contains lognormal, gamma, Weibull and half-normal ones: X^p is gamma distributed with a shape k and a rate λ,

    E[X] = λ^(-1/p) Γ(k + 1/p) / Γ(k).

Judges, fresh solves by the law, tell the scale λ; what the model predicts of its own samples when they are left out helps to
tell the shape (p, k), in a scale of its own, as those predictions come from fewer samples. Given the shape and a flat prior
on log λ, λ Σx^p is gamma distributed with the shape n k, and limits of the mean hold their level exactly. The shape is
averaged out by its posterior on a grid, and Student's limit of the judges is the least. docs/build.md has the levels that
the upper limit then holds, for these laws and for others.

A few samples near a jump or a kink are beyond all that. So a model whose left-out errors reach farther than its judges, in
units of their medians, is not confirmed where what lies beyond the largest judge may bring the mean above the target.
Errors that neither the judges nor the left-out samples show remain unseen.

The level is shared over tests: the first has `_FIRST` of 1 - confidence, every further one that share of what is left, so
that all together hold the confidence, however many models are judged (Bonferroni). Whether a model is tested, and by how
many, is decided before its judges are drawn.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import root_scalar
from scipy.special import gammainc, gammaincc, gammaln, logsumexp, polygamma
from scipy.stats import gamma, t

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.spaces import Array

# Fewer judges say nothing of the spread.
LEAST_JUDGES = 6
# Of what is left of 1 - confidence, what a test may spend.
_FIRST = 0.3
# An error counts for so much of the mean at least: what is exact by chance says nothing of large errors.
_FLOOR = 1e-3
# Left-out samples count for so many judges at most: their law is similar to that of fresh ones and not the same.
_MOST_LEFT_OUT = 80.0
# Of the limit for how many errors are beyond the largest judge.
_TAIL_LEVEL = 0.95


def _shapes() -> tuple[Array, Array, Array]:
    """p, k and the logarithm of the prior of every shape.

    By k^(-1/2) with the sign of p (0 for a lognormal law, 1 for a Weibull one, below 0 for heavier tails) and by the
    standard deviation of log X, which is between .4 and 1.6 for errors of surrogates.
    """
    skewness = np.array([-0.4, -0.25, -0.1, 0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5, 1.7])
    skewness, spread = (axis.ravel() for axis in np.meshgrid(skewness, np.geomspace(0.25, 2, 14)))
    k = skewness**-2
    p = np.sign(skewness) * np.sqrt(polygamma(1, k)) / spread
    has_mean = (p > 0) | (k * np.abs(p) > 1)
    return p[has_mean], k[has_mean], -2 * np.log(spread[has_mean] / 0.9) ** 2


_P, _K, _PRIOR = _shapes()


@dataclass(frozen=True)
class Judgement:
    """Of a model by n fresh solves.

    Attributes
    ----------
    mean, lower, upper
        Of the error, each limit at the level.
    confirmed
        Whether the upper limit is below the error asked for, and no tail speaks against it.
    tail
        What left-out errors show beyond the judges, in words, where this alone is why the model is not confirmed.
    """

    n: int
    mean: float
    lower: float
    upper: float
    level: float
    confirmed: bool
    tail: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def level_of(test: int, confidence: float) -> float:
    """Level of the first, second, … test, so that all together hold the confidence."""
    return 1 - (1 - confidence) * _FIRST * (1 - _FIRST) ** (test - 1)


def judge(errors: Array, target: float, level: float, left_out: Array, weights: Array) -> Judgement:
    """Of a model, by its errors (n,) at fresh samples.

    Parameters
    ----------
    left_out, weights : (m,)
        Errors of models like it at its own samples when they are left out, and the weights of these under the law.

    Raises UsageError: fewer than two judges.
    """
    if len(errors) < 2:
        raise UsageError(f"expected two judges at least, got {len(errors)}")
    mean = float(errors.mean())
    lower, upper = _limits(errors, level, left_out, weights) if mean else (0.0, 0.0)
    with_tail = mean + _beyond(errors, left_out, weights)
    tail = None
    if upper < target <= with_tail:
        tail = (
            "errors of samples left out reach farther than those of the fresh solves, and may bring the mean to "
            f"{percent(with_tail)}"
        )
    return Judgement(len(errors), mean, lower, upper, level, upper < target and tail is None, tail)


def judges_needed(
    expected: float, target: float, level: float, left_out: Array, weights: Array, most: int, power: float
) -> int | None:
    """How many judges confirm a mean error that is what is expected, with a probability; None for more than `most`.

    `power`: that probability.
    """
    if most < LEAST_JUDGES or not expected < target or not len(left_out):
        return None
    if not expected or not left_out.any():
        return LEAST_JUDGES
    chances = weights / weights.sum()
    order, middle = np.argsort(left_out), float(chances @ left_out)
    variance = float(chances @ (left_out / middle - 1) ** 2)

    def confirms(n: int) -> bool:
        reached = np.searchsorted(np.cumsum(chances[order]), (np.arange(n) + 0.5) / n)
        typical = left_out[order][np.minimum(reached, len(order) - 1)]
        likely = gamma.ppf(power, n / variance) * variance / n if variance else 1.0
        errors = typical * (expected * likely / (typical.mean() or 1.0))
        return judge(errors, target, level, left_out, weights).confirmed

    fewest, enough = LEAST_JUDGES, most
    if not confirms(enough):
        return None
    while fewest < enough:
        between = (fewest + enough) // 2
        fewest, enough = (fewest, between) if confirms(between) else (between + 1, enough)
    return enough


def _limits(errors: Array, level: float, left_out: Array, weights: Array) -> tuple[float, float]:
    """Lower and upper limit of the mean of the law of the errors (n,), each at the level."""
    mean, n = float(errors.mean()), len(errors)
    evidence, log_sums = _evidence(errors / mean, np.ones(n))
    evidence = evidence + _PRIOR
    if left_out.any():
        effective = min(_effective(weights), _MOST_LEFT_OUT)
        scaled = left_out / np.average(left_out, weights=weights)
        evidence = evidence + _evidence(scaled, weights * (effective / weights.sum()))[0]
    chances = np.exp(evidence - evidence.max())
    chances /= chances.sum()
    p, k = _P, _K
    log_mean_of_unit_rate = gammaln(k + 1 / p) - gammaln(k)

    def below(log_mean: float, level: float) -> float:
        """By how much the probability that the mean is below exceeds a level."""
        rate = np.exp(np.minimum(log_sums + p * (log_mean_of_unit_rate - log_mean), 700.0))
        return float(chances @ np.where(p > 0, gammaincc(n * k, rate), gammainc(n * k, rate))) - level

    lower, upper = (root_scalar(below, args=(at,), bracket=(-50, 100)).root for at in (1 - level, level))
    student = mean + float(t.ppf(level, n - 1) * errors.std(ddof=1)) / math.sqrt(n)
    return min(mean * math.exp(lower), mean), max(mean * math.exp(upper), student)


def _evidence(errors: Array, weights: Array) -> tuple[Array, Array]:
    """Logarithms of the likelihood of errors (n,) of mean 1, with λ integrated out, and of Σx^p, for every shape."""
    logs = np.log(np.maximum(errors, _FLOOR))
    n = weights.sum()
    log_sums = np.asarray(logsumexp(_P[:, None] * logs, axis=1, b=weights))
    likelihood = n * (np.log(np.abs(_P)) - gammaln(_K)) + _P * _K * float(weights @ logs)
    return likelihood + gammaln(n * _K) - n * _K * log_sums - np.log(np.abs(_P)), log_sums


def _beyond(errors: Array, left_out: Array, weights: Array) -> float:
    """What errors beyond the largest judge may add to the mean, by left-out ones in units of their median.

    As many as the left-out ones that are, by an upper limit of a Poisson count, among these and the judges together. Left-out
    errors count as they are where a median is zero.
    """
    if not left_out.any():
        return 0.0
    order = np.argsort(left_out)
    middle = left_out[order][np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)]
    ratio = float(np.median(errors) / middle) if middle > 0 else 0.0
    scaled = left_out * (ratio or 1.0)
    far = scaled > errors.max()
    if not far.any():
        return 0.0
    effective = _effective(weights)
    most = gamma.ppf(_TAIL_LEVEL, effective * weights[far].sum() / weights.sum() + 1)
    return float(most / (effective + len(errors)) * np.average(scaled[far], weights=weights[far]))


def _effective(weights: Array) -> float:
    """How many samples of equal weight say as much (Kish)."""
    return float(weights.sum() ** 2 / (weights**2).sum())
