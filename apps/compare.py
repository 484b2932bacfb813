"""`gnvpro compare`: a surrogate against fresh solves of the PDE it replaces."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from apps.console import NumericalFailure, Outcome, jsonable, percent, progress, seconds, table
from apps.costs import SURROGATE_BATCH, Costs, measure_costs, one_thread
from apps.options import CompareOptions
from apps.settings import to_dict
from pde_data.problem import Problem, load_problem, registered_problem
from pde_data.provenance import definition_hash
from pde_data.sampling import draw, place
from surrogate.forward_model import Array, Space
from surrogate.saved import Surrogate

# Data sets hold samples 0, 1, 2, … of their seed; fresh ones begin here, so they are in no data set of any seed.
FRESH = 2**62
ERROR_ESTIMATE_SAMPLES = 8


@dataclass(frozen=True)
class Comparison:
    """A surrogate and its PDE at parameters that neither training nor choosing has seen.

    Attributes
    ----------
    parameters : (n, n_in)
        Where the PDE could be solved.
    expected, predicted : (n, n_out)
        Observables by the PDE and by the surrogate.
    pde_error
        Mean relative L2 error of the PDE's observables against a refined discretisation; None where the problem
        makes no estimate.
    n_generated, training_seconds
        What the surrogate cost to make: PDE solves, and CPU seconds of training.
    """

    problem: str
    observables: Space
    parameters: Array
    expected: Array
    predicted: Array
    n_failed: int
    pde_error: float | None
    costs: Costs
    n_generated: int
    training_seconds: float

    @cached_property
    def errors(self) -> Array:
        """Relative L2 error of every sample (n,)."""
        misfit = np.linalg.norm(self.predicted - self.expected, axis=1)
        return misfit / np.linalg.norm(self.expected, axis=1)

    @cached_property
    def errors_by_observable(self) -> Array:
        """Root-mean-square error of every observable, relative to its root-mean-square value (n_out,)."""
        misfit = np.sqrt(((self.predicted - self.expected) ** 2).mean(axis=0))
        return misfit / np.sqrt((self.expected**2).mean(axis=0))

    @property
    def payoff(self) -> float:
        """Evaluations after which generating and training have paid off against the production route."""
        return self.costs.payoff(self.n_generated, self.training_seconds)

    def numbers(self) -> dict[str, Any]:
        """JSON-able; costs in CPU seconds per sample."""
        errors = self.errors
        return {
            "problem": self.problem,
            "n_samples": len(errors),
            "n_failed": self.n_failed,
            "surrogate_error": {
                "mean": float(errors.mean()),
                "median": float(np.median(errors)),
                "p95": float(np.quantile(errors, 0.95)),
                "max": float(errors.max()),
                "by_observable": dict(zip(self.observables.names, self.errors_by_observable.tolist(), strict=True)),
            },
            "pde_error": self.pde_error,
            "cpu_seconds_per_sample": asdict(self.costs),
            "speedup_single": self.costs.speedup_single,
            "speedup_batched": self.costs.speedup_batched,
            "speedup_plain": self.costs.speedup_plain,
            "payoff_evaluations": self.payoff,
            "n_generated": self.n_generated,
            "train_cpu_seconds": self.training_seconds,
        }


def run(given: CompareOptions) -> Outcome:
    """Load, find the PDE, compare, write."""
    if given.out is not None and given.out.exists():
        raise FileExistsError(f"{given.out} is there already; choose a new folder")
    surrogate = Surrogate.load(given.model)
    problem = problem_of(surrogate, given.problem)
    with progress(f"solving {given.samples} fresh samples of {problem.name}"):
        comparison = compare(surrogate, problem, given.samples, given.seed, given.repeats)
    numbers = {**comparison.numbers(), "settings": to_dict(given)}
    if given.out is not None:
        from apps.report import Run, write_report

        given.out.mkdir(parents=True)
        (given.out / "comparison.json").write_text(json.dumps(jsonable(numbers), indent=1))
        save_samples(comparison, given.out / "samples.npz")
        write_report(given.out / "report.html", comparison, [Run.of(given.model)], [_command(given)])
    return Outcome(numbers, table(f"Surrogate {given.model} against {problem.name}", rows(comparison)))


def _command(given: CompareOptions) -> str:
    problem = f" --problem {given.problem}" if given.problem else ""
    return f"gnvpro compare {given.model} --samples {given.samples} --seed {given.seed}{problem} --out {given.out}"


def problem_of(surrogate: Surrogate, given: str | None = None) -> Problem:
    """The PDE that a surrogate was trained on, with the same definition.

    Parameters
    ----------
    given
        `package.module:factory`, for a problem that is not a registered one. The name in a saved model is only
        looked up among the registered.

    Raises
    ------
    ValueError
        The data named no PDE, or the problem's definition is another one today.
    """
    origin = surrogate.provenance
    if "definition_hash" not in origin:
        source = origin.get("file", "its data")
        raise ValueError(
            f"this surrogate was trained on {source}, which names no PDE; there is nothing to compare with"
        )
    name = origin["problem"]
    try:
        problem = load_problem(given) if given else registered_problem(name)
    except ValueError as error:
        hint = "" if given else f"; it was trained on {name!r}: give it with --problem package.module:factory"
        raise ValueError(f"{error}{hint}") from None
    found = definition_hash(problem.definition)
    if found != origin["definition_hash"]:
        raise ValueError(
            f"this surrogate was trained on problem {name!r} with definition {origin['definition_hash'][:12]}, and "
            f"{problem.name!r} has {found[:12]}; compare with the problem as it was, or train on new data"
        )
    for mine, theirs in ((problem.parameters, surrogate.parameters), (problem.observables, surrogate.observables)):
        if difference := mine.difference(theirs):
            raise ValueError(f"problem and surrogate disagree on {mine.axes[0].name}: {difference}")
    return problem


def fresh_points(surrogate: Surrogate, problem: Problem, n: int, seed: int) -> Array:
    """Parameters (n, n_in) drawn by the law of the problem that are in no data set.

    Raises
    ------
    ValueError
        One of them is among the surrogate's data all the same: the problem's law draws repeated points.
    """
    points = draw(problem.parameters, seed, FRESH + np.arange(n, dtype=np.int64))
    origin = surrogate.provenance
    used = place(problem.parameters, origin.get("design", "random"), origin["seed"], np.arange(origin["n_samples"]))
    if {row.tobytes() for row in used} & {row.tobytes() for row in points}:
        raise ValueError("a fresh sample is also in the training data: the law of the parameters repeats points")
    return points


def compare(surrogate: Surrogate, problem: Problem, n: int, seed: int, repeats: int = 5) -> Comparison:
    """Solve the PDE at n fresh parameters, evaluate the surrogate there, and time both.

    Raises
    ------
    NumericalFailure
        No sample could be solved.
    """
    points = fresh_points(surrogate, problem, n, seed)
    with one_thread():
        expected = problem.solve(points)[0]
        solved = np.isfinite(expected).all(axis=1)
        if not solved.any():
            raise NumericalFailure(f"the PDE could be solved at none of the {n} fresh samples")
        points, expected = points[solved], expected[solved]
        estimate = getattr(problem, "estimate_error", None)
        pde_error = None if estimate is None else float(estimate(points[:ERROR_ESTIMATE_SAMPLES]))
    return Comparison(
        problem=problem.name,
        observables=surrogate.observables,
        parameters=points,
        expected=expected,
        predicted=surrogate.evaluate(points),
        n_failed=int((~solved).sum()),
        pde_error=pde_error,
        costs=measure_costs(problem, surrogate, lambda m: fresh_points(surrogate, problem, m, seed), repeats),
        n_generated=int(surrogate.provenance["n_samples"]),
        training_seconds=float(surrogate.training["cpu_seconds"]),
    )


def save_samples(comparison: Comparison, path: Path) -> None:
    """The compared samples as arrays."""
    np.savez(path, parameters=comparison.parameters, observables=comparison.expected, predicted=comparison.predicted)


def rows(comparison: Comparison) -> list[tuple[str, str]]:
    """What a person wants to know first, in words."""
    error, costs = comparison.numbers()["surrogate_error"], comparison.costs
    pde = "no estimate" if comparison.pde_error is None else percent(comparison.pde_error)
    plain = [("plain route", f"{seconds(costs.plain)} of CPU a sample")] if costs.plain is not None else []
    return [
        ("fresh samples", f"{len(comparison.errors)}" + f", {comparison.n_failed} failed" * bool(comparison.n_failed)),
        ("error, mean", percent(error["mean"])),
        ("median, 95 %, max", ", ".join(percent(error[name]) for name in ("median", "p95", "max"))),
        ("the PDE's own error", pde),
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
