"""From a population and PDE solves at some of it to all estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gnvpro.apps.propagate.drawn import Drawn, Sizes
from gnvpro.apps.propagate.exceedance import Exceedance, Solved, exceedance
from gnvpro.apps.propagate.limits import Limit
from gnvpro.apps.propagate.moments import Estimate, moments
from gnvpro.apps.propagate.population import Population
from gnvpro.apps.propagate.quantiles import Curve, curve, quantiles_of
from gnvpro.apps.propagate.result import Solves
from gnvpro.surrogate.progress import Report

# Distributions that are kept for pictures.
_PICTURED = 6


@dataclass(frozen=True, eq=False)
class Estimates:
    """The fields of a `PropagationResult` of these names."""

    mean: Estimate
    deviation: Estimate
    quantiles: tuple[Estimate, ...]
    exceedances: tuple[Exceedance, ...]
    curves: dict[int, Curve]
    solves: Solves | None


def estimate(
    population: Population,
    solves: Solves | None,
    limits: Sequence[Limit],
    quantile_levels: Sequence[float],
    level: float,
    progress: Report,
) -> Estimates:
    """Of all quantities; quantity by quantity, as each has as many numbers as there are draws."""
    k = len(population.quantities.names)
    sizes = [population.sizes(j) for j in range(k)]
    control = None if solves is None else (solves.solved, solves.predicted, solves.weights)
    flat = population.flat
    extremes = flat.min(axis=0), flat.max(axis=0)
    mean, deviation, coefficients = moments(population.values, level, population.mean_errors(), control, extremes)
    if solves is not None and coefficients is not None:
        solves = replace(solves, coefficients=coefficients)
    pictured = _pictured(population, limits)
    of_quantities: list[Estimate] = []
    exceedances: dict[Limit, Exceedance] = {}
    curves: dict[int, Curve] = {}
    for j in range(k):
        progress(j, k, "quantiles and probabilities")
        drawn, solved = population.drawn(j), None
        if solves is not None:
            least = population.high_width(j)
            solved = Solved(solves.solved[:, j], solves.predicted[:, j], solves.weights, least)
        found = curve(quantile_levels, drawn, level, sizes[j], solved)
        of_quantities.append(quantiles_of(quantile_levels, found))
        if j in pictured:
            curves[j] = found
        exceedances |= {
            limit: _of_limit(limit, drawn, level, sizes[j], solved) for limit in limits if limit.column == j
        }
    return Estimates(
        mean,
        deviation,
        tuple(_of_level(of_quantities, i) for i in range(len(quantile_levels))),
        tuple(exceedances[limit] for limit in limits),
        {j: curves[j] for j in pictured},
        solves,
    )


def _of_limit(limit: Limit, drawn: Drawn, level: float, size: Sizes | None, solved: Solved | None) -> Exceedance:
    """P(quantity > limit); below it, that of what is times -1."""
    if limit.above:
        return exceedance(np.array([limit.value]), drawn, level, size, solved)
    mirrored = None if solved is None else replace(solved, pde=-solved.pde, surrogate=-solved.surrogate)
    return exceedance(np.array([-limit.value]), drawn.negated, level, size, mirrored)


def _of_level(of_quantities: Sequence[Estimate], i: int) -> Estimate:
    """Quantile number i of all quantities."""
    names = ("value", "lower", "upper", "drawn_lower", "drawn_upper")
    return Estimate(*(np.array([getattr(one, name)[i] for one in of_quantities]) for name in names))


def _pictured(population: Population, limits: Sequence[Limit]) -> list[int]:
    """Quantities whose distribution is shown: scalars, then those whose limit is the least certain, or the first."""
    quantities = population.quantities

    def certainty(limit: Limit) -> float:
        return abs(float((population.flat[:, limit.column] > limit.value).mean()) - 0.5)

    scalars = range(quantities.n_observables, len(quantities.names))
    columns = [*scalars, *(limit.column for limit in sorted(limits, key=certainty))] or [0]
    return list(dict.fromkeys(columns))[:_PICTURED]
