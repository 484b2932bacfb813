"""From labelled samples to a saved classifier: features, the reduced problem, a method, an optional finish.

The default is VarPro + L-BFGS in the Kronecker metric on a dense network, which is at its best after some 130 work units,
and then Adam on (theta, W). Exact W fits the training samples too well for classes; Adam's noise takes that back
(measured on Indian Pines in docs/segmentation.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gnvpro.surrogate.elimination.labels import class_weights, one_hot
from gnvpro.surrogate.labelled import LabelledSamples, LabelledSplit
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.spectra import SpectralFeatures
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.surrogate.objectives.protocol import Objective
from gnvpro.surrogate.objectives.reduced import ReducedObjective, reduced_cross_entropy
from gnvpro.surrogate.objectives.regularisation import LayerRidge, Regulariser, TimeDerivative
from gnvpro.surrogate.spaces import Array, Space
from gnvpro.training.class_settings import ClassSettings
from gnvpro.training.device import device_named, torch_threads
from gnvpro.training.fitting.class_validation import ClassValidation
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.outcome import Progress
from gnvpro.training.fitting.records import Record
from gnvpro.training.solvers.first_order import GradientDescent, MinibatchDescent, Rule
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.protocol import Solver, Status
from gnvpro.training.solvers.trust_region import TrustRegionKrylov

# Work units of the finish: epochs at two units each.
FINISH_BUDGET = 120.0
FINISH_RATE, FINISH_BATCH = 3e-3, 256
# The original study's network for Indian Pines.
PAPER_WIDTH, PAPER_STEPS, PAPER_TIME = 32, 3, 4.0


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


class ClassProblem:
    """The data of one training on its device: the reduced problem, and the validation set that watches it."""

    def __init__(self, data: LabelledSplit, settings: ClassSettings) -> None:
        self.data, self.settings = data, settings.resolved
        self.device, self._dtype = device_named(settings.device), getattr(torch, settings.dtype)
        n_bands = data.train.inputs.shape[1]
        chosen = SpectralFeatures.named(settings.features, n_bands)
        self.features = chosen.fitted(np.asarray(data.train.inputs, float))
        self.network = self._network()
        self.inputs, self._train_labels = self.tensors("train")
        self.validation = ClassValidation(self.network, *self.tensors("validation"))

    def reduced(self) -> ReducedObjective:
        """The reduced objective, with a meter of its own."""
        given, labels = self.settings, self._train_labels
        assert given.label_smoothing is not None
        n_classes = len(self.data.class_names)
        return reduced_cross_entropy(
            self.network,
            self.inputs,
            one_hot(labels, n_classes, given.label_smoothing),
            row_weights=class_weights(labels, n_classes, given.class_weight_power),
            alpha_w=given.alpha_w,
            alpha_theta=self._regulariser(),
            curvature=given.curvature,
        )

    def start(self) -> Tensor:
        """Initial weights of the seed."""
        return self.network.initial(self.settings.seed).to(device=self.device, dtype=self._dtype)

    def classifier(self, fit: Fit) -> Classifier:
        """What the best iterate of a fit is, with its accuracies."""
        train = self.data.train.inputs
        bands = Space.vector(
            [f"band_{j}" for j in range(train.shape[1])],
            axis="band",
            lower=tuple(np.min(train, 0).tolist()),
            upper=tuple(np.max(train, 0).tolist()),
        )
        n = len(self.data.class_names)
        classes = Space.vector(list(self.data.class_names), axis="class", lower=(0.0,) * n, upper=(1.0,) * n)
        theta, weights = fit.best.theta.detach().cpu(), fit.best.weights.detach().cpu().double().contiguous()
        made = Classifier(self.network, theta, weights, self.features, bands, classes)
        accuracy = {
            name: float((made.labels(samples.inputs) == samples.labels).mean())
            for name in ("train", "validation", "test")
            if len(samples := getattr(self.data, name))
        }
        return replace(made, accuracy=accuracy)

    def _network(self) -> FeatureNetwork:
        if self.settings.network == "paper":
            return ResidualNetwork(self.features.n_features, PAPER_WIDTH, PAPER_STEPS, PAPER_TIME)
        return DenseNetwork(self.features.n_features, self.settings.widths)

    def _regulariser(self) -> Regulariser:
        network, opening, rest = self.network, self.settings.alpha_opening, self.settings.alpha_rest
        assert opening is not None
        assert rest is not None
        if isinstance(network, ResidualNetwork):
            return TimeDerivative(opening, rest, network.n_opening, network.n_times)
        assert isinstance(network, DenseNetwork)
        return LayerRidge(opening, rest, network.slices[0].stop)

    def tensors(self, name: Literal["train", "validation", "test"]) -> tuple[Tensor, Tensor]:
        """Network inputs and labels of one set."""
        samples: LabelledSamples = getattr(self.data, name)
        return self.inputs_of(samples.inputs), torch.as_tensor(np.asarray(samples.labels), device=self.device)

    def inputs_of(self, raw: Array) -> Tensor:
        """Network inputs (n, n_features) of raw inputs (n, d)."""
        found = self.features(torch.as_tensor(np.asarray(raw, float)))
        return found.to(device=self.device, dtype=self._dtype)


def train_classes(
    data: LabelledSplit, settings: ClassSettings | None = None, on_progress: Callable[[Progress], None] | None = None
) -> ClassTraining:
    """Fit a classifier to `data.train`, chosen on `data.validation`; `data.test` is only reported.

    The same seed on the same machine gives the same weights. Ctrl-C ends the training with the best so far and status
    `interrupted`.

    Raises
    ------
    ValueError
        A device or setting that does not exist or fit, or data whose features cannot be made.
    """
    settings = (settings or ClassSettings()).resolved
    with torch_threads(settings.threads):
        problem = ClassProblem(data, settings)
        fits = _trained(problem, on_progress)
    best = min(fits, key=lambda fit: fit.best.validation_error)
    interrupted = any(fit.status is Status.interrupted for fit in fits)
    training = {
        "method": settings.method,
        "status": (Status.interrupted if interrupted else best.status).value,
        "work_units": sum(fit.objective.meter.total for fit in fits),
        "cpu_seconds": sum(fit.cpu_seconds for fit in fits),
        "wall_seconds": sum(fit.wall_seconds for fit in fits),
        "choice": {"stage": best.stage, "reason": "lowest share of validation samples misclassified"},
        "settings": asdict(settings),
        "samples": {name: len(getattr(data, name)) for name in ("train", "validation", "test")},
        "device": str(problem.device),
        "torch": torch.__version__,
    }
    classifier = replace(problem.classifier(best), training=training)
    return ClassTraining(classifier, [record for fit in fits for record in fit.history])


def _trained(problem: ClassProblem, on_progress: Callable[[Progress], None] | None) -> list[Fit]:
    settings = problem.settings
    assert settings.budget is not None
    finish = FINISH_BUDGET if settings.finish == "adam" else 0.0
    total = settings.budget + finish

    def reporter(before: float) -> Callable[[Fit], None]:
        def report(fit: Fit) -> None:
            if on_progress is not None:
                done = before + fit.objective.meter.total
                on_progress(Progress(fit.stage, done, total, fit.best.validation_error))

        return report

    objective, theta = _opening(problem)
    fit = Fit(objective, theta, _solver(settings), problem.validation, stage=settings.method)
    fit.advance(settings.budget - objective.meter.total, reporter(0.0))
    if not finish or fit.status is Status.interrupted:
        return [fit]
    full = FullObjective(problem.reduced(), watched=True)
    rule = Rule("adam", FINISH_RATE, finish)
    batch = MinibatchDescent(rule, min(FINISH_BATCH, len(problem.inputs)), seed=settings.seed)
    last = Fit(
        full, full.joined(fit.best.theta, fit.best.outer.compressed), batch, problem.validation, stage="adam finish"
    )
    last.advance(finish, reporter(fit.objective.meter.total))
    return [fit, last]


def _opening(problem: ClassProblem) -> tuple[Objective, Tensor]:
    """The objective that the method works on, W eliminated or kept, and its first variables."""
    reduced, theta, method = problem.reduced(), problem.start(), problem.settings.method
    if method.startswith("varpro"):
        return reduced, theta
    full = FullObjective(reduced, watched=method in ("adam", "sgd"))
    return full, full.start(theta, "random", problem.settings.seed)


def _solver(settings: ClassSettings) -> Solver:
    """The method's solver, by its usual setting."""
    assert settings.budget is not None
    seed, metric = settings.seed, "kf" in settings.method
    match settings.method.removeprefix("varpro-").removeprefix("kf-"):
        case "lbfgs":
            return LimitedMemoryBFGS(30, metric, seed)
        case "krylov" | "gauss-newton":
            return TrustRegionKrylov(40 if metric else 20, metric=metric, seed=seed)
        case "adam" if settings.method == "varpro-adam":
            return GradientDescent(Rule("adam", 2e-2, settings.budget))
        case "adam" | "sgd" as kind:
            return MinibatchDescent(Rule(kind, 1e-2, settings.budget), 0.04, seed=seed)
    raise AssertionError(settings.method)
