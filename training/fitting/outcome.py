"""What a training leaves: the model, its errors, and how it came about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.surrogate.formatting import listed, percent, seconds
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.fidelities import fidelity_rows
from gnvpro.surrogate.model.folder import HISTORY
from gnvpro.surrogate.model.output_errors import missing_rows, output_error_rows
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.modes import Modes
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.trust.trust import trust_rows
from gnvpro.training.fitting.fit import Record
from gnvpro.training.solvers.protocol import Status

# Fewer samples than this estimate an error to a factor of two at best.
_FEW = 40
# The method of models without a network that is trained.
CLOSED_FORM = "closed form"


class _TrainedModel(Result):
    """A model and the history of its training."""

    history: list[Record]

    @property
    def model(self) -> Surrogate | Classifier:
        """What was trained."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """What was trained."""
        return f"Training of a {self.model.kind}"

    def save(self, path: str | Path, *, overwrite: bool = False, extra: dict[str, Any] | None = None) -> None:
        """Write the model folder, with the history of the run and `extra` documents beside the model."""
        history = [asdict(record) for record in self.history]
        self.model.save(path, overwrite=overwrite, extra={HISTORY: history, **(extra or {})})

    def _cost_rows(self) -> list[tuple[str, str]]:
        about = self.model.training
        return [
            ("method", f"{self.model.method_in_words}, {about['status'].replace('_', ' ')}"),
            ("cost", f"{about['work_units']:.0f} work units, {seconds(about['cpu_seconds'])} of CPU"),
            ("chosen because", about["choice"]["reason"]),
        ]


@dataclass(frozen=True, repr=False, eq=False)
class Training(_TrainedModel):
    """The trained surrogate and how it came about.

    Attributes
    ----------
    left_out : (n, n_out)
        Predictions of the training samples, then those of validation, by models like it that did not see them; NaN where
        there was none. None where nothing was left out, such as where networks alone were raced on validation samples.
        Of a field coefficients (n, r) of its modes.
    modes
        Of the field that was trained on; None where it was none.
    """

    surrogate: Surrogate
    history: list[Record]
    left_out: Array | None = None
    modes: Modes | None = None

    @property
    def model(self) -> Surrogate:
        """The surrogate."""
        return self.surrogate

    @property
    def left_out_observables(self) -> Array | None:
        """`left_out` in observables, of a field (n, n_out) too."""
        return self.left_out if self.modes is None or self.left_out is None else self.modes.fields(self.left_out)

    def with_fidelities(self, fidelities: dict[str, Any], coarse: Sequence[Surrogate]) -> Training:
        """The same with a record of its levels, and with the cost of the coarse models that it was made of."""
        record = dict(self.surrogate.training)
        for name in ("work_units", "cpu_seconds", "wall_seconds"):
            record[name] += sum(model.training[name] for model in coarse)
        if any(model.training["status"] == Status.interrupted.value for model in coarse):
            record["status"] = Status.interrupted.value
        return replace(self, surrogate=replace(self.surrogate, training={**record, "fidelities": fidelities}))

    @property
    def errors(self) -> dict[str, float]:
        """Mean per-sample relative L2 error on train, validation and test."""
        return self.surrogate.errors

    @property
    def errors_anomalous(self) -> dict[str, float]:
        """The same relative to the observables less the background; empty where there is none."""
        return self.surrogate.errors_anomalous

    def rows(self) -> list[tuple[str, str]]:
        """Errors, method, cost, why this network, error bands."""
        anomalous = listed(self.errors_anomalous, percent)
        return [
            *([("error, anomalous", f"{anomalous} (of observables less background)")] if anomalous else []),
            ("error", listed(self.errors, percent)),
            *_few_row(self.surrogate.training["samples"]),
            *missing_rows(self.surrogate.training),
            *output_error_rows(self.surrogate.training),
            *fidelity_rows(self.surrogate.training),
            *self._cost_rows(),
            *_polynomial_row(self.surrogate.training["choice"]),
            *trust_rows(self.surrogate.trust, self.surrogate.observables),
        ]

    def numbers(self) -> dict[str, Any]:
        """`error`, `method`, `status`, work and seconds, what was chosen and why; with a background `error_anomalous`."""
        anomalous = {"error_anomalous": self.errors_anomalous} if self.errors_anomalous else {}
        return {**anomalous, "error": self.errors, **self.surrogate.training}


@dataclass(frozen=True, repr=False)
class ClassTraining(_TrainedModel):
    """The trained classifier and how it came about."""

    classifier: Classifier
    history: list[Record]

    @property
    def model(self) -> Classifier:
        """The classifier."""
        return self.classifier

    def rows(self) -> list[tuple[str, str]]:
        """Accuracy, method, cost, which iterate was chosen."""
        return [("accuracy", listed(self.classifier.accuracy, percent)), *self._cost_rows()]

    def numbers(self) -> dict[str, Any]:
        """`accuracy`, `method`, `status`, work and seconds, settings."""
        return {"accuracy": self.classifier.accuracy, **self.classifier.training}


def mean_relative_error(surrogate: Surrogate, samples: Samples, *, anomalous: bool = False) -> float:
    """Mean over samples of ||prediction - observables|| / ||observables||, or of the same over ||anomalous||.

    Where the model's errors are measured otherwise, see `gnvpro.surrogate.error_measure.ErrorMeasure`, so are these.
    """
    measure = ErrorMeasure.of(surrogate.training)
    return relative_error(surrogate.evaluate(samples.parameters), samples, measure, anomalous=anomalous)


def relative_error(
    predictions: Array, samples: Samples, measure: ErrorMeasure | None = None, *, anomalous: bool = False
) -> float:
    """The same of predictions (n, n_out) of the observables of these samples."""
    size = samples.anomalous if anomalous else samples.observables
    return float((measure or ErrorMeasure()).errors(predictions - samples.observables, size).mean())


def _few_row(samples: dict[str, int]) -> list[tuple[str, str]]:
    """What an error is worth that few samples estimate; nothing where test samples state one, or many do."""
    judged = samples["validation"] or samples["train"]
    if samples["test"] or judged >= _FEW:
        return []
    return [("error estimate", f"from {judged} samples only: the true error may be half of it or twice, or more")]


def _polynomial_row(choice: dict[str, Any]) -> list[tuple[str, str]]:
    """How much of the model is a polynomial, wherever one was tried."""
    alone = choice.get("polynomial_alone")
    if alone is None or ("contenders" in choice and not choice.get("polynomial")):
        return []
    networks = [entry["validation_error"] for entry in choice["candidates"] if not entry["polynomial"]]
    without = min(networks, default=math.inf)
    mostly = alone["validation_error"] < without
    judged = "this smooth problem is mostly polynomial: alone" if mostly else "polynomial alone:"
    reached = f"{judged} {alone['validation_error']:.2g} on validation ({alone['n_terms']} terms)"
    return [("polynomial", reached if math.isinf(without) else f"{reached}, best network without it {without:.2g}")]
