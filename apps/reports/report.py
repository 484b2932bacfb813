"""The report of a comparison: one HTML file with everything in it, so that it can be mailed and archived."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from gnvpro.apps.comparison.comparison import Comparison
from gnvpro.apps.reports import fields, figures, images
from gnvpro.apps.reports.answer import answer, headlines
from gnvpro.apps.reports.domain import domain
from gnvpro.apps.reports.page import origin_rows, pictures, render
from gnvpro.apps.reports.runs import Run
from gnvpro.surrogate.formatting import percent, with_unit

# Of a point, that a caption tells.
_MOST_PARAMETERS = 6
# Title, figure and caption.
Pictures = list[tuple[str, Figure, str]]


def write_report(path: Path, comparison: Comparison, runs: Sequence[Run], commands: Sequence[str]) -> None:
    """Write the report of a comparison.

    Parameters
    ----------
    runs
        The training of the compared surrogate first, then others to show beside it.
    commands
        What to type to get the same again.
    """
    numbers = comparison.numbers()
    shown = [
        *_domain_pictures(comparison),
        *_observable_pictures(comparison),
        *_sweep_pictures(comparison),
        (
            "Errors of the fresh samples",
            figures.error_histogram(comparison),
            "Relative L2 error of the observables, sample by sample.",
        ),
        *_cost_pictures(comparison),
        *_coverage_pictures(comparison, numbers["coverage"]),
        ("Parity", figures.parity(comparison), "Every dot is one observable of one fresh sample."),
        *_convergence_pictures(runs),
    ]
    page = render(
        __package__,
        heading=f"Surrogate of {comparison.problem}",
        answer=answer(comparison, numbers),
        headlines=headlines(comparison, numbers),
        comparison=comparison,
        numbers=numbers,
        runs=runs,
        costs=_costs(comparison),
        pictures=pictures(shown),
        command="\n".join(commands),
        origin=_origin(runs[0], comparison),
    )
    path.write_text(page, encoding="utf-8")


def _costs(comparison: Comparison) -> list[dict[str, Any]]:
    """Rows of the table of costs: CPU seconds a sample one at a time and in batches."""
    costs = comparison.costs
    rows = [
        ("PDE, reference solver", costs.plain, None, None),
        ("PDE, fast solver", costs.production_single, costs.production_batched, costs.production_batch),
        ("surrogate", costs.surrogate_single, costs.surrogate_batched, costs.surrogate_batch),
    ]
    return [dict(zip(("route", "single", "batched", "batch"), row, strict=True)) for row in rows if row[1] is not None]


def _domain_pictures(comparison: Comparison) -> Pictures:
    if not comparison.views:
        return []
    i = comparison.median
    caption = f"At {_point(comparison, i)}, the fresh sample with the median error; observables by the PDE."
    return [("The problem", domain(comparison.views, comparison.observables, comparison.expected[i]), caption)]


def _convergence_pictures(runs: Sequence[Run]) -> Pictures:
    if not any(run.chosen for run in runs):
        return []
    caption = (
        "Lowest error so far on the validation data (solid) and the training data (dashed). Thin lines are networks that "
        "were tried in the race and dropped; work and time are those of one network."
    )
    return [("Convergence", figures.convergence(runs), caption)]


def _observable_pictures(comparison: Comparison) -> Pictures:
    if comparison.observables.mesh is not None:
        return _field_pictures(comparison)
    return _image_pictures(comparison) if images.are_images(comparison.observables) else _curve_pictures(comparison)


def _field_pictures(comparison: Comparison) -> Pictures:
    order, shown = comparison.anomalous_errors.argsort(), []
    for name, i in (("the sample with the median error", order[len(order) // 2]), ("the worst sample", order[-1])):
        error = percent(float(comparison.anomalous_errors[i]))
        caption = f"Fresh sample at {_point(comparison, int(i))}. Error of the sample: {error}."
        shown.append((f"Field of {name}", fields.fields(comparison, int(i)), caption))
    caption = (
        "Root-mean-square error over the fresh samples, relative to the root-mean-square value of all observables."
    )
    return [*shown, ("Error by place", fields.error_map(comparison), caption)]


def _curve_pictures(comparison: Comparison) -> Pictures:
    return [
        (
            "Sensor curves",
            figures.curves(comparison),
            "Fresh samples: lines are PDE solves, dots the surrogate. The sample with the median error, one that is worse "
            "than 95 % of them, and the worst.",
        ),
        (
            "Error by observable",
            figures.error_by_observable(comparison),
            "Root-mean-square error over the fresh samples, relative to the root-mean-square value of the observable.",
        ),
    ]


def _image_pictures(comparison: Comparison) -> Pictures:
    order, shown = comparison.anomalous_errors.argsort(), []
    for name, i in (("the sample with the median error", order[len(order) // 2]), ("the worst sample", order[-1])):
        caption = (
            f"Fresh sample at {_point(comparison, int(i))}. Absolute values on a logarithmic scale of four decades; dark "
            f"lines are changes of sign. Error of the sample: {percent(float(comparison.anomalous_errors[i]))}."
        )
        shown.append((f"Images of {name}", images.images(comparison, int(i)), caption))
    caption = "Root-mean-square error over the fresh samples, relative to the root-mean-square value of all" + (
        " observables." if comparison.background is None else " anomalous observables."
    )
    return [*shown, ("Error by observable", images.error_images(comparison), caption)]


def _sweep_pictures(comparison: Comparison) -> Pictures:
    if not comparison.sweeps:
        return []
    caption = (
        "One parameter varies, the others are in the middle of their ranges; lines are the surrogate, dots PDE solves. "
        "Above each: the largest difference between the two, relative to the largest anomaly on the line."
    )
    return [("Sweeps", images.sweep_curves(comparison), caption)]


def _cost_pictures(comparison: Comparison) -> Pictures:
    spent = comparison.spent
    if spent is None or not spent.alternatives:
        return []
    caption = f"The surrogate is made of {spent.in_words()}. Dots are errors on samples that were left out in training."
    return [("Error against cost", figures.cost_of_samples(comparison, spent), caption)]


def _coverage_pictures(comparison: Comparison, coverage: list[dict[str, Any]] | None) -> Pictures:
    if comparison.bands is None or not coverage:
        return []
    caption = (
        "Share of fresh samples in the error bands over the level of the bands; bands whose points are on the line hold "
        "their level. Bars: where 95 % of such shares lie if they do, for one calibration of this size."
    )
    return [("Coverage of the error bands", figures.coverage(coverage, comparison.bands), caption)]


def _point(comparison: Comparison, sample: int) -> str:
    space = comparison.parameter_space
    units = space.units * space.size if len(space.units) == 1 else space.units
    values = zip(space.names, comparison.parameters[sample], units, strict=True)
    told = [with_unit(f"{name} {value:.4g}", unit) for name, value, unit in islice(values, _MOST_PARAMETERS)]
    return ", ".join(told) + ", …" * (space.size > len(told))


def _origin(run: Run, comparison: Comparison) -> list[tuple[str, str]]:
    data = run.provenance
    return [
        ("problem", f"{comparison.problem}, definition {data['definition_hash'][:12]}"),
        ("data", f"{data['n_samples']} samples of seed {data['seed']}"),
        ("training seed", f"{run.training['settings']['seed']} (split and initial weights)"),
        ("split", ", ".join(f"{n} {name}" for name, n in run.training["samples"].items() if n)),
        *origin_rows(torch=run.training["torch"]),
    ]
