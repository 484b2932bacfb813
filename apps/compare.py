"""`gnvpro compare`: a surrogate against fresh solves of the PDE it replaces; a classifier against labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.apps.comparison import Comparison, Interpolation, statistics
from gnvpro.apps.console import NumericalFailure, Outcome, error_in_words, jsonable, percent, progress, seconds, table
from gnvpro.apps.costs import SURROGATE_BATCH, measure_costs, one_thread
from gnvpro.apps.interpolation import chebyshev_nodes, interpolate
from gnvpro.apps.jacobian import check_jacobian
from gnvpro.apps.options import CompareOptions
from gnvpro.apps.origin import own_parameters, problem_of
from gnvpro.apps.settings import to_dict
from gnvpro.apps.sweeps import sweeps
from gnvpro.apps.trust_text import coverage_rows
from gnvpro.pde_data.accuracy import ERROR_ESTIMATE_SAMPLES, estimated_error
from gnvpro.pde_data.problem import Problem, solve_block
from gnvpro.pde_data.sampling import draw
from gnvpro.surrogate.forward_model import Array
from gnvpro.surrogate.model_folder import kind_of
from gnvpro.surrogate.saved import Surrogate

# Data sets hold samples 0, 1, 2, … of their seed; fresh ones begin here, so they are in no data set of any seed.
FRESH = 2**62


def run(given: CompareOptions) -> Outcome:
    """Load, find the PDE, compare, write."""
    if given.out is not None and given.out.exists():
        raise FileExistsError(f"{given.out} is there already; choose a new folder")
    if kind_of(given.model) == "classifier":
        from gnvpro.apps.compare_classes import compare_with_labels

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
        from gnvpro.apps.report import Run, write_report

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


def fresh_points(surrogate: Surrogate, problem: Problem, n: int, seed: int) -> Array:
    """Parameters (n, n_in) drawn by the law of the problem that are in no data set.

    Raises
    ------
    ValueError
        One of them is among the surrogate's data all the same: the problem's law draws repeated points.
    """
    points = draw(problem.parameters, seed, FRESH + np.arange(n, dtype=np.int64))
    used = own_parameters(surrogate)
    if used is not None and {row.tobytes() for row in used} & {row.tobytes() for row in points}:
        raise ValueError("a fresh sample is also in the training data: the law of the parameters repeats points")
    return points


def compare(
    surrogate: Surrogate,
    problem: Problem,
    n: int,
    seed: int,
    repeats: int = 5,
    interpolation: tuple[int, ...] | None = None,
) -> Comparison:
    """Solve the PDE at n fresh parameters, evaluate the surrogate there, and time both.

    Parameters
    ----------
    interpolation
        Chebyshev nodes per parameter: interpolate through as many PDE solves and compare that too.

    Raises
    ------
    ValueError
        Nodes that do not fit the parameters, or a node that could not be solved.
    NumericalFailure
        No sample could be solved.
    """
    if interpolation:
        chebyshev_nodes(problem.parameters, interpolation)  # nodes that do not fit: before anything is solved
    points = fresh_points(surrogate, problem, n, seed)
    with one_thread():
        expected = solve_block(problem, points).observables
        solved = np.isfinite(expected).all(axis=1)
        if not solved.any():
            raise NumericalFailure(f"the PDE could be solved at none of the {n} fresh samples")
        points, expected = points[solved], expected[solved]
        few, background = slice(ERROR_ESTIMATE_SAMPLES), getattr(problem, "background", None)
        error, no_error = None, None
        try:
            error = estimated_error(problem, points[few], expected[few])
        except ArithmeticError as failure:  # the comparison is good without it
            no_error = str(failure)
        swept = sweeps(surrogate, problem, background)
        jacobian = check_jacobian(surrogate, problem, points, seed)
        rival = None
        if interpolation:
            rival = Interpolation(interpolation, interpolate(problem, interpolation).evaluate(points))
    return Comparison(
        problem=problem.name,
        parameter_space=surrogate.parameters,
        observables=surrogate.observables,
        parameters=points,
        expected=expected,
        predicted=surrogate.evaluate(points),
        n_failed=int((~solved).sum()),
        estimated_error=error,
        no_estimate=no_error,
        costs=measure_costs(problem, surrogate, lambda m: fresh_points(surrogate, problem, m, seed), repeats),
        n_generated=int(surrogate.provenance["n_samples"]),
        training_seconds=float(surrogate.training["cpu_seconds"]),
        background=background,
        sweeps=tuple(swept),
        interpolation=rival,
        bands=None if surrogate.trust is None else surrogate.trust.bands,
        jacobian=jacobian,
    )


def save_samples(comparison: Comparison, path: Path) -> None:
    """The compared samples as arrays."""
    np.savez(path, parameters=comparison.parameters, observables=comparison.expected, predicted=comparison.predicted)


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
