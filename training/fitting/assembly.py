"""From finished fits to what a training leaves: the surrogate in true units, its errors and bands, and what it cost."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from gnvpro.surrogate.model.calibration import calibrated_by_split
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.outcome import Training, mean_relative_error
from gnvpro.training.fitting.preparation import Frame, Preparation
from gnvpro.training.settings import TrainSettings
from gnvpro.training.solvers.protocol import Status


class Assembly:
    """Makes models of the fits of one training."""

    def __init__(self, prepared: Preparation, settings: TrainSettings) -> None:
        self._prepared, self._split, self._settings = prepared, prepared.split, settings

    def surrogate(self, network: FeatureNetwork, theta: Tensor, weights: Tensor, frame: Frame) -> Surrogate:
        """The model of theta and W of the scaled problem, not yet judged."""
        train = self._split.train
        spaces = train.parameter_space, train.observable_space
        return Surrogate.assemble(network, theta, weights, frame.scaling, *spaces, train.provenance, frame.polynomials)

    def training(
        self,
        fits: list[Fit],
        best: Fit,
        frame: Frame,
        choice: dict[str, Any],
        surrogate: Surrogate | None = None,
    ) -> Training:
        """The model with its errors, bands and record, and the histories of the fits.

        Parameters
        ----------
        fits
            All that were paid for.
        choice
            What was chosen and why, for the record.
        surrogate
            Where the model is another than that of the best fit.
        """
        train = self._split.train
        surrogate = surrogate or self.surrogate(best.network, best.best.theta, best.best.weights, frame)
        errors = self._errors(surrogate, anomalous=False)
        anomalous = {} if train.background is None else self._errors(surrogate, anomalous=True)
        before_refit = None
        if frame.polynomials is not None:
            before_refit = surrogate
            surrogate = replace(surrogate, weights=self._prepared.refitted_weights(best, frame))
            # What validation samples say of weights that were fitted to them would be no validation.
            errors |= self._errors(surrogate, anomalous=False, but="validation")
            if anomalous:
                anomalous |= self._errors(surrogate, anomalous=True, but="validation")
            choice = {**choice, "refitted": "outer layer solved again on train and validation samples together"}
        record = self._record(fits, best, choice)
        surrogate = replace(surrogate, errors=errors, errors_anomalous=anomalous, training=record)
        surrogate = calibrated_by_split(surrogate, self._split, before_refit)
        kept = [fit for fit in fits if fit is best or fit.network.width]
        return Training(surrogate, [record for fit in kept for record in fit.history])

    def _record(self, fits: list[Fit], best: Fit, choice: dict[str, Any]) -> dict[str, Any]:
        """How the model was trained and what that cost, JSON-able."""
        train, aside = self._split.train, self._prepared.aside
        return {
            "method": best.solver.name,
            "status": _overall(fits, best).value,
            "work_units": sum(fit.objective.meter.total for fit in fits) + aside.work_units,
            "cpu_seconds": sum(fit.cpu_seconds for fit in fits) + aside.cpu_seconds,
            "wall_seconds": sum(fit.wall_seconds for fit in fits) + aside.wall_seconds,
            "choice": choice,
            "settings": asdict(self._settings),
            "samples": {
                name: len(getattr(self._split, name)) for name in ("train", "validation", "calibration", "test")
            },
            "bounds": {"lower": train.parameters.min(0).tolist(), "upper": train.parameters.max(0).tolist()},
            "device": str(self._prepared.device),
            "torch": torch.__version__,
        }

    def _errors(self, surrogate: Surrogate, *, anomalous: bool, but: str = "") -> dict[str, float]:
        return {
            name: mean_relative_error(surrogate, samples, anomalous=anomalous)
            for name in ("train", "validation", "test")
            if name != but and len(samples := getattr(self._split, name))
        }


def _overall(fits: list[Fit], best: Fit) -> Status:
    interrupted = any(fit.status is Status.interrupted for fit in fits)
    return Status.interrupted if interrupted else best.status
