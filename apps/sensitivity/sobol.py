"""First-order and total Sobol indices of independent parameters: SciPy's estimators on scrambled Sobol points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import sobol_indices

from gnvpro.apps.sensitivity.analysed import Analysed
from gnvpro.apps.sensitivity.estimates import power_of_two, ratios
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.spaces import Array

REPLICATES = 8
# Observables of one replicate that are held at a time: 256 MiB.
_NUMBERS = 1 << 25


@dataclass(frozen=True, eq=False)
class SobolSums:
    """Averages of every replicate: parts of the variance (r, n_parameters, n_groups), and the variance (r, n_groups)."""

    first: Array
    total: Array
    variance: Array
    evaluations: int
    failed: int


def most_points(found: Analysed) -> int:
    """Points of a replicate that fit in memory, a power of two."""
    return power_of_two(_NUMBERS // ((found.prior.n_free + 2) * found.space.size))


def sobol_sums(
    found: Analysed, n: int, replicates: int, seed: int, report: Callable[[int], None] = lambda done: None
) -> SobolSums:
    """Averages over n points (a power of two) in each of several independent scramblings.

    A point at which the model has no finite observables, it or one of its neighbours, is left out: it stands for the mean,
    which adds nothing to any sum.
    """
    first, total, variance, failed, size = [], [], [], 0, found.prior.n_free
    for replicate in range(replicates):
        a, b = found.normal_points(n, [seed, replicate], sets=2)
        mixed = np.repeat(a[None], size, axis=0)
        mixed[np.arange(size), :, np.arange(size)] = b.T
        values = found.compute(found.prior.parameters(np.concatenate([a, b, *mixed])))
        values = values.reshape(size + 2, n, -1)
        lost = ~np.isfinite(values).all(axis=(0, 2))
        if (~lost).sum() < 2:
            raise NumericalFailure(f"{found.name} could be computed at {(~lost).sum()} of {n} points")
        values = values - values[:2, ~lost].mean(axis=(0, 1))
        values[:, lost] = 0.0
        failed += int(lost.sum())
        observed = np.ascontiguousarray(values.swapaxes(1, 2))  # (size + 2, n_out, n)
        spread = observed[:2].var(axis=(0, 2))
        varies = spread > 0
        shares = np.zeros((2, size, len(spread)))
        if varies.any():
            functions = {"f_A": observed[0, varies], "f_B": observed[1, varies], "f_AB": observed[2:, varies]}
            indices = sobol_indices(func=functions, n=n)
            for kind, order in enumerate((indices.first_order, indices.total_order)):
                shares[kind][:, varies] = order.reshape(-1, size).T * spread[varies]
        first.append(found.groups.sums(shares[0]))
        total.append(found.groups.sums(shares[1]))
        variance.append(found.groups.sums(spread))
        report((replicate + 1) * n * (size + 2))
    return SobolSums(np.stack(first), np.stack(total), np.stack(variance), replicates * n * (size + 2), failed)


def until_precise(
    found: Analysed, tolerance: float, most: int, seed: int, report: Callable[[int], None] = lambda done: None
) -> SobolSums:
    """Four times the points until the indices of all observables together are within a tolerance, or `most` are computed."""
    n, replicates, spent = min(1 << 10, most_points(found)), REPLICATES, 0
    n = min(n, power_of_two(most // (replicates * (found.prior.n_free + 2))))
    while True:
        sums = sobol_sums(found, n, replicates, seed, lambda done, so_far=spent: report(so_far + done))
        spent += sums.evaluations
        widths = [float(ratios(part, sums.variance)[1][0].max()) for part in (sums.first, sums.total)]
        if not max(widths) > tolerance or spent + 4 * sums.evaluations > most:
            return SobolSums(sums.first, sums.total, sums.variance, spent, sums.failed)
        if 4 * n <= most_points(found):
            n *= 4
        else:
            replicates *= 4
