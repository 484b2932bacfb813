"""Shares of variance as ratios of averages, and intervals that hold the error of sampling and that of the model.

Every measure here is a quotient R = <s, Q s> / <s, s> of the observables s less their mean, as vectors of the space of
square-integrable functions of the parameters: Q is the projection on functions of some of them (a first-order or closed
index), one less such a projection (a total index), or a mean of differences of nested projections (a Shapley effect).
In each case 0 <= Q <= 1, so that Q = V' P V with an isometry V and a projection P, and R is the squared cosine of the
angle a between V s and the range of P. Let the model be wrong by a function e of mean square r² times the variance of s.

- Whatever e is like, truth and model enclose an angle of at most arcsin r, which V leaves as it is: the index of the truth
  lies between cos²(a + arcsin r) and cos²(a - arcsin r). These are `least` and `most`.
- To first order only the part of e along one function counts, Q s - R s. Where the errors at different samples are
  independent, that part is r / sqrt(n) in root mean square, n being the number of samples: the angle changes by at most
  1.96 r / sqrt(n) in 95 of 100 cases. The rest of e has a share of its own, between 0 and 1, which adds at most r². So
  `lower` and `upper`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import t as student

from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.spaces import Array

LEVEL = 0.95


# Independent parts of an error that are counted on, however many samples there are: a model may be too simple.
_MOST_PARTS = 100


@dataclass(frozen=True, eq=False)
class ModelError(ComparedByValue):
    """Root mean square error of a model over the standard deviation of each group (n_groups,), and from how many samples."""

    relative: Array
    n_samples: int

    @property
    def aligned(self) -> float:
        """The share of the error, in root mean square, that 95 of 100 functions have along a given one."""
        return min(1.0, float(ndtri((1 + LEVEL) / 2)) / math.sqrt(min(self.n_samples, _MOST_PARTS)))


@dataclass(frozen=True, eq=False)
class Shares(ComparedByValue):
    """Shares of the variance of every group that parameters have, (n_groups, n_parameters), NaN of what is constant.

    Attributes
    ----------
    estimate
        Of the model, within 0 and 1.
    sampling
        Half width of its 95 % interval from sampling alone.
    lower, upper
        95 % interval of the truth: sampling, and the error of the model where that is known.
    least, most
        The same whatever the error of the model is like, if it is no larger than stated.
    """

    estimate: Array
    sampling: Array
    lower: Array
    upper: Array
    least: Array
    most: Array

    @classmethod
    def of(cls, estimate: Array, sampling: Array, error: ModelError | None) -> Shares:
        """With the error of the model, or that of sampling alone."""
        low, high = np.clip(estimate - sampling, 0, 1), np.clip(estimate + sampling, 0, 1)
        estimate = np.clip(estimate, 0, 1)
        if error is None:
            return cls(estimate, sampling, low, high, low, high)
        relative = np.minimum(error.relative, 1)[:, None]
        turn, square = np.arcsin(relative), relative**2
        least, most = turned(low, turn), turned(high, -turn)
        lower, upper = turned(low, error.aligned * turn), turned(high, -error.aligned * turn)
        lower, upper = np.maximum(lower * (1 - square), least), np.minimum(upper + (1 - upper) * square, most)
        return cls(estimate, sampling, lower, upper, least, most)

    def to_dict(self, group: int) -> dict[str, Any]:
        """JSON-able, of one group: a number for every parameter."""
        return {
            "estimate": self.estimate[group].tolist(),
            "lower": self.lower[group].tolist(),
            "upper": self.upper[group].tolist(),
            "whatever_the_error": [self.least[group].tolist(), self.most[group].tolist()],
            "sampling_half_width": self.sampling[group].tolist(),
        }


def power_of_two(most: int) -> int:
    """The largest power of two up to a number, two at least: as many points of a Sobol sequence."""
    return 1 << max(1, most.bit_length() - 1)


def turned(share: Array, turn: Array) -> Array:
    """Shares cos² a of vectors at the angle a + turn, between 0 and a right angle."""
    return np.cos(np.clip(np.arccos(np.sqrt(share)) + turn, 0, np.pi / 2)) ** 2


def ratios(parts: Array, variances: Array) -> tuple[Array, Array]:
    """Ratios of averages over replicates, and half widths of their 95 % intervals from how replicates differ.

    Parameters
    ----------
    parts : (n_replicates, n_parameters, n_groups)
    variances : (n_replicates, n_groups)
        Below zero or zero for a group that is constant: its ratios are NaN.

    Returns
    -------
    (n_groups, n_parameters), twice
    """
    n, variance = len(parts), variances.mean(axis=0)
    variance = np.where(variance > 0, variance, np.nan)
    ratio = parts.mean(axis=0) / variance
    # To first order a ratio errs as the numerator less the ratio times the denominator.
    deviations = (parts - ratio * variances[:, None]).std(axis=0, ddof=1) / variance
    half: Any = student.ppf((1 + LEVEL) / 2, n - 1) * deviations / np.sqrt(n)
    return ratio.T, half.T
