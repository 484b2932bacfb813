"""Indices of the PDE itself from those of a surrogate and a few fresh solves.

With the truth s + e, an index <c, Q c> / <c, c> is that of the surrogate s, plus averages of products with the error e, plus
<e, Q e>, which lies between 0 and <e, e>. The averages are taken over fresh solves, at which e is known: they are without
bias, and vary by the size of e alone. Estimates of Q s at a point need no solve.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import t as student

from gnvpro.apps.sensitivity.analysed import Analysed, Places
from gnvpro.apps.sensitivity.conditional import sequence
from gnvpro.apps.sensitivity.estimates import LEVEL, Shares
from gnvpro.surrogate.spaces import Array

# Points drawn anew for every conditional mean, or orders of parameters; evaluations at a time.
_DRAWS, _TOGETHER = 64, 1 << 15

type Projections = list[Array]  # for every measure (n, n_parameters, n_out)


def sobol_projections(
    found: Analysed, kept: Array, at: Array, seed: int, report: Callable[[int], None] = lambda done: None
) -> Projections:
    """Main effect of each parameter, and what is no function of the others, at points (n, n_free), less the mean.

    `at` (n, n_out): observables at these points.
    """
    n, size = kept.shape
    rng, mean, first, without = np.random.default_rng([seed, 21]), 0.0, [], []
    for j in range(size):
        main, rest = np.zeros_like(at), np.zeros_like(at)
        for _ in range(_DRAWS):
            fresh = rng.standard_normal(kept.shape)
            alone, others = fresh.copy(), kept.copy()
            alone[:, j], others[:, j] = kept[:, j], fresh[:, j]
            values = found.compute(found.prior.parameters(np.concatenate([alone, others, fresh])))
            main += values[:n] / _DRAWS
            rest += values[n : 2 * n] / _DRAWS
            mean = mean + values[2 * n :].mean(axis=0) / (_DRAWS * size)
        first.append(main)
        without.append(at - rest)
        report((j + 1) * _DRAWS * 3 * n)
    return [np.stack(first, 1) - mean, np.stack(without, 1)]


def shapley_projections(
    found: Analysed, kept: Array, at: Array, seed: int, report: Callable[[int], None] = lambda done: None
) -> Projections:
    """What each parameter adds to the conditional mean, averaged over orders, at points (n, n_free)."""
    rng, (n, size) = np.random.default_rng([seed, 22]), kept.shape
    gains = np.zeros((n, size, at.shape[1]))
    order: Places = np.arange(size, dtype=np.intp)
    for k in range(_DRAWS):
        order = rng.permutation(size).astype(np.intp) if k % 2 == 0 else order[::-1]
        path = sequence(found, order, kept, rng.standard_normal(kept.shape))
        values = found.compute(path.reshape(-1, path.shape[-1])).reshape(size + 1, n, -1)
        gains[:, order] += np.diff(values, axis=0).swapaxes(0, 1) / _DRAWS
        report((k + 1) * (size + 1) * n)
    return [gains]


def corrected(found: Analysed, shares: Shares, variance: Array, error: Array, at: Array, projected: Array) -> Shares:
    """Shares of the PDE's variance.

    Parameters
    ----------
    shares, variance : , (n_groups,)
        Of the surrogate.
    error, at : (n, n_out)
        PDE less surrogate at fresh points, and the surrogate there.
    projected : (n, n_parameters, n_out)
        What `sobol_projections` or `shapley_projections` give there.
    """
    n, sums = len(error), found.groups.sums
    error, unbiased = error - error.mean(axis=0), n / (n - 1)  # as of a covariance, whose mean is of the same points
    along = sums(error[:, None] * projected) * unbiased  # (n, n_parameters, n_groups)
    with_all, square = sums(error * (at - at.mean(axis=0))) * unbiased, sums(error**2) * unbiased  # (n, n_groups)
    truth = variance + 2 * with_all.mean(axis=0) + square.mean(axis=0)
    truth = np.where(truth > 0, truth, np.nan)
    least = (shares.estimate.T * variance + 2 * along.mean(axis=0)) / truth
    own = square.mean(axis=0) / truth
    estimate = least + np.clip(least, 0, 1) * own
    deviations = 2 * along - estimate * (2 * with_all + square)[:, None]
    factor: Any = student.ppf((1 + LEVEL) / 2, n - 1)
    half = factor * deviations.std(axis=0, ddof=1) / truth / np.sqrt(n) + shares.sampling.T * variance / truth
    clipped = (np.clip(of, 0, 1).T for of in (estimate, least - half, least + own + half))
    estimate, lower, upper = clipped
    return Shares(estimate, half.T, lower, upper, lower, upper)
