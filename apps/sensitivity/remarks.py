"""What is said beside the indices: what they are of, how they were computed, what went otherwise."""

from __future__ import annotations

from typing import Any

from gnvpro.apps.sensitivity.analysed import Analysed
from gnvpro.apps.sensitivity.estimates import ModelError
from gnvpro.apps.sensitivity.shapley import orders_in_words
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.laws.joint import NormalisedUniform
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.names import listed


def remarks_on(found: Analysed, subject: Surrogate | Problem, by_shapley: bool, failed: float) -> dict[str, str]:
    """What went otherwise than one might think, by subject; `failed`: the share of points that could not be computed."""
    remarks: dict[str, str] = {}
    fixed = [name for name, free in zip(found.prior.space.names, found.prior.free, strict=True) if not free]
    if fixed:
        remarks["fixed"] = f"{listed(fixed)}: no share"
    if isinstance(subject, Surrogate) and found.mean_square_error is None:
        remarks["error of the surrogate"] = (
            "unknown, as it has no error bands, or infinite ones; gnvpro.calibrate makes them"
        )
    if found.prior.changed and found.mean_square_error is not None:
        remarks["other laws"] = (
            f"of {listed(found.prior.changed)}: the surrogate's error is taken to be as large as by the law of its samples"
        )
    if found.modes is not None:
        remarks["field"] = "analysed by the coefficients of its modes: distances of fields are distances of these"
    if by_shapley and any(isinstance(law, NormalisedUniform) for law in found.dependent):
        remarks["shares of a sum"] = (
            "effects are of the independent uniform parts, of which parameters are the shares: one is changed, all others "
            "then shrink or grow alike"
        )
    elif found.dependent:
        kinds = listed(dict.fromkeys(law.kind for law in found.dependent))
        remarks["dependence"] = f"{kinds}: first-order and total indices would not add up, Shapley effects do"
    if failed:
        remarks["not computed"] = left_out(failed, "points")
    return remarks


def left_out(share: float, what: str) -> str:
    """What the indices are then of."""
    return f"{percent(share)} of the {what}: indices are of what can be computed, and intervals do not hold the rest"


def about(
    found: Analysed, by_shapley: bool, evaluations: int, failed: float, solves: int, seed: int, error: ModelError | None
) -> dict[str, Any]:
    """Numbers of points and of evaluations, the law and the norm, JSON-able."""
    scaled = "each over its scale" if (found.groups.scale != found.groups.scale[0]).any() else "in their unit"
    if solves:
        intervals = f"of the PDE: {solves} fresh solves correct the surrogate"
    elif error is None:
        intervals = "of sampling alone"
    else:
        intervals = (
            f"hold sampling and the surrogate's error, {100 * error.relative[0]:.2g} % of the standard deviation"
        )
    orders = f", {orders_in_words(len(found.names))}" if by_shapley else ""
    return {
        "law": found.prior.to_dict(), "seed": seed, "solves": solves, "evaluations": evaluations, "failed_share": failed,
        "scale": found.groups.scale.tolist(),
        "norm": f"all {found.space.size} observables, {scaled}, by their variance",
        "intervals": intervals, "computed": f"{evaluations:,} evaluations{orders}",
    }  # fmt: skip
