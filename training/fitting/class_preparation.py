"""From labelled samples to problems of training a classifier: features, targets and weights, as tensors on the device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.elimination.labels import class_weights, one_hot
from gnvpro.surrogate.labelled import LabelledSamples, LabelledSplit
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.spectra import SpectralFeatures
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.objectives.reduced import reduced_cross_entropy
from gnvpro.surrogate.objectives.regularisation import LayerRidge, TimeDerivative
from gnvpro.surrogate.spaces import Array, Space
from gnvpro.training.class_settings import ClassSettings
from gnvpro.training.device import device_named
from gnvpro.training.fitting.methods import TrainingTask
from gnvpro.training.fitting.validation import ClassValidation

# The original study's network for Indian Pines.
PAPER_WIDTH, PAPER_STEPS, PAPER_TIME = 32, 3, 4.0
# Of training features, about a millionth of their spread: far below the noise of sensors, far above rounding.
GRID = 2.0**-20


class ClassPreparation:
    """The data of one training of a classifier, with the features and the network of its settings.

    Every process has the whole split, and trains on its share. Raises a `UsageError` for a device that cannot be used, or
    data that the features do not suit.
    """

    def __init__(self, split: LabelledSplit, settings: ClassSettings, coupling: Coupling = ALONE) -> None:
        self.split, self.settings, self.coupling = split, settings.resolved, coupling
        self.device, self._dtype = device_named(settings.device), getattr(torch, settings.dtype)
        inputs = np.asarray(split.train.inputs, float)
        self.features = SpectralFeatures.named(settings.features, inputs.shape[1]).fitted(inputs)
        alphas = settings.resolved.alpha_opening or 0.0, settings.resolved.alpha_rest or 0.0
        if settings.network == "paper":
            self.network = ResidualNetwork(self.features.n_features, PAPER_WIDTH, PAPER_STEPS, PAPER_TIME)
            self._regulariser = TimeDerivative(*alphas, self.network.n_opening, self.network.n_times)
        else:
            self.network = DenseNetwork(self.features.n_features, settings.widths)
            self._regulariser = LayerRidge(*alphas, self.network.slices[0].stop)

    def task(self) -> TrainingTask:
        """The training from the initial weights of the seed."""
        settings, n_classes = self.settings, len(self.split.class_names)
        everything = torch.as_tensor(np.asarray(self.split.train.labels))
        weights = class_weights(everything, n_classes, settings.class_weight_power)
        inputs, labels = self.tensors("train")
        reduced = reduced_cross_entropy(
            self.network,
            inputs,
            one_hot(labels, n_classes, settings.label_smoothing or 0.0),
            row_weights=weights[self.coupling.share(len(weights))].to(self.device),
            alpha_w=settings.alpha_w,
            alpha_theta=self._regulariser,
            curvature=settings.curvature,
            coupling=self.coupling,
        )
        theta = self.network.initial(settings.seed).to(device=self.device, dtype=self._dtype)
        offset = self.offset.to(self.device)
        return TrainingTask(
            reduced, theta, lambda name: ClassValidation(self.network, *self.tensors(name), offset, self.coupling)
        )

    @property
    def offset(self) -> Tensor:
        """What the shares of the classes add to their logits, (K,): none is added to a class without training samples.

        p(class | y) is in proportion to the share of the class: logits trained on some shares are right for others once the
        logarithm of their ratio is added (Saerens, Latinne & Decaestecker 2002).
        """
        train, validation = (
            np.bincount(np.asarray(samples.labels), minlength=len(self.split.class_names))
            for samples in (self.split.train, self.split.validation)
        )
        everything = train + validation
        ratio = (everything / everything.sum()) / np.where(train > 0, train / train.sum(), np.inf)
        return (self.settings.share_correction or 0.0) * torch.as_tensor(np.log(np.where(ratio > 0, ratio, 1.0)))

    def classifier(self, theta: Tensor, weights: Tensor) -> Classifier:
        """The model of theta and W (K, width + 1), corrected for the shares of the classes, with its accuracies."""
        train = self.split.train.inputs
        bands = Space.vector(
            [f"band_{j}" for j in range(train.shape[1])],
            axis="band",
            lower=tuple(np.min(train, 0).tolist()),
            upper=tuple(np.max(train, 0).tolist()),
        )
        n = len(self.split.class_names)
        classes = Space.vector(self.split.class_names, axis="class", lower=(0.0,) * n, upper=(1.0,) * n)
        theta, weights = theta.detach().cpu(), weights.detach().cpu().double().clone()
        weights[:, -1] += self.offset
        classifier = Classifier(self.network, theta, weights, self.features, bands, classes)
        accuracy = {
            name: float((classifier.labels(samples.inputs) == samples.labels).mean())
            for name in ("train", "validation", "test")
            if len(samples := getattr(self.split, name))
        }
        return replace(classifier, accuracy=accuracy)

    def tensors(self, name: str) -> tuple[Tensor, Tensor]:
        """Network inputs and labels of this process's share of the set `train`, `validation` or `test`."""
        samples: LabelledSamples = getattr(self.split, name)
        share = self.coupling.share(len(samples))
        labels = torch.as_tensor(np.asarray(samples.labels)[share], device=self.device)
        return self.inputs_of(samples.inputs[share]), labels

    def inputs_of(self, raw: Array) -> Tensor:
        """Network inputs (n, n_features) of raw inputs (n, d), on a grid where the features have no unit.

        Training amplifies rounding: without the grid, a cube in another unit ends at other weights, and 0.2 % of its pixels
        in other classes.
        """
        features = self.features(torch.as_tensor(np.asarray(raw, float)))
        if self.features.per_pixel or self.features.per_band:
            features = torch.round(features / GRID) * GRID
        return features.to(device=self.device, dtype=self._dtype)
