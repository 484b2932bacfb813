"""The models of a build: what is trained on a holding, and how it does at samples that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps.build.costs import Costs
from gnvpro.apps.build.data import BuildData, together
from gnvpro.apps.build.holding import Holding
from gnvpro.pde_data.sampling import default_design
from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.stopwatch import Stopwatch
from gnvpro.surrogate.trust.bands import law_weights
from gnvpro.training.fidelities.contest import ALONE, CoarseLevel
from gnvpro.training.fitting.outcome import Training
from gnvpro.training.fitting.run import Progress
from gnvpro.training.settings import TrainSettings
from gnvpro.training.solvers.protocol import Status
from gnvpro.training.train import coarse_level, train


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model that may be the build's, and what it has not seen of the samples it is made of.

    Attributes
    ----------
    samples
        All fine ones.
    errors : (n,)
        Of models like it at samples that were left out; NaN where a sample never was.
    weights : (n,)
        Of the samples under the law of the parameters; zero of those that were placed for a model.
    """

    training: Training
    samples: Samples
    errors: Array
    weights: Array

    @property
    def surrogate(self) -> Surrogate:
        """The model itself."""
        return self.training.surrogate

    @property
    def estimate(self) -> float:
        """Mean error over the law, by the samples that were left out."""
        known = self._known
        return float(np.average(self.errors[known], weights=self.weights[known]))

    @property
    def by_the_law(self) -> tuple[Array, Array]:
        """The errors (m,) of samples left out that say something of the law, and their weights."""
        return self.errors[self._known], self.weights[self._known]

    @property
    def gain_of_derivatives(self) -> float | None:
        """Error of the best contender made of values alone, over that of the best; None where none had derivatives."""
        contenders = self.surrogate.training["choice"].get("contenders", [])
        without = [one["error"] for one in contenders if one.get("directions") == 0]
        if not self.samples.n_directions or not without:
            return None
        return min(without) / min(one["error"] for one in contenders)

    @property
    def stands_alone(self) -> bool:
        """Whether coarse samples were tried and did not help."""
        return self.surrogate.training["choice"]["kind"] == ALONE or "fidelities" not in self.surrogate.training

    @property
    def _known(self) -> NDArray[np.bool_]:
        return np.isfinite(self.errors) & (self.weights > 0)


class Models:
    """Trains what a build asks for; coarse models are kept while fine samples are added."""

    def __init__(self, data: BuildData, settings: TrainSettings, costs: Costs, report: Report) -> None:
        self._data, self._settings, self._costs, self._report = data, settings, costs, report
        self._levels: dict[int, CoarseLevel] = {}
        self.stopwatch = Stopwatch()

    def of(self, holding: Holding, n_coarse: int | None = None) -> Candidate:
        """Trained on a holding, or on fewer of its coarse samples."""
        samples, weights = self._fine(holding)
        level = self._level(n_coarse or holding.coarse, holding.coarse_directions) if holding.uses_coarse else None
        with self.stopwatch:
            training = train(samples, self._settings, self._on_progress, coarse=level)
        _require_whole(training.surrogate)
        left_out = training.left_out_observables
        assert left_out is not None
        errors = errors_of(left_out, samples, training.surrogate)
        return Candidate(training, samples, errors, weights)

    def coarse_error(self, n: int, n_directions: int) -> float:
        """Mean error of the model of so many coarse samples at coarse samples left out."""
        level = self._level(n, n_directions)
        errors = errors_of(level.left_out, level.samples, level.surrogate)
        return float(errors[np.isfinite(errors)].mean())

    def _level(self, n: int, n_directions: int) -> CoarseLevel:
        if n not in self._levels:
            samples = self._data.coarse(n, n_directions)
            if self._costs.coarse is not None:
                samples = _costing(samples, self._costs.coarse, self._costs.coarse_derivative)
            with self.stopwatch:
                level = coarse_level(samples, self._settings, self._on_progress)
            _require_whole(level.surrogate)
            self._levels[n] = level
        return self._levels[n]

    def _fine(self, holding: Holding) -> tuple[Samples, Array]:
        """All fine samples of a holding, and their weights under the law."""
        space, data = self._data.problem.parameters, self._data
        parts: list[tuple[Samples | None, float | None]] = []
        if holding.samples:
            parts.append((data.samples(holding.samples, holding.directions), None))
        if holding.fresh:
            parts.append((data.fresh(holding.fresh)[0], 1.0))
        if holding.placed:
            parts.append((data.placed(list(holding.placed), holding.directions), 0.0))
        solved = [(samples, weight) for samples, weight in parts if samples is not None]
        if not solved:
            data.fail()
        weights = list[Array]()
        for samples, weight in solved:
            weighting = law_weights(space, default_design(space), samples.parameters) if weight is None else None
            equal = np.full(len(samples), 1.0 if weight is None else weight)
            weights.append(equal if weighting is None else weighting[0])
        samples = _costing(together([samples for samples, _ in solved]), 1.0, self._costs.derivative)
        return samples, np.concatenate(weights)

    def _on_progress(self, now: Progress) -> None:
        self._report(now.work_units, now.budget, f"training: {now.stage}")


def errors_of(predictions: Array, samples: Samples, surrogate: Surrogate) -> Array:
    """Errors (n,) of predictions (n, n_out), as the model states them; of the anomalous part where there is a background."""
    measure = ErrorMeasure.of(surrogate.training)
    return measure.errors(predictions - samples.observables, samples.anomalous)


def _require_whole(surrogate: Surrogate) -> None:
    """A training that Ctrl-C ended early has a model, but not the one that decides what comes next."""
    if surrogate.training["status"] == Status.interrupted.value:
        raise KeyboardInterrupt


def _costing(samples: Samples, seconds: float, derivative_seconds: float | None) -> Samples:
    """Samples that say what they cost as the build counts it, in solves: data sets of a few count the set-up too."""
    cost = {"seconds": seconds}
    if derivative_seconds is not None:
        cost["derivative_seconds"] = derivative_seconds
    return replace(samples, provenance={**samples.provenance, "cost": cost})
