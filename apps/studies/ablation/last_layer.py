"""The last layer eliminated or kept: how far apart trainings from different initial weights end, and how well conditioned
the Gauss-Newton matrices are, dense, at the initial weights.

Kaufman's matrix of the reduced problem is the Schur complement, in theta, of the full one, so its condition number cannot
be larger: eliminating variables of a positive definite matrix shrinks the interval of its eigenvalues.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from rich.table import Table
from torch import Tensor

from gnvpro.apps.reports.figure_style import BLUE, GREEN, ORANGE, PERCENT, RED, styled
from gnvpro.apps.studies.ablation.variants import DEFAULT, task_of
from gnvpro.apps.studies.result import spread_of_errors, study_table
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.surrogate.objectives.reduced import ReducedObjective
from gnvpro.surrogate.samples import Split

MATRICES = {
    "full": "W kept",
    "kaufman": "W eliminated (Kaufman)",
    "golub_pereyra": "W eliminated (Golub–Pereyra)",
}


class Spectra(NamedTuple):
    """Eigenvalues in ascending order, at (theta, W(theta))."""

    full: Tensor
    kaufman: Tensor
    golub_pereyra: Tensor

    def conditions(self) -> dict[str, float]:
        """Largest over smallest eigenvalue of each matrix."""
        return {name: float(values[-1] / values[0]) for name, values in self._asdict().items()}


def spectra(reduced: ReducedObjective, theta: Tensor) -> Spectra:
    """All three, from products with every unit vector: for some hundred weights, and a ridge on theta."""
    point, full, whole = reduced.at(theta), FullObjective(reduced), slice(0, len(theta))
    kept = full.at(full.start(theta, outer="solved"))
    units = torch.eye(len(theta), dtype=theta.dtype)
    by_theta = [torch.stack([point.gauss_newton(e, kind) for e in units]) for kind in ("kaufman", "golub-pereyra")]
    by_all = torch.stack([kept.gauss_newton(e) for e in torch.eye(full.n_theta, dtype=theta.dtype)])
    # No eigenvalue is below the regularisation; what rounding puts there is put back.
    alpha = reduced.regulariser.mean_diagonal(whole)
    floors = min(reduced.elimination.alpha_w, alpha), alpha
    return Spectra(_eigenvalues(by_all, floors[0]), *(_eigenvalues(matrix, floors[1]) for matrix in by_theta))


def _eigenvalues(matrix: Tensor, floor: float) -> Tensor:
    return torch.linalg.eigvalsh(0.5 * (matrix + matrix.t())).clamp(min=floor)


def measure_conditions(splits: Mapping[int, Split], widths: tuple[int, ...]) -> dict[str, Any]:
    """Condition numbers by matrix, one a seed, of a small network; and the spectra of the first seed."""
    conditions: dict[str, list[float]] = {name: [] for name in MATRICES}
    drawn: dict[str, list[float]] = {}
    for seed, split in splits.items():
        task = task_of(split, replace(DEFAULT, widths=widths), seed)
        by_matrix = spectra(task.in_memory, task.theta)
        drawn = drawn or {name: values.tolist() for name, values in by_matrix._asdict().items()}
        for name, value in by_matrix.conditions().items():
            conditions[name].append(value)
    return {"widths": list(widths), "condition_numbers": conditions, "spectra": drawn}


def initialisation_table(initial: dict[str, dict[str, list[float]]]) -> Table:
    """Errors by what becomes of W, over initial weights."""
    n = len(next(iter(initial.values()))["validation_error"])
    columns = ("validation", "range", "highest / lowest")
    table = study_table(f"{n} initial weights, one split", "last layer", *columns)
    for label, measured in initial.items():
        errors = measured["validation_error"]
        table.add_row(label, *spread_of_errors(errors), f"{max(errors) / min(errors):.2f}")
    return table


def condition_table(condition: dict[str, Any]) -> Table:
    """Condition numbers over seeds."""
    title = f"Condition number of the Gauss–Newton matrix at the initial weights, widths {condition['widths']}"
    table = study_table(title, "matrix", "median", "lowest", "highest")
    for name, values in condition["condition_numbers"].items():
        table.add_row(MATRICES[name], *(f"{of(values):.2e}" for of in (median, min, max)))
    return table


@styled
def last_layer_figure(initial: dict[str, dict[str, list[float]]], condition: dict[str, Any]) -> Figure:
    """Ends of trainings from different initial weights, and eigenvalues with W kept and eliminated."""
    figure = Figure(figsize=(9.2, 3.4), layout="constrained")
    ends, eigenvalues = figure.subplots(1, 2)
    for (label, measured), colour in zip(initial.items(), (BLUE, ORANGE, RED), strict=False):
        errors = np.sort(measured["validation_error"])
        ends.plot(errors, np.arange(1, len(errors) + 1) / len(errors), "o-", color=colour, markersize=3, label=label)
    ends.set_xscale("log")
    ends.xaxis.set_major_formatter(PERCENT)
    ends.xaxis.set_minor_formatter(NullFormatter())
    ends.set_xlabel("validation error reached")
    ends.set_ylabel("share of initial weights")
    ends.legend(fontsize=8, title="W", title_fontsize=8)
    for (name, values), colour in zip(condition["spectra"].items(), (RED, BLUE, GREEN), strict=True):
        descending = np.array(values)[::-1]
        label = f"{MATRICES[name]}: condition {descending[0] / descending[-1]:.1e}"
        numbers = np.arange(1, len(descending) + 1)
        eigenvalues.semilogy(numbers, descending, color=colour, linewidth=1.5, label=label)
    eigenvalues.set_xlabel("number")
    eigenvalues.set_ylabel("eigenvalue of the Gauss–Newton matrix")
    eigenvalues.legend(fontsize=8)
    return figure
