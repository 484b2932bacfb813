"""Shares of variance as ratios of averages, and intervals that hold the error of sampling and that of the model.

Every measure here is a quotient R = <s, Q s> / <s, s> of the observables s less their mean, as vectors of the space of
square-integrable functions of the parameters: Q is the projection on functions of some of them (a first-order or closed
index), one less such a projection (a total index), or a mean of differences of nested projections (a Shapley effect).
In each case 0 <= Q <= 1, so that Q = V' P V with an isometry V and a projection P, and R is the squared cosine of the
angle between V s and the range of P. If the model is wrong by a function e whose mean square is at most r² times the
variance of s, truth and model enclose an angle of at most arcsin r, which V leaves as it is. So the index of the truth lies
between cos²(a + arcsin r) and cos²(a - arcsin r), a being the angle of the model: whatever the error is like.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.spaces import Array

LEVEL = 0.95


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
        Bounds of the truth: sampling, and the error of the model where that is known.
    """

    estimate: Array
    sampling: Array
    lower: Array
    upper: Array

    @classmethod
    def of(cls, estimate: Array, sampling: Array, relative_error: Array | None) -> Shares:
        """With the error of the model, its root mean square over the standard deviation of every group (n_groups,)."""
        low, high = np.clip(estimate - sampling, 0, 1), np.clip(estimate + sampling, 0, 1)
        if relative_error is not None:
            turn = np.arcsin(np.minimum(relative_error, 1))[:, None]
            low, high = turned(low, turn), turned(high, -turn)
        return cls(np.clip(estimate, 0, 1), sampling, low, high)

    def to_dict(self, group: int) -> dict[str, list[float]]:
        """JSON-able, of one group: a number for every parameter."""
        return {
            "estimate": self.estimate[group].tolist(),
            "lower": self.lower[group].tolist(),
            "upper": self.upper[group].tolist(),
            "sampling_half_width": self.sampling[group].tolist(),
        }


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
