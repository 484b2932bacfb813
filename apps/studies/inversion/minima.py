"""The most probable point by the surrogate and then the PDE, beside scipy's least squares on the PDE alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table
from scipy.optimize import OptimizeResult, least_squares

from gnvpro.apps.inversion.maximum import find_minima
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.progress import Report
from gnvpro.apps.studies.inversion.synthetic import Synthetic
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array

# Tolerances of scipy's search, relative.
_TOLERANCE = 1e-14
# An objective, half the squared residuals in units of the noise, that is higher by this is another minimum's.
_HIGHER = 0.01


@dataclass(frozen=True)
class Problemwise:
    """One set of observations.

    Attributes
    ----------
    distance
        Largest over the parameters, of the two points, in posterior standard deviations.
    surrogate_distance
        The same of the point by the surrogate alone.
    lower
        By how much the objective of our point is below that of scipy's.
    solves, derivatives
        PDE solves of ours, and those that gave derivatives too.
    reference_solves, reference_derivatives
        Of scipy's search from the start that got lowest.
    all_reference_solves, all_reference_derivatives
        Of its searches from all starts.
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
    cases: list[Synthetic], surrogate: Surrogate, problem: Problem, starts: int, searches: int, seed: int,
    report: Report,
) -> list[Problemwise]:  # fmt: skip
    """Both for every set of observations, from so many starts on the surrogate and by so many searches of scipy's."""
    found = []
    for i, case in enumerate(cases):
        report(i, len(cases), f"most probable points: problem {i + 1} of {len(cases)}")
        cheap = find_minima(case.posterior(Solves(surrogate)), starts, seed)[0]
        accurate = case.posterior(Solves(problem))
        ours = find_minima(accurate, 0, seed, at=cheap.parameters[None])[0]
        reference = case.posterior(Solves(problem))
        theirs, alone = _searched(reference, searches, seed)
        spread = ours.standard_deviations
        found.append(Problemwise(
            distance=float((np.abs(ours.parameters - theirs.x) / spread).max()),
            surrogate_distance=float((np.abs(cheap.parameters - theirs.x) / spread).max()),
            lower=float(theirs.cost - ours.value),
            solves=accurate.solves.evaluated, derivatives=accurate.solves.differentiated,
            reference_solves=alone[0], reference_derivatives=alone[1],
            all_reference_solves=reference.solves.evaluated, all_reference_derivatives=reference.solves.differentiated,
        ))  # fmt: skip
    return found


def _searched(posterior: Posterior, searches: int, seed: int) -> tuple[OptimizeResult, tuple[int, int]]:
    """The lowest of some searches from points of the prior, and its own solves and derivatives."""
    prior, solves = posterior.prior, posterior.solves
    if prior.normal.any() or prior.simplex:
        raise UsageError("scipy's search is compared for uniform priors between bounds")

    def residuals(y: Array) -> Array:
        return posterior.residuals(solves.evaluate(y[None]))[0]

    def derivative(y: Array) -> Array:
        return posterior.sensitivity(solves.linearize(y[None])[1][0])

    found: list[tuple[OptimizeResult, tuple[int, int]]] = []
    for start in prior.draw(np.random.default_rng(seed), searches):
        before = solves.evaluated, solves.differentiated
        one = least_squares(
            residuals, start, derivative,  # pyright: ignore[reportArgumentType]
            bounds=(prior.lower, prior.upper), x_scale=prior.upper - prior.lower,
            ftol=_TOLERANCE, xtol=_TOLERANCE, gtol=_TOLERANCE, max_nfev=100,
        )  # fmt: skip
        found.append((one, (solves.evaluated - before[0], solves.differentiated - before[1])))
    return min(found, key=lambda pair: pair[0].cost)


def numbers(rows: list[Problemwise]) -> dict[str, Any]:
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
        **{
            f"{name}_mean": float(values.mean())
            for name, values in column.items()
            if "solves" in name or "deriv" in name
        },
    }


def table(found: dict[str, Any]) -> Table:
    """Distances and solves."""
    title = f"most probable point, {len(found['problems'])} problems"
    if found["reference_higher"]:
        title += f"; in {found['reference_higher']} all of scipy's searches ended in a higher minimum"
    shown = Table("", "PDE solves", "with derivatives", "largest distance in sd", title=title, box=None)
    for name, key, distance in (
        ("surrogate, then the PDE", "", "distance_max"),
        ("surrogate alone", None, "surrogate_distance_max"),
        ("scipy's least_squares on the PDE, best start", "reference_", None),
        ("the same, all starts", "all_reference_", None),
    ):
        costs = ("0", "0") if key is None else (f"{found[f'{key}{of}_mean']:.1f}" for of in ("solves", "derivatives"))
        shown.add_row(name, *costs, "reference" if distance is None else f"{found[distance]:.1e}")
    return shown
