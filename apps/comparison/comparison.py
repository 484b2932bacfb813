"""A surrogate beside the PDE it replaces: what was computed, and the numbers that are stated of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gnvpro.apps.comparison.costs import Costs
from gnvpro.apps.comparison.jacobian import JacobianCheck
from gnvpro.apps.comparison.sweeps import Sweep
from gnvpro.apps.trust.words import coverage_numbers
from gnvpro.surrogate.spaces import Array, Space
from gnvpro.surrogate.trust.bands import Bands


@dataclass(frozen=True)
class Interpolation:
    """The rival that needs no training: Chebyshev nodes per parameter, and what it predicts (n, n_out)."""

    nodes: tuple[int, ...]
    predicted: Array


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
        anomalous = {} if self.background is None else {"surrogate_error_anomalous": statistics(self.telling_errors)}
        return {
            "problem": self.problem,
            "n_samples": len(self.errors),
            "n_failed": self.n_failed,
            "surrogate_error": {**statistics(self.errors), "by_observable": by_observable},
            **anomalous,
            **({} if self.interpolation is None else {"interpolation": self._interpolation()}),
            **({"sweeps": {sweep.name: sweep.error for sweep in self.sweeps}} if self.sweeps else {}),
            "coverage": None if self.bands is None else coverage_numbers(self.bands, self.predicted - self.expected),
            "jacobian": None if self.jacobian is None else self.jacobian.numbers(),
            "pde_error": self.pde_error,
            "estimated_error": self.estimated_error,
            **({} if self.no_estimate is None else {"estimated_error_failure": self.no_estimate}),
            "cpu_seconds_per_sample": asdict(self.costs),
            "speedup_single": self.costs.speedup_single,
            "speedup_batched": self.costs.speedup_batched,
            "speedup_plain": self.costs.speedup_plain,
            "payoff_evaluations": self.payoff,
            "n_generated": self.n_generated,
            "train_cpu_seconds": self.training_seconds,
        }

    def _interpolation(self) -> dict[str, Any]:
        rival = self.interpolation
        assert rival is not None
        misfit = np.linalg.norm(rival.predicted - self.expected, axis=1)
        found = {
            "nodes": list(rival.nodes),
            "n_solves": int(np.prod(rival.nodes)),
            "error": statistics(misfit / np.linalg.norm(self.expected, axis=1)),
        }
        if self.background is not None:
            found["error_anomalous"] = statistics(misfit / np.linalg.norm(self.anomalous, axis=1))
        return found


def statistics(errors: Array) -> dict[str, float]:
    """Mean, median, 95 % quantile and maximum of errors (n,)."""
    return {
        "mean": float(errors.mean()),
        "median": float(np.median(errors)),
        "p95": float(np.quantile(errors, 0.95)),
        "max": float(errors.max()),
    }
