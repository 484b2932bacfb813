"""The report of a comparison: one HTML file with everything in it, so that it can be mailed and archived."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from gnvpro.apps.comparison.comparison import Comparison
from gnvpro.apps.comparison.costs import SURROGATE_BATCH
from gnvpro.apps.reports import figures, images
from gnvpro.apps.reports.figure_style import as_data_uri
from gnvpro.apps.reports.page import render
from gnvpro.apps.reports.runs import Run
from gnvpro.pde_data.storage.provenance import git_revision, library_versions
from gnvpro.surrogate.formatting import percent


def write_report(path: Path, comparison: Comparison, runs: Sequence[Run], commands: Sequence[str]) -> None:
    """Write the report of a comparison.

    Parameters
    ----------
    runs
        The training of the compared surrogate first, then others to show beside it.
    commands
        What to type to get the same again.
    """
    page = render(
        __package__,
        comparison=comparison,
        numbers=comparison.numbers(),
        runs=runs,
        costs=_costs(comparison),
        pictures=_pictures(comparison, runs),
        commands=commands,
        origin=_origin(runs[0], comparison),
    )
    path.write_text(page, encoding="utf-8")


def _costs(comparison: Comparison) -> list[dict[str, Any]]:
    """Rows of the table of costs: route, CPU seconds a sample one at a time and in batches, and the speed-up."""
    costs = comparison.costs
    rows: list[dict[str, Any]] = [
        dict(
            route="PDE, production route",
            single=costs.production_single,
            batched=costs.production_batched,
            batch=costs.production_batch,
        ),
        dict(route="surrogate", single=costs.surrogate_single, batched=costs.surrogate_batched, batch=SURROGATE_BATCH),
    ]
    if costs.plain is not None:
        rows.insert(0, dict(route="PDE, plain route", single=costs.plain, batched=None, batch=None))
    return rows


def _pictures(comparison: Comparison, runs: Sequence[Run]) -> list[dict[str, str]]:
    drawn: list[tuple[str, Figure, str]] = [
        (
            "Convergence",
            figures.convergence(runs),
            "Lowest error so far on the validation data (solid) and the training data (dashed). Thin lines are networks "
            "that were tried in the race and dropped; work and time are those of one network.",
        ),
        *(_image_pictures(comparison) if images.are_images(comparison.observables) else _curve_pictures(comparison)),
        *_sweep_pictures(comparison),
        (
            "Errors of the fresh samples",
            figures.error_histogram(comparison),
            "Relative L2 error of the observables, sample by sample.",
        ),
        *_coverage_picture(comparison),
        ("Parity", figures.parity(comparison), "Every dot is one observable of one fresh sample."),
    ]
    return [dict(title=title, source=as_data_uri(figure), caption=caption) for title, figure, caption in drawn]


def _curve_pictures(comparison: Comparison) -> list[tuple[str, Figure, str]]:
    return [
        (
            "Sensor curves",
            figures.curves(comparison),
            "Fresh samples: lines are PDE solves, dots the surrogate. A sample that is typical, one that is worse than "
            "95 % of them, and the worst.",
        ),
        (
            "Error by observable",
            figures.error_by_observable(comparison),
            "Root-mean-square error over the fresh samples, relative to the root-mean-square value of the observable.",
        ),
    ]


def _image_pictures(comparison: Comparison) -> list[tuple[str, Figure, str]]:
    order = comparison.anomalous_errors.argsort()
    picked = (("a typical sample", order[len(order) // 2]), ("the worst sample", order[-1]))
    return [
        *(
            (
                f"Images of {name}",
                images.images(comparison, int(i)),
                f"Fresh sample at {_point(comparison, int(i))}. Absolute values on a logarithmic scale of four decades; "
                f"dark lines are changes of sign. Error of the sample: {percent(float(comparison.anomalous_errors[i]))}.",
            )
            for name, i in picked
        ),
        (
            "Error by observable",
            images.error_images(comparison),
            "Root-mean-square error over the fresh samples, relative to the root-mean-square value of all"
            + (" observables." if comparison.background is None else " anomalous observables."),
        ),
    ]


def _sweep_pictures(comparison: Comparison) -> list[tuple[str, Figure, str]]:
    if not comparison.sweeps:
        return []
    caption = (
        "One parameter varies, the others are in the middle of their ranges; lines are the surrogate, dots PDE solves. "
        "Above each: the largest difference between the two, relative to the largest anomaly on the line."
    )
    return [("Sweeps", images.sweep_curves(comparison), caption)]


def _coverage_picture(comparison: Comparison) -> list[tuple[str, Figure, str]]:
    found = comparison.numbers()["coverage"]
    if comparison.bands is None or not found:
        return []
    caption = (
        "Share of fresh samples in the error bands over the level of the bands; on the line, they keep what they promise. "
        "Bars: where 95 % of such shares lie if the promise is exact, for one calibration of this size."
    )
    return [("Coverage of the error bands", figures.coverage(found, comparison.bands), caption)]


def _point(comparison: Comparison, sample: int) -> str:
    space = comparison.parameter_space
    units = space.units * space.size if len(space.units) == 1 else space.units
    values = zip(space.names, comparison.parameters[sample], units, strict=True)
    return ", ".join(
        f"{name} {value:.4g}" + f" {unit}" * (unit not in ("1", "unknown")) for name, value, unit in values
    )


def _origin(run: Run, comparison: Comparison) -> list[tuple[str, str]]:
    git = git_revision()
    revision = "not a git checkout"
    if git:
        revision = git["revision"] + (" with local changes" if git["modified"] else "")
    samples = run.training["samples"]
    versions = {**library_versions(), "torch": run.training["torch"]}
    data = run.provenance
    return [
        ("problem", f"{comparison.problem}, definition {data['definition_hash'][:12]}"),
        ("data", f"{data['n_samples']} samples of seed {data['seed']}"),
        ("training seed", f"{run.training['settings']['seed']} (split and initial weights)"),
        ("split", ", ".join(f"{n} {name}" for name, n in samples.items() if n)),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("git revision", revision),
        ("machine", f"{platform.system()} {platform.machine()}, one thread"),
        ("written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
