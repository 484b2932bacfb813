"""Whether the mean error of a model is below the one asked for, by fresh solves: a statement that holds its level.

Errors of samples are positive and skewed, some nearly zero and a few large, and nothing bounds them: no few samples limit the
mean of any such law. What a model predicts of its own samples when they are left out shows the shape of the law, tails and
all; only its scale is another one, as those predictions come from fewer samples. Judges, fresh solves by the law, tell the
scale: with e their mean, F the shape and q(p) the p-quantile of the mean of as many draws from F,

    upper limit at a level = e · mean(F) / q(1 - level),

the largest scale at which a mean as small as e still occurs with probability 1 - level (the test inverted; q by the
bootstrap, Efron & Tibshirani 1993). Student's limit of the judges alone is the least. docs/build.md has the levels that it
holds for lognormal, gamma and Weibull laws and mixtures.

The level is shared over tests: the first has `_FIRST` of 1 - confidence, every further one that share of what is left, so
that all together hold the confidence, however many models are judged (Bonferroni). Whether a model is tested, and by how
many, is decided before its judges are drawn.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# Fewer judges say nothing of the tail.
LEAST_JUDGES = 6
# Of what is left of 1 - confidence, what a test may spend.
_FIRST = 0.3
# Means that are drawn of a shape, at least and for every unit of what a level leaves.
_DRAWS, _BEYOND = 4000, 40


@dataclass(frozen=True)
class Judgement:
    """Of a model by n fresh solves.

    Attributes
    ----------
    mean, lower, upper
        Of the error, each limit at the level.
    confirmed
        Whether the upper limit is below the error asked for.
    """

    n: int
    mean: float
    lower: float
    upper: float
    level: float
    confirmed: bool

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
    if not mean:
        return Judgement(len(errors), 0.0, 0.0, 0.0, level, True)
    shape, chances = _shape(errors, left_out, weights)
    means = _means(shape, chances, len(errors), level)
    low, high = _quantiles(means, (1 - level, level))
    middle = float(shape @ chances)
    upper = mean * middle / low if low > 0 else math.inf
    upper = max(upper, mean + _student(level, len(errors)) * float(errors.std(ddof=1)))
    return Judgement(len(errors), mean, mean * middle / high, upper, level, bool(upper < target))


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

    def confirms(n: int) -> bool:
        shape, chances = left_out, weights / weights.sum()
        low, likely = _quantiles(_means(shape, chances, n, level), (1 - level, power))
        spread = math.sqrt(float(chances @ (shape - shape @ chances) ** 2)) / float(shape @ chances)
        return low > 0 and expected * max(likely / low, 1 + _student(level, n) * spread) < target

    fewest, enough = LEAST_JUDGES, most
    if not confirms(enough):
        return None
    while fewest < enough:
        middle = (fewest + enough) // 2
        fewest, enough = (fewest, middle) if confirms(middle) else (middle + 1, enough)
    return enough


def _shape(errors: Array, left_out: Array, weights: Array) -> tuple[Array, Array]:
    """Errors in units of their median and their probabilities, those left out and the judges as one."""
    parts, chances = [errors / (np.median(errors) or errors.mean())], [np.full(len(errors), 1.0)]
    if len(left_out) and (middle := _weighted_median(left_out, weights)):
        parts.append(left_out / middle)
        chances.append(weights * (len(weights) / weights.sum()))
    together = np.concatenate(chances)
    return np.concatenate(parts), together / together.sum()


def _weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) >= weights.sum() / 2
    return float(values[order][reached.argmax()])


def _means(shape: Array, chances: Array, n: int, level: float) -> Array:
    """Of n draws, many times, sorted."""
    n_draws = max(_DRAWS, math.ceil(_BEYOND / (1 - level)))
    rng = np.random.default_rng(0)
    total = np.zeros(n_draws)
    for _ in range(n):
        total += rng.choice(shape, n_draws, p=chances)
    return np.sort(total / n)


def _quantiles(means: Array, at: tuple[float, float]) -> tuple[float, float]:
    low, high = np.quantile(means, at)
    return float(low), float(high)


def _student(level: float, n: int) -> float:
    """Of the standard deviation, what Student's upper limit is above the mean."""
    from scipy.stats import t

    return float(t.ppf(level, n - 1)) / math.sqrt(n)
