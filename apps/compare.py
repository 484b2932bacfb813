"""`gnvpro compare`: a surrogate against fresh solves of the PDE it replaces."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from apps.console import NumericalFailure, Outcome, error_in_words, jsonable, percent, progress, seconds, table
from apps.costs import SURROGATE_BATCH, Costs, measure_costs, one_thread
from apps.options import CompareOptions
from apps.origin import problem_of
from apps.settings import to_dict
from apps.sweeps import Sweep, sweeps
from pde_data.accuracy import estimated_error
from pde_data.problem import Problem
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
    estimated_error
        Of the PDE's own observables, against more accurate ones (`pde_data.accuracy`), at the first few of the
        parameters; None where the problem names no reference.
    n_generated, training_seconds
        What the surrogate cost to make: PDE solves, and CPU seconds of training.
    background : (n_out,)
        Observables without what the parameters describe; None where the problem names none.
    sweeps
        Every parameter varied alone, for problems with few.
    """

    problem: str
    parameter_space: Space
    observables: Space
    parameters: Array
    expected: Array
    predicted: Array
    n_failed: int
    estimated_error: dict[str, Any] | None
    costs: Costs
    n_generated: int
    training_seconds: float
    background: Array | None = None
    sweeps: tuple[Sweep, ...] = ()

    @property
    def anomalous(self) -> Array:
        """Observables by the PDE less the background (n, n_out); the observables where there is none."""
        return self.expected if self.background is None else self.expected - self.background

    @cached_property
    def errors(self) -> Array:
        """Relative L2 error of every sample (n,)."""
        return self._misfit / np.linalg.norm(self.expected, axis=1)

    @cached_property
    def telling_errors(self) -> Array:
        """Error of every sample relative to the norm of its anomalous part (n,): what figures and headlines show.

        Those of `errors` where there is no background. A background that outweighs the anomaly would hide its error.
        """
        return self._misfit / np.linalg.norm(self.anomalous, axis=1)

    @property
    def _misfit(self) -> Array:
        return np.linalg.norm(self.predicted - self.expected, axis=1)

    @cached_property
    def errors_by_observable(self) -> Array:
        """Root-mean-square error of every observable, relative to its root-mean-square value (n_out,)."""
        misfit = np.sqrt(((self.predicted - self.expected) ** 2).mean(axis=0))
        return misfit / np.sqrt((self.expected**2).mean(axis=0))

    @property
    def pde_error(self) -> float | None:
        """Mean relative L2 error of the PDE's observables."""
        return None if self.estimated_error is None else self.estimated_error["relative_l2"]

    @property
    def telling_pde_error(self) -> float | None:
        """The same relative to the anomalous part, as `telling_errors`."""
        error = self.estimated_error
        return error["anomalous"]["mean"] if error is not None and "anomalous" in error else self.pde_error

    @property
    def payoff(self) -> float:
        """Evaluations after which generating and training have paid off against the production route."""
        return self.costs.payoff(self.n_generated, self.training_seconds)

    def numbers(self) -> dict[str, Any]:
        """JSON-able; costs in CPU seconds per sample."""
        by_observable = dict(zip(self.observables.names, self.errors_by_observable.tolist(), strict=True))
        anomalous = {} if self.background is None else {"surrogate_error_anomalous": _statistics(self.telling_errors)}
        return {
            "problem": self.problem,
            "n_samples": len(self.errors),
            "n_failed": self.n_failed,
            "surrogate_error": {**_statistics(self.errors), "by_observable": by_observable},
            **anomalous,
            **({"sweeps": {sweep.name: sweep.error for sweep in self.sweeps}} if self.sweeps else {}),
            "pde_error": self.pde_error,
            "estimated_error": self.estimated_error,
            "cpu_seconds_per_sample": asdict(self.costs),
            "speedup_single": self.costs.speedup_single,
            "speedup_batched": self.costs.speedup_batched,
            "speedup_plain": self.costs.speedup_plain,
            "payoff_evaluations": self.payoff,
            "n_generated": self.n_generated,
            "train_cpu_seconds": self.training_seconds,
        }


def _statistics(errors: Array) -> dict[str, float]:
    return {
        "mean": float(errors.mean()),
        "median": float(np.median(errors)),
        "p95": float(np.quantile(errors, 0.95)),
        "max": float(errors.max()),
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
        No sample could be solved, or the problem's reference solves none.
    """
    points = fresh_points(surrogate, problem, n, seed)
    with one_thread():
        expected = problem.solve(points)[0]
        solved = np.isfinite(expected).all(axis=1)
        if not solved.any():
            raise NumericalFailure(f"the PDE could be solved at none of the {n} fresh samples")
        points, expected = points[solved], expected[solved]
        few, background = slice(ERROR_ESTIMATE_SAMPLES), getattr(problem, "background", None)
        try:
            error = estimated_error(problem, points[few], expected[few])
        except ArithmeticError as failure:
            raise NumericalFailure(f"the PDE's own error could not be measured: {failure}") from failure
        swept = sweeps(surrogate, problem, background)
    return Comparison(
        problem=problem.name,
        parameter_space=surrogate.parameters,
        observables=surrogate.observables,
        parameters=points,
        expected=expected,
        predicted=surrogate.evaluate(points),
        n_failed=int((~solved).sum()),
        estimated_error=error,
        costs=measure_costs(problem, surrogate, lambda m: fresh_points(surrogate, problem, m, seed), repeats),
        n_generated=int(surrogate.provenance["n_samples"]),
        training_seconds=float(surrogate.training["cpu_seconds"]),
        background=background,
        sweeps=tuple(swept),
    )


def save_samples(comparison: Comparison, path: Path) -> None:
    """The compared samples as arrays."""
    np.savez(path, parameters=comparison.parameters, observables=comparison.expected, predicted=comparison.predicted)


def rows(comparison: Comparison) -> list[tuple[str, str]]:
    """What a person wants to know first, in words."""
    error, costs = _statistics(comparison.telling_errors), comparison.costs
    part = "" if comparison.background is None else " of the anomaly"
    total = [] if comparison.background is None else [("of all of it, mean", percent(float(comparison.errors.mean())))]
    plain = [("plain route", f"{seconds(costs.plain)} of CPU a sample")] if costs.plain is not None else []
    return [
        ("fresh samples", f"{len(comparison.errors)}" + f", {comparison.n_failed} failed" * bool(comparison.n_failed)),
        (f"error{part}, mean", percent(error["mean"])),
        ("median, 95 %, max", ", ".join(percent(error[name]) for name in ("median", "p95", "max"))),
        *total,
        ("the PDE's own error", error_in_words(comparison.estimated_error)),
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
