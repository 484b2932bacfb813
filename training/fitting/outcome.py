"""What a training leaves: the model, its errors, and how it came about."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.samples import Samples
from gnvpro.training.fitting.records import Record


@dataclass(frozen=True)
class Training:
    """The trained surrogate and how it came about."""

    surrogate: Surrogate
    history: list[Record]

    @property
    def errors(self) -> dict[str, float]:
        """Mean per-sample relative L2 error on train, validation and test."""
        return self.surrogate.errors

    @property
    def errors_anomalous(self) -> dict[str, float]:
        """The same relative to the observables less the background; empty where there is none."""
        return self.surrogate.errors_anomalous

    def summary(self) -> dict[str, Any]:
        """One JSON-able object: `error`, `method`, `status`, work and seconds, what was chosen and why.

        With a background also `error_anomalous`.
        """
        anomalous = {"error_anomalous": self.errors_anomalous} if self.errors_anomalous else {}
        return {**anomalous, "error": self.errors, **self.surrogate.training}

    def save(self, path: str | Path, *, overwrite: bool = False, extra: dict[str, Any] | None = None) -> None:
        """Write the model folder, with the history of the run and `extra` documents beside the model."""
        history = [asdict(record) for record in self.history]
        self.surrogate.save(path, overwrite=overwrite, extra={"history.json": history, **(extra or {})})


@dataclass(frozen=True)
class ClassTraining:
    """The trained classifier and how it came about."""

    classifier: Classifier
    history: list[Record]

    def summary(self) -> dict[str, Any]:
        """One JSON-able object: `accuracy`, `method`, `status`, work and seconds, settings."""
        return {"accuracy": self.classifier.accuracy, **self.classifier.training}

    def save(self, path: str | Path, *, overwrite: bool = False, extra: dict[str, Any] | None = None) -> None:
        """Write the model folder, with the history of the run and `extra` documents beside the model."""
        history = [asdict(record) for record in self.history]
        self.classifier.save(path, overwrite=overwrite, extra={"history.json": history, **(extra or {})})


def mean_relative_error(surrogate: Surrogate, samples: Samples, *, anomalous: bool = False) -> float:
    """Mean over samples of ||prediction - observables|| / ||observables||, or of the same over ||anomalous||."""
    misfit = surrogate.evaluate(samples.parameters) - samples.observables
    size = samples.anomalous if anomalous else samples.observables
    return float((np.linalg.norm(misfit, axis=1) / np.linalg.norm(size, axis=1)).mean())
