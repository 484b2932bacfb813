"""PDE solves that correct a propagation: where they are, and what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from gnvpro.apps.inversion.posterior.solves import Solves as Memory
from gnvpro.apps.propagate.design import choose
from gnvpro.apps.propagate.limits import Limit
from gnvpro.apps.propagate.population import Population
from gnvpro.apps.propagate.result import Solves
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.solving import at_once
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array

# With fewer solves there is no interval: half of them give the coefficient for the other half.
FEWEST_SOLVES = 20
# Of a quantity's standard deviation: what stands for the width of its error band where it has none.
_NO_BAND = 1e-3


def solve(
    problem: Problem,
    memory: Memory,
    population: Population,
    limits: Sequence[Limit],
    n: int,
    seed: int,
    progress: Report,
) -> Solves:
    """Choose n draws, n even, and solve the PDE there.

    Raises NumericalFailure: fewer than half of `FEWEST_SOLVES` could be solved.
    """
    chosen = choose(n, *_distances(population, limits), np.random.default_rng([seed, 1]))
    rows, back = np.unique(chosen.rows, return_inverse=True)
    points = population.points[rows]
    together = at_once(problem, len(points))
    observables = []
    for first in range(0, len(points), together):
        progress(first, len(points), f"{first} of {len(points)} PDE solves")
        observables.append(memory.evaluate(points[first : first + together]))
    solved = np.concatenate(observables)
    whole = np.isfinite(solved).all(axis=1)
    failures = Counter(memory.failures)
    if (untold := int((~whole).sum()) - failures.total()) > 0:
        failures["failed before, as the checkpoint says"] += untold
    if whole.sum() < FEWEST_SOLVES // 2:
        why = f" ({memory.failures})" if memory.failures else ""
        raise NumericalFailure(f"the PDE could be solved at {whole.sum()} of {len(points)} points{why}: too few")
    found = np.full((len(points), len(population.quantities.names)), np.nan)
    found[whole] = population.quantities.of(solved[whole])
    return Solves(
        points[back], chosen.weights, found[back], population.flat[chosen.rows], np.ones(found.shape[1]), len(points),
        dict(failures), memory.remembered,
    )  # fmt: skip


def _distances(population: Population, limits: Sequence[Limit]) -> tuple[Array, Array | None]:
    """In which order draws are alike, (N,), and how many widths of the bands they are from the nearest limit."""
    flat = population.flat
    if not limits:
        spread = flat.std(axis=0)
        return (flat / np.where(spread > 0, spread, 1.0)).mean(axis=1), None
    nearest, signed = np.full(len(flat), np.inf), np.zeros(len(flat))
    for limit in limits:
        beyond = flat[:, limit.column] - limit.value
        width = population.usual_width(limit.column)
        if not width > 0:
            width = _NO_BAND * float(beyond.std()) or 1.0
        distance = np.abs(beyond) / width
        nearer = distance < nearest
        nearest[nearer], signed[nearer] = distance[nearer], np.sign(beyond[nearer])
    return signed * np.log1p(nearest), nearest
