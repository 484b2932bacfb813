"""First-order and total Sobol indices of independent parameters, by Saltelli's and Jansen's estimators on Sobol points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

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
    failed_share: float


def most_points(found: Analysed) -> int:
    """Points of a replicate that fit in memory, a power of two."""
    return power_of_two(_NUMBERS // ((found.prior.n_free + 2) * found.space.size))


def sampling(found: Analysed, points: int) -> tuple[int, int]:
    """Points of a replicate, and replicates, that so many points in all are."""
    n = min(power_of_two(points // REPLICATES), most_points(found))
    return n, max(REPLICATES, points // n)


def sobol_sums(
    found: Analysed, n: int, replicates: int, seed: int, report: Callable[[int], None] = lambda done: None
) -> SobolSums:
    """Averages over n points (a power of two) in each of several independent scramblings.

    A point at which the model has no finite observables is left out, and of a parameter the pairs that need it: to leave out
    all neighbours of a point where one fails would change the law the more, the more parameters there are.
    """
    first, total, variance, failed, size = [], [], [], 0, found.prior.n_free
    for replicate in range(replicates):
        a, b = found.normal_points(n, [seed, replicate], sets=2)
        mixed = np.repeat(a[None], size, axis=0)
        mixed[np.arange(size), :, np.arange(size)] = b.T
        values = found.compute(found.prior.parameters(np.concatenate([a, b, *mixed])))
        values = values.reshape(size + 2, n, -1)
        good = np.isfinite(values).all(axis=2)  # (size + 2, n)
        if (both := good[0] & good[1] & good[2:]).sum(axis=1).min() < 2:
            raise NumericalFailure(f"{found.name} could be computed at {good.sum()} of {good.size} points")
        failed += int((~good).sum())
        whole = values[:2][good[:2]]
        values, spread = values - whole.mean(axis=0), whole.var(axis=0)
        shares = np.zeros((2, size, len(spread)))
        for j, rows in enumerate(both):
            of_a, of_b, of_ab = values[0, rows], values[1, rows], values[2 + j, rows]
            shares[0, j] = (of_b * (of_ab - of_a)).mean(axis=0)
            shares[1, j] = ((of_a - of_ab) ** 2).mean(axis=0) / 2
        first.append(found.groups.sums(shares[0]))
        total.append(found.groups.sums(shares[1]))
        variance.append(found.groups.sums(spread))
        report((replicate + 1) * n * (size + 2))
    computed = replicates * n * (size + 2)
    return SobolSums(np.stack(first), np.stack(total), np.stack(variance), computed, failed / computed)


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
            return SobolSums(sums.first, sums.total, sums.variance, spent, sums.failed_share)
        if 4 * n <= most_points(found):
            n *= 4
        else:
            replicates *= 4
