"""Surrogates as tasks of a comparison: split, scaling, network and regularisation of one seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gnvpro.apps.studies.comparison.trials import Task
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.objectives.protocol import OuterLayer
from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.surrogate.scaling import Scaling
from gnvpro.surrogate.spaces import Array
from gnvpro.training.fitting.fit import ValidationSet


@dataclass(frozen=True)
class Recipe:
    """How a surrogate is set up.

    Attributes
    ----------
    network
        `paper`: the original study's residual network at its finest level, inputs as they are, all samples alike,
        both regularisations 1e-10. `dense`: our default for such data, tanh layers, standardised inputs of this
        gain, samples weighted for relative errors, alpha_theta 1e-9.
    width, steps
        Of the residual network.
    widths, gain
        Of the dense one.
    """

    network: Literal["paper", "dense"] = "paper"
    width: int = 8
    steps: int = 4
    widths: tuple[int, ...] = (9, 24, 24, 48)
    gain: float = 0.1

    def built(self, n_inputs: int) -> FeatureNetwork:
        """The feature network."""
        if self.network == "paper":
            return ResidualNetwork(n_inputs, self.width, self.steps)
        return DenseNetwork(n_inputs, self.widths)

    def scaling(self, train: Samples) -> Scaling:
        """Fitted to the training samples."""
        if self.network == "paper":
            return Scaling.raw(train.parameters, train.observables, train.background)
        return Scaling.standardised(train.parameters, train.observables, self.gain, train.background)


class RegressionTasks:
    """Tasks by seed: a random split, and the network's weights drawn with the same seed."""

    def __init__(self, samples: Samples, recipe: Recipe, sizes: dict[str, int], device: str = "cpu") -> None:
        self._samples, self._recipe, self._sizes, self._device = samples, recipe, sizes, device

    @property
    def network(self) -> FeatureNetwork:
        """The same for all seeds."""
        return self._recipe.built(self._samples.parameters.shape[1])

    def split(self, seed: int) -> Split:
        """The samples of one seed."""
        return self._samples.split(seed, **self._sizes)

    def __call__(self, seed: int) -> Task:
        """The task of one seed."""
        split, recipe = self.split(seed), self._recipe
        network = self.network
        scaling, paper = recipe.scaling(split.train), recipe.network == "paper"

        def weights(samples: Samples) -> Array:
            return np.ones(len(samples)) if paper else 1 / np.linalg.norm(samples.anomalous, axis=1)

        unit = float(np.sqrt((weights(split.train) ** 2).mean()))

        def tensors(samples: Samples) -> tuple[Tensor, Tensor, Tensor]:
            inputs, targets = (
                scaling.inputs(samples.parameters),
                scaling.targets(samples.parameters, samples.observables),
            )
            inputs, targets, row_weights = (self._tensor(x) for x in (inputs, targets, weights(samples) / unit))
            return inputs, targets, row_weights

        inputs, targets, row_weights = tensors(split.train)
        alpha_theta = 1e-10 if paper else 1e-9
        reduced = reduced_least_squares(
            network, inputs, targets, row_weights=row_weights, alpha_theta=alpha_theta, compression=1e-6
        )
        watched = (ValidationSet(reduced, *tensors(part)) for part in (split.train, split.validation, split.test))
        return Task(reduced, self._tensor(network.initial(seed).numpy()), *watched)

    def predictor(self, seed: int) -> Callable[[Tensor, OuterLayer, Array], Array]:
        """Observables (n, n_out) at parameters (n, n_in) by an iterate of the seed's task: theta, W, parameters."""
        split, recipe = self.split(seed), self._recipe
        network, scaling = self.network, recipe.scaling(split.train)

        def predict(theta: Tensor, outer: OuterLayer, parameters: Array) -> Array:
            features = network.bind(theta)(self._tensor(scaling.inputs(parameters))).double()
            columns = torch.cat([features, features.new_ones(len(features), 1)], 1)
            background = 0.0 if scaling.background is None else scaling.background
            return (columns @ outer.weights.t()).cpu().numpy() * scaling.output_scale + background

        return predict

    def _tensor(self, values: Array) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=self._device)
