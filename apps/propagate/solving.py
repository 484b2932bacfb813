"""PDE solves that correct a propagation: where they are, and what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from gnvpro.apps.arguments import Folder
from gnvpro.apps.inversion.posterior.solves import Solves as Memory
from gnvpro.apps.propagate.design import choose
from gnvpro.apps.propagate.draws import Draws
from gnvpro.apps.propagate.limits import Limit
from gnvpro.apps.propagate.quantities import Quantities
from gnvpro.apps.propagate.result import Solves
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.solving import at_once
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array

# With fewer solves there is no interval: half of them give the coefficient for the other half.
FEWEST_SOLVES = 20
# Of a quantity's standard deviation: what stands for the width of its error band where it has none.
_NO_BAND = 1e-3


def distances(values: Array, limits: Sequence[Limit], widths: Array | None) -> tuple[Array, Array | None]:
    """In which order draws are alike, (N,), and how many widths of the bands they are from the nearest limit."""
    flat = values.reshape(-1, values.shape[2])
    if not limits:
        spread = flat.std(axis=0)
        return (flat / np.where(spread > 0, spread, 1.0)).mean(axis=1), None
    nearest = np.full(len(flat), np.inf)
    signed = np.zeros(len(flat))
    for limit in limits:
        column = flat[:, limit.column] - limit.value
        width = np.nan if widths is None else float(widths[limit.column])
        if not (np.isfinite(width) and width > 0):  # no band
            width = _NO_BAND * float(column.std()) or 1.0
        distance = np.abs(column) / width
        nearer = distance < nearest
        nearest[nearer], signed[nearer] = distance[nearer], np.sign(column[nearer])
    return signed * np.log1p(nearest), nearest


def memory_of(solvable: Problem, pde: Problem, checkpoint: Folder | None) -> Memory:
    path = None if checkpoint is None else path_of(checkpoint)
    return Memory(solvable, path, "" if path is None else definition_hash(pde.definition))


def solve(
    solvable: Problem,
    memory: Memory,
    quantities: Quantities,
    drawn: Draws,
    values: Array,
    at: tuple[Array, Array | None],
    n: int,
    seed: int,
    progress: Report,
) -> Solves:
    chosen = choose(n, *at, np.random.default_rng([seed, 1]))
    rows, back = np.unique(chosen.rows, return_inverse=True)
    points = drawn.points.reshape(-1, drawn.points.shape[2])[rows]
    together = at_once(solvable, len(points))
    observables = []
    for first in range(0, len(points), together):
        progress(first, len(points), f"{first} of {len(points)} PDE solves")
        observables.append(memory.evaluate(points[first : first + together]))
    solved = np.concatenate(observables)
    whole = np.isfinite(solved).all(axis=1)
    failures = Counter(memory.failures)
    if (untold := int((~whole).sum()) - failures.total()) > 0:
        failures["failed before, says the checkpoint"] += untold
    if whole.sum() < FEWEST_SOLVES // 2:
        raise NumericalFailure(
            f"the PDE could be solved at {whole.sum()} of {len(points)} points ({memory.failures}): too few to say anything"
        )
    found = np.full((len(points), len(quantities.names)), np.nan)
    found[whole] = quantities.of(solved[whole])
    predicted = values.reshape(-1, values.shape[2])[chosen.rows]
    return Solves(
        points[back], chosen.weights, found[back], predicted, np.ones(found.shape[1]), len(points), dict(failures),
        memory.remembered,
    )  # fmt: skip
