"""A surrogate beside the PDE it replaces: what was computed, and the numbers that are stated of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.apps.comparison.costs import Costs
from gnvpro.apps.comparison.jacobian import JacobianCheck
from gnvpro.apps.comparison.spent import Spent
from gnvpro.apps.comparison.sweeps import Sweep
from gnvpro.apps.field_files import write_fields
from gnvpro.pde_data.problems.accuracy import error_in_words
from gnvpro.pde_data.problems.scene import View
from gnvpro.pde_data.problems.solving import reasons
from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.surrogate.formatting import percent, seconds
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.spaces import Array, Space
from gnvpro.surrogate.trust.bands import Bands, Coverage
from gnvpro.surrogate.trust.trust import LEVEL


@dataclass(frozen=True, eq=False)
class Interpolation:
    """Tensor interpolation of the PDE: Chebyshev nodes per parameter, and what it predicts (n, n_out)."""

    nodes: tuple[int, ...]
    predicted: Array


@dataclass(frozen=True, repr=False, eq=False)
class Comparison(Result):
    """A surrogate and its PDE at parameters that neither training nor choosing has seen.

    Attributes
    ----------
    parameters : (n, n_in)
        Where the PDE could be solved.
    expected, predicted : (n, n_out)
        Observables by the PDE and by the surrogate.
    estimated_error
        Of the PDE's own observables, against more accurate ones (`gnvpro.pde_data.problems.accuracy`), at the first few
        of the parameters; None where the problem names no reference.
    n_generated, training_seconds
        What the surrogate cost to make: PDE solves, and CPU seconds of training.
    background : (n_out,)
        Observables without what the parameters describe; None where the problem names none.
    sweeps
        Every parameter varied alone, for problems with few.
    interpolation
        Tensor Chebyshev interpolation of the same PDE at the same parameters; None where it was not asked for.
    no_estimate
        Why the PDE's own error could not be measured.
    views
        Of the domain, as the problem shows it at the sample with the median error; none of a problem without `scene`.
    failures, no_interpolation
        Reasons why fresh samples could not be solved, with their numbers; and why there is no interpolation.
    spent
        What the samples cost that the surrogate was made of, where more than solves of this PDE went into it.
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
    interpolation: Interpolation | None = None
    no_estimate: str | None = None
    bands: Bands | None = None
    jacobian: JacobianCheck | None = None
    measure: ErrorMeasure = field(default_factory=ErrorMeasure)
    spent: Spent | None = None
    failures: dict[str, int] = field(default_factory=dict)
    no_interpolation: str | None = None
    views: tuple[View, ...] = ()

    @property
    def anomalous(self) -> Array:
        """Observables by the PDE less the background (n, n_out); the observables where there is none."""
        return self.expected if self.background is None else self.expected - self.background

    @cached_property
    def errors(self) -> Array:
        """Relative L2 error of every sample (n,), as the model's errors are measured."""
        return self.measure.errors(self.predicted - self.expected, self.expected)

    @cached_property
    def anomalous_errors(self) -> Array:
        """Error of every sample relative to the norm of its anomalous part (n,); `errors` where there is no background.

        Figures show these: a background that outweighs the anomaly would hide its error.
        """
        return self.measure.errors(self.predicted - self.expected, self.anomalous)

    @property
    def median(self) -> int:
        """The sample with the median error."""
        return int(self.anomalous_errors.argsort()[len(self.errors) // 2])

    @cached_property
    def errors_by_observable(self) -> Array:
        """Root-mean-square error of every observable, relative to its root-mean-square value (n_out,).

        NaN for an observable that is zero throughout.
        """
        misfit = np.sqrt(((self.predicted - self.expected) ** 2).mean(axis=0))
        size = self.measure.output_sizes(self.expected)
        return np.divide(misfit, size, out=np.full(len(size), np.nan), where=size > 0)

    @property
    def pde_error(self) -> float | None:
        """Mean relative L2 error of the PDE's observables."""
        return None if self.estimated_error is None else self.estimated_error["relative_l2"]

    @property
    def anomalous_pde_error(self) -> float | None:
        """The same relative to the anomalous part, as `anomalous_errors`."""
        error = self.estimated_error
        return error["anomalous"]["mean"] if error is not None and "anomalous" in error else self.pde_error

    @property
    def payoff(self) -> float:
        """Evaluations after which generating and training have paid off against the fast solver."""
        solves = None if self.spent is None else self.spent.solves
        return self.costs.payoff(self.n_generated if solves is None else solves, self.training_seconds)

    @property
    def title(self) -> str:
        """What was compared."""
        return f"Surrogate against {self.problem}"

    def rows(self) -> list[tuple[str, str]]:
        """Errors, bands, derivatives and costs."""
        error, costs, numbers = statistics(self.anomalous_errors), self.costs, self.numbers()
        anomaly = "" if self.background is None else " of the anomaly"
        batched = f"{seconds(costs.production_batched)} in batches of {costs.production_batch}"
        why = f" ({reasons(self.failures)})" if self.failures else ""
        rows = [
            ("fresh samples", f"{len(self.errors)}" + (f", {self.n_failed} failed{why}" if self.n_failed else "")),
            (f"error{anomaly}, mean", percent(error["mean"])),
            ("median, 95 %, max", ", ".join(percent(error[name]) for name in ("median", "p95", "max"))),
        ]
        if self.background is not None:
            rows.append(("of all of it, mean", percent(float(self.errors.mean()))))
        if self.interpolation is not None:
            rows.append(("Chebyshev interpolation", _interpolation_in_words(numbers["interpolation"])))
        if self.no_interpolation is not None:
            rows.append(("Chebyshev interpolation", f"none: {self.no_interpolation}"))
        rows += _coverage_rows(numbers["coverage"])
        if self.jacobian is not None:
            rows.append(("error of derivatives", self.jacobian.in_words()))
        rows.append(("the PDE's own error", error_in_words(self.estimated_error, self.no_estimate)))
        if costs.plain is not None:
            rows.append(("reference solver", f"{seconds(costs.plain)} of CPU a sample"))
        if costs.no_plain is not None:
            rows.append(("reference solver", f"none, {costs.no_plain}"))
        if self.spent is not None:
            rows.append(("made of", self.spent.in_words()))
            rows += [
                (f"  {one.name}", f"{one.solves:.3g} solves, error {percent(one.error)} in training")
                for one in self.spent.alternatives
            ]
        return [
            *rows,
            ("fast solver", f"{seconds(costs.production_single)}, {batched}"),
            (
                "surrogate",
                f"{seconds(costs.surrogate_single)}, {seconds(costs.surrogate_batched)} in batches of "
                f"{costs.surrogate_batch:,}",
            ),
            (
                "faster than the fast solver",
                f"{costs.speedup_single:,.0f} ×, {costs.speedup_batched:,.0f} × in batches",
            ),
            ("has paid off after", f"{self.payoff:,.0f} evaluations"),
        ]

    def numbers(self) -> dict[str, Any]:
        """JSON-able; costs in CPU seconds per sample."""
        errors = self.errors_by_observable
        if self.observables.mesh is None:
            by_observable = dict(zip(self.observables.names, errors.tolist(), strict=True))
        else:  # 100,000 numbers are for a picture
            by_observable = statistics(errors[np.isfinite(errors)])
        optional: dict[str, Any] = {}
        if self.background is not None:
            optional["surrogate_error_anomalous"] = statistics(self.anomalous_errors)
        if self.interpolation is not None:
            optional["interpolation"] = self._interpolation_numbers(self.interpolation)
        if self.sweeps:
            optional["sweeps"] = {sweep.name: sweep.error for sweep in self.sweeps}
        return {
            "problem": self.problem,
            "n_samples": len(self.errors),
            "n_failed": self.n_failed,
            **({"failures": self.failures} if self.failures else {}),
            **({} if self.no_interpolation is None else {"no_interpolation": self.no_interpolation}),
            "surrogate_error": {**statistics(self.errors), "by_observable": by_observable},
            **optional,
            "coverage": None if self.bands is None else _coverage_numbers(self.bands, self.predicted - self.expected),
            "jacobian": None if self.jacobian is None else self.jacobian.numbers(),
            "pde_error": self.pde_error,
            "estimated_error": self.estimated_error,
            **({} if self.no_estimate is None else {"estimated_error_failure": self.no_estimate}),
            "cpu_seconds_per_sample": {
                k: v for k, v in asdict(self.costs).items() if k not in ("no_plain", "surrogate_batch")
            },
            **({} if self.costs.no_plain is None else {"no_plain_route": self.costs.no_plain}),
            **{name: getattr(self.costs, name) for name in ("speedup_single", "speedup_batched", "speedup_plain")},
            "payoff_evaluations": self.payoff,
            "n_generated": self.n_generated,
            **({} if self.spent is None else {"spent": self.spent.numbers()}),
            "train_cpu_seconds": self.training_seconds,
        }

    def save_samples(self, path: Path) -> None:
        """The compared samples as arrays."""
        np.savez(path, parameters=self.parameters, observables=self.expected, predicted=self.predicted)

    def save_fields(self, path: str | Path) -> None:
        """Write the samples of median and of largest error as fields: `pde`, `surrogate` and `error`.

        A new file `.vtu` or `.xdmf`, see `gnvpro.apps.field_files.write_fields`, which raises what this does.
        """
        order = np.argsort(self.anomalous_errors)
        chosen = order[[len(order) // 2, -1]] if len(order) > 1 else order
        expected, predicted = self.expected[chosen], self.predicted[chosen]
        arrays = {"pde": expected, "surrogate": predicted, "error": predicted - expected}
        write_fields(path_of(path), self.observables, arrays, ("median", "worst")[: len(chosen)])

    def _interpolation_numbers(self, interpolation: Interpolation) -> dict[str, Any]:
        misfit = interpolation.predicted - self.expected
        numbers = {
            "nodes": list(interpolation.nodes),
            "n_solves": int(np.prod(interpolation.nodes)),
            "error": statistics(self.measure.errors(misfit, self.expected)),
        }
        if self.background is not None:
            numbers["error_anomalous"] = statistics(self.measure.errors(misfit, self.anomalous))
        return numbers


def _interpolation_in_words(numbers: dict[str, Any]) -> str:
    error, nodes = numbers.get("error_anomalous", numbers["error"]), " × ".join(map(str, numbers["nodes"]))
    return f"mean {percent(error['mean'])}, max {percent(error['max'])}, from {numbers['n_solves']} solves ({nodes})"


def statistics(errors: Array) -> dict[str, float]:
    """Mean, median, 95 % quantile and maximum of errors (n,)."""
    return {
        "mean": float(errors.mean()),
        "median": float(np.median(errors)),
        "p95": float(np.quantile(errors, 0.95)),
        "max": float(errors.max()),
    }


def _coverage_numbers(bands: Bands, residuals: Array) -> list[dict[str, Any]]:
    """`Coverage` of fresh residuals (n, n_out) at every level that has finite bands; JSON-able."""
    finite = [level for level in bands.levels if bands.shortage(level) is None]
    return [asdict(bands.coverage(residuals, level)) for level in finite]


def _coverage_rows(by_level: list[dict[str, Any]] | None) -> list[tuple[str, str]]:
    """`_coverage_numbers` of the level nearest to `LEVEL`, in words."""
    if not by_level:
        return []
    shown = Coverage(**min(by_level, key=lambda coverage: abs(coverage["level"] - LEVEL)))
    shares = f"{shown.marginal:.1%} of observables, {shown.simultaneous:.1%} of whole samples"
    return [(f"in their {shown.level:.0%} bands", shares)]
