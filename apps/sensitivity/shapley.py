"""Shapley effects: shares of the variance that sum to one, also where parameters depend on each other.

A parameter's share is what it adds to the variance explained by those that come before it, averaged over all orders
(Owen 2014; Song, Nelson & Staum 2016). Orders are drawn at random, each with its reverse; of few parameters all are taken.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from gnvpro.apps.sensitivity.analysed import Analysed, Places
from gnvpro.apps.sensitivity.conditional import sequence
from gnvpro.apps.sensitivity.estimates import power_of_two, ratios
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.spaces import Array

# Points of a replicate, and of an order at least, powers of two; observables of an order that are held at a time: 128 MiB.
_POINTS, _FEWEST_POINTS, _NUMBERS = 1 << 9, 1 << 6, 1 << 24
# Up to so many parameters all orders are taken; replicates, each of one or several orders and their reverses.
_FEW, REPLICATES = 4, 16


@dataclass(frozen=True, eq=False)
class ShapleySums:
    """Averages of every replicate: parts of the variance (r, n_parameters, n_groups), and the variance (r, n_groups)."""

    parts: Array
    variance: Array
    evaluations: int
    failed_share: float


def shapley_sums(
    found: Analysed,
    seed: int,
    tolerance: float,
    most: int,
    points: int | None = None,
    report: Callable[[int], None] = lambda done: None,
) -> ShapleySums:
    """Replicates until the effects of all observables together are within a tolerance, or `most` points are computed.

    With `points`, so many in all, and no more replicates than there are to be at least.
    """
    size = found.prior.n_free
    together = _together(size)
    if points is None:
        n = max(_FEWEST_POINTS, power_of_two(_POINTS // together))
    else:
        n = power_of_two(points // (REPLICATES * together))
    n = min(n, power_of_two(_NUMBERS // ((size + 1) * found.space.size)))
    parts, variances, spent, failed = [], [], 0, 0
    for replicate, orders in enumerate(_orders(size, seed)):
        sums = [_of_order(found, order, n, [seed, replicate, k]) for k, order in enumerate(orders)]
        parts.append(np.mean([of for of, _, _ in sums], axis=0))
        variances.append(np.mean([of for _, of, _ in sums], axis=0))
        failed += sum(lost for _, _, lost in sums)
        spent += len(orders) * (size + 1) * n
        report(spent)
        done = replicate + 1
        if done >= REPLICATES and done & (done - 1) == 0:  # looked at when their number has doubled
            widths = ratios(np.stack(parts), np.stack(variances))[1][0]
            if points is not None or not float(widths.max()) > tolerance or 2 * spent > most:
                return ShapleySums(np.stack(parts), np.stack(variances), spent, failed / spent)
    raise AssertionError("orders never end")


def evaluations(size: int, points: int) -> int:
    """Of a model of so many parameters that vary, with so many points."""
    together = _together(size)
    return REPLICATES * together * power_of_two(points // (REPLICATES * together)) * (size + 1)


def _together(size: int) -> int:
    """Orders of a replicate."""
    return math.factorial(size) if size <= _FEW else 2


def _orders(size: int, seed: int) -> Iterator[list[Places]]:
    """Orders of every replicate."""
    if size <= _FEW:
        every = [np.array(order) for order in itertools.permutations(range(size))]
        yield from itertools.repeat(every)
    rng = np.random.default_rng([seed, 7])
    while True:
        order: Places = rng.permutation(size).astype(np.intp)
        yield [order, order[::-1]]


def _of_order(found: Analysed, order: Places, n: int, seed: list[int]) -> tuple[Array, Array, int]:
    """What every parameter adds in one order (n_parameters, n_groups), the variance (n_groups,), and points that failed."""
    kept, fresh = found.normal_points(n, seed, sets=2)
    path = sequence(found, order, kept, fresh)
    values = found.compute(path.reshape(-1, path.shape[-1])).reshape(len(order) + 1, n, -1)
    failed = ~np.isfinite(values).all(axis=2)
    good = ~failed.any(axis=0)  # whole paths, so that effects sum to one
    if good.sum() < 2:
        raise NumericalFailure(f"{found.name} could be computed on {good.sum()} of {n} paths of points")
    values = values[:, good]
    deviations = values[-1] - (values[0] + values[-1]).mean(axis=0) / 2
    gains = (np.diff(values, axis=0) * deviations).mean(axis=1)
    parts = np.empty_like(gains)
    parts[order] = gains
    spread = (deviations * (values[-1] - values[0])).mean(axis=0)
    return found.groups.sums(parts), found.groups.sums(spread), int(failed.sum())


def orders_in_words(size: int) -> str:
    """How many orders there are, and which were taken."""
    if size <= _FEW:
        return f"all {math.factorial(size)} orders"
    return "random orders and their reverses"
