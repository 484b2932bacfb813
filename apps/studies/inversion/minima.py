"""The most probable point by the surrogate and then the PDE, beside scipy's least squares on the PDE alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table
from scipy.optimize import OptimizeResult, least_squares

from gnvpro.apps.inversion.maximum_a_posteriori import find_minima
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.studies.inversion.cases import Case
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array

# Tolerances of scipy's search, relative.
_TOLERANCE = 1e-14
# An objective, half the squared residuals in units of the noise, that is higher by this is another minimum's.
_HIGHER = 0.01


@dataclass(frozen=True)
class PointComparison:
    """Our most probable point of one set of observations beside scipy's.

    Attributes
    ----------
    distance, surrogate_distance
        From scipy's point to ours, and to that by the surrogate alone: largest over the parameters, in posterior standard
        deviations.
    lower
        By how much the objective of our point is below that of scipy's.
    solves, derivatives
        PDE solves, and those that gave derivatives too: of ours; of scipy's best start (`reference_`); of all its starts.
    """

    distance: float
    surrogate_distance: float
    lower: float
    solves: int
    derivatives: int
    reference_solves: int
    reference_derivatives: int
    all_reference_solves: int
    all_reference_derivatives: int


def compare_minima(
    cases: list[Case], surrogate: Surrogate, problem: Problem, starts: int, searches: int, seed: int, report: Report
) -> list[PointComparison]:
    """Both for every set of observations, from so many starts on the surrogate and by so many searches of scipy's."""
    rows = []
    for i, case in enumerate(cases):
        report(i, len(cases), f"most probable points: problem {i + 1} of {len(cases)}")
        cheap = find_minima(case.posterior(surrogate), starts, seed)[0]
        accurate, reference = case.posterior(problem), case.posterior(problem)
        ours = find_minima(accurate, 0, seed, at=cheap.parameters[None])[0]
        theirs, best_costs = _searched(reference, searches, seed)
        distance, surrogate_distance = (
            float(np.abs((point.parameters - theirs.x) / ours.standard_deviations).max()) for point in (ours, cheap)
        )
        costs = *_costs(accurate), *best_costs, *_costs(reference)
        rows.append(PointComparison(distance, surrogate_distance, float(theirs.cost - ours.value), *costs))
    return rows


def _costs(posterior: Posterior) -> tuple[int, int]:
    return posterior.solves.evaluated, posterior.solves.differentiated


def _searched(posterior: Posterior, searches: int, seed: int) -> tuple[OptimizeResult, tuple[int, int]]:
    """The lowest of some searches from points of the prior, and its own solves and derivatives."""
    prior, solves = posterior.prior, posterior.solves
    if not prior.bounded.all():
        raise UsageError("scipy's search is compared for uniform priors between bounds")

    def residuals(y: Array) -> Array:
        return posterior.residuals(solves.evaluate(y[None]))[0]

    def derivative(y: Array) -> Array:
        return posterior.sensitivity(solves.linearize(y[None])[1][0])

    results: list[tuple[OptimizeResult, tuple[int, int]]] = []
    for start in prior.draw(np.random.default_rng(seed), searches):
        before = _costs(posterior)
        result = least_squares(
            residuals, start, derivative,  # pyright: ignore[reportArgumentType]
            bounds=(prior.lower, prior.upper), x_scale=prior.upper - prior.lower,
            ftol=_TOLERANCE, xtol=_TOLERANCE, gtol=_TOLERANCE, max_nfev=100,
        )  # fmt: skip
        after = _costs(posterior)
        results.append((result, (after[0] - before[0], after[1] - before[1])))
    return min(results, key=lambda pair: pair[0].cost)


def numbers(rows: list[PointComparison]) -> dict[str, Any]:
    """JSON-able: every problem, and what the table says.

    Distances are those of problems where scipy's searches do not all end in a higher minimum than ours, of another place.
    """
    column = {name: np.array([getattr(row, name) for row in rows]) for name in asdict(rows[0])}
    same = column["lower"] < _HIGHER
    return {
        "problems": [asdict(row) for row in rows],
        "reference_higher": int((~same).sum()),
        "distance_max": float(column["distance"].max(where=same, initial=0.0)),
        "surrogate_distance_max": float(column["surrogate_distance"].max(where=same, initial=0.0)),
        "lower_min": float(column["lower"].min()),
        **{f"{name}_mean": float(column[name].mean()) for name in column if name.endswith(("solves", "derivatives"))},
    }  # fmt: skip


def table(summary: dict[str, Any]) -> Table:
    """Distances and solves."""
    title = f"most probable point, {len(summary['problems'])} problems"
    if summary["reference_higher"]:
        title += f"; in {summary['reference_higher']} all of scipy's searches ended in a higher minimum"
    table = Table("", "PDE solves", "with derivatives", "largest distance in sd", title=title, box=None)
    for name, key, distance in (
        ("surrogate, then the PDE", "", "distance_max"),
        ("surrogate alone", None, "surrogate_distance_max"),
        ("scipy's least_squares on the PDE, best start", "reference_", None),
        ("the same, all starts", "all_reference_", None),
    ):
        costs = ("0", "0") if key is None else (f"{summary[f'{key}{of}_mean']:.1f}" for of in ("solves", "derivatives"))
        table.add_row(name, *costs, "reference" if distance is None else f"{summary[distance]:.1e}")
    return table
