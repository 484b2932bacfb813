"""`gnvpro compare`: a surrogate against fresh PDE solves, and a report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from typer import Argument, Option

from gnvpro.apps.comparison.compare import compare, save_samples
from gnvpro.apps.comparison.comparison import Comparison, statistics
from gnvpro.apps.comparison.costs import SURROGATE_BATCH
from gnvpro.apps.console import Outcome, error_in_words, jsonable, percent, progress, seconds, table
from gnvpro.apps.settings import Comma, to_dict
from gnvpro.apps.trust.origin import problem_of
from gnvpro.apps.trust.words import coverage_rows
from gnvpro.surrogate.model.folder import kind_of
from gnvpro.surrogate.model.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Settings of `gnvpro compare`; cube and labels are for a classifier, the others but `out` for a surrogate."""

    model: Annotated[Path, Argument(help="Folder of a saved surrogate or classifier.")]
    cube: Annotated[
        str | None,
        Option("--cube", metavar="FILE", help="Of a classifier: cube to classify, .mat, .npz, .npy or ENVI .hdr."),
    ] = None
    labels: Annotated[
        str | None,
        Option("--labels", metavar="FILE", help="Of a classifier: label image of the cube, 0 where unlabelled."),
    ] = None
    samples: Annotated[int, Option("--samples", "-n", help="Fresh parameters to solve the PDE at."), Ge(1)] = 64
    seed: Annotated[int, Option("--seed", "-s", help="Seed of the fresh parameters."), Ge(0)] = 0
    out: Annotated[Path | None, Option("--out", "-o", help="New folder for the numbers and the compared samples.")] = (
        None
    )
    problem: Annotated[
        str | None, Option("--problem", help="package.module:factory of the PDE, where it is not a registered one.")
    ] = None
    interpolation: Annotated[
        tuple[int, ...] | None,
        Option("--interpolation", metavar="6,6,8", help="Chebyshev nodes per parameter: show that rival too."),
        Comma,
    ] = None
    repeats: Annotated[int, Option("--repeats", help="Timings taken; the median is reported."), Ge(1)] = 5


def run(given: CompareOptions) -> Outcome:
    """Load, find the PDE, compare, write."""
    if given.out is not None and given.out.exists():
        raise FileExistsError(f"{given.out} is there already; choose a new folder")
    if kind_of(given.model) == "classifier":
        from gnvpro.apps.segmentation.compare_classes import compare_with_labels

        return compare_with_labels(given)
    if given.cube is not None or given.labels is not None:
        raise ValueError(f"{given.model} is a surrogate; --cube and --labels are for a classifier, leave them out")
    surrogate = Surrogate.load(given.model)
    problem = problem_of(surrogate, given.problem)
    with progress(f"solving {given.samples} fresh samples of {problem.name}"):
        comparison = compare(
            surrogate, problem, given.samples, given.seed, given.repeats, interpolation=given.interpolation
        )
    numbers = {**comparison.numbers(), "settings": to_dict(given)}
    if given.out is not None:
        from gnvpro.apps.reports.report import Run, write_report

        given.out.mkdir(parents=True)
        (given.out / "comparison.json").write_text(json.dumps(jsonable(numbers), indent=1))
        save_samples(comparison, given.out / "samples.npz")
        write_report(given.out / "report.html", comparison, [Run.of(given.model)], [_command(given)])
    return Outcome(numbers, table(f"Surrogate {given.model} against {problem.name}", rows(comparison)))


def _command(given: CompareOptions) -> str:
    problem = f" --problem {given.problem}" if given.problem else ""
    rival = f" --interpolation {','.join(map(str, given.interpolation))}" if given.interpolation else ""
    return (
        f"gnvpro compare {given.model} --samples {given.samples} --seed {given.seed}{problem}{rival} --out {given.out}"
    )


def rows(comparison: Comparison) -> list[tuple[str, str]]:
    """What a person wants to know first, in words."""
    error, costs, numbers = statistics(comparison.telling_errors), comparison.costs, comparison.numbers()
    part = "" if comparison.background is None else " of the anomaly"
    total = [] if comparison.background is None else [("of all of it, mean", percent(float(comparison.errors.mean())))]
    plain = [("plain route", f"{seconds(costs.plain)} of CPU a sample")] if costs.plain is not None else []
    return [
        ("fresh samples", f"{len(comparison.errors)}" + f", {comparison.n_failed} failed" * bool(comparison.n_failed)),
        (f"error{part}, mean", percent(error["mean"])),
        ("median, 95 %, max", ", ".join(percent(error[name]) for name in ("median", "p95", "max"))),
        *total,
        *_rival(numbers),
        *coverage_rows(numbers["coverage"]),
        *_derivatives(numbers["jacobian"]),
        ("the PDE's own error", error_in_words(comparison.estimated_error, comparison.no_estimate)),
        *plain,
        (
            "production route",
            f"{seconds(costs.production_single)}, {seconds(costs.production_batched)} in batches of {costs.production_batch}",
        ),
        (
            "surrogate",
            f"{seconds(costs.surrogate_single)}, {seconds(costs.surrogate_batched)} in batches of {SURROGATE_BATCH:,}",
        ),
        ("faster than production", f"{costs.speedup_single:,.0f} ×, {costs.speedup_batched:,.0f} × in batches"),
        ("has paid off after", f"{comparison.payoff:,.0f} evaluations"),
    ]


def _derivatives(found: dict[str, Any] | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    forward, reverse = (
        f"{percent(found[name]['mean'])} (at most {percent(found[name]['max'])})" for name in ("jvp", "vjp")
    )
    return [
        ("error of derivatives", f"along directions {forward}, of gradients {reverse}, at {found['n_points']} points")
    ]


def _rival(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    if "interpolation" not in numbers:
        return []
    rival = numbers["interpolation"]
    error = rival.get("error_anomalous", rival["error"])
    nodes = " × ".join(map(str, rival["nodes"]))
    return [
        (
            "Chebyshev interpolation",
            f"mean {percent(error['mean'])}, max {percent(error['max'])}, from {rival['n_solves']} solves ({nodes})",
        )
    ]
