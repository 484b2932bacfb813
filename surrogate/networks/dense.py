"""Dense layers as features, and their derivatives by hand.

A network is a description without state: its weights are one flat vector `theta`, so that solvers see plain
vectors. `DenseNetwork` differentiates by hand, which is what small networks need (a dispatch through
`torch.func` costs several times the arithmetic at a few hundred samples); `gnvpro.surrogate.networks.module` is the
general path that defines what is correct.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import Evaluation, Layer, require_weights


@dataclass(frozen=True)
class DenseNetwork:
    """Dense layers with tanh after each: widths (9, 24, 24, 48) maps n_inputs -> 9 -> 24 -> 24 -> 48 features.

    In theta every layer is a row-major matrix (fan_in + 1, fan_out) whose last row is the bias.
    """

    n_inputs: int
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.n_inputs < 1 or not self.widths or min(self.widths) < 1:
            raise UsageError(
                f"expected a positive number of inputs and at least one positive width, "
                f"got {self.n_inputs} and {list(self.widths)}"
            )
        require_weights(self.n_theta)

    @property
    def width(self) -> int:
        """Number of features."""
        return self.widths[-1]

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(fan_in + 1, fan_out) of every layer."""
        return tuple((a + 1, b) for a, b in zip((self.n_inputs, *self.widths), self.widths, strict=False))

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where every layer sits in theta."""
        ends = [0, *itertools.accumulate(a * b for a, b in self.shapes)]
        return tuple(slice(*pair) for pair in itertools.pairwise(ends))

    @property
    def n_theta(self) -> int:
        """Number of weights."""
        return self.slices[-1].stop

    def initial(self, seed: int) -> Tensor:
        """Gaussian weights of variance 2/fan_in in the first layer and 1/fan_in after; zero biases."""
        generator = torch.Generator().manual_seed(seed)
        layers = []
        for j, (rows, fan_out) in enumerate(self.shapes):
            weights = torch.zeros(rows, fan_out, dtype=torch.float64)
            spread = math.sqrt((2 if j == 0 else 1) / (rows - 1))
            weights[:-1] = spread * torch.randn(rows - 1, fan_out, generator=generator, dtype=torch.float64)
            layers.append(weights.reshape(-1))
        return torch.cat(layers)

    def layer_weights(self, theta: Tensor) -> list[Tensor]:
        """Views of theta, one matrix a layer."""
        return [theta[where].view(shape) for where, shape in zip(self.slices, self.shapes, strict=True)]

    def bind(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        """The map inputs -> features at this theta."""
        layers = [(weights[-1], weights[:-1]) for weights in self.layer_weights(theta)]

        def features(inputs: Tensor) -> Tensor:
            h = inputs
            for bias, weights in layers:
                h = torch.tanh(torch.addmm(bias, h, weights))
            return h

        return features

    def linearize(self, theta: Tensor, inputs: Tensor) -> _DenseLinearization:
        """The same with what derivative products need kept."""
        return _DenseLinearization(self, theta, inputs)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, read back by `gnvpro.surrogate.networks.registry`."""
        return {"kind": "dense", "n_inputs": self.n_inputs, "widths": list(self.widths)}


class _DenseLinearization:
    """Activations kept; tanh' = 1 - tanh² comes from them."""

    layer_forwards = 0  # the pass of the linearisation kept what is shown

    def __init__(self, network: DenseNetwork, theta: Tensor, inputs: Tensor) -> None:
        self._network = network
        self._weights = network.layer_weights(theta)
        self._activations = [inputs]
        for weights in self._weights:
            self._activations.append(torch.addmm(weights[-1], self._activations[-1], weights[:-1]).tanh_())

    @property
    def features(self) -> Tensor:
        return self._activations[-1]

    @cached_property
    def _slopes(self) -> list[Tensor]:
        return [(a * a).neg_().add_(1.0) for a in self._activations[1:]]

    def jvp(self, direction: Tensor) -> Tensor:
        change = None
        moves = self._network.layer_weights(direction)
        for h, weights, slope, move in zip(self._activations, self._weights, self._slopes, moves, strict=False):
            by_theta = torch.addmm(move[-1], h, move[:-1])
            change = (by_theta if change is None else by_theta.addmm_(change, weights[:-1])).mul_(slope)
        assert change is not None
        return change

    def vjp(self, seed: Tensor) -> Tensor:
        gradient = torch.empty(self._network.n_theta, dtype=seed.dtype, device=seed.device)
        parts = self._network.layer_weights(gradient)
        for j, sensitivities in self._backward(seed):
            torch.mm(self._activations[j].t(), sensitivities, out=parts[j][:-1])
            torch.sum(sensitivities, 0, out=parts[j][-1])
        return gradient

    def layers(self, seed: Tensor) -> list[Layer]:
        return [Layer(e.where, e.with_bias, e.sensitivities) for e in reversed(self.evaluations(seed))]

    def evaluations(self, seeds: Tensor) -> list[Evaluation]:
        slices, inputs = self._network.slices, self._activations
        return [Evaluation(slices[j], inputs[j], sensitivities) for j, sensitivities in self._backward(seeds)]

    def fold(self, rows: Tensor) -> Tensor:
        return rows

    def _backward(self, seed: Tensor):
        for j in reversed(range(len(self._weights))):
            sensitivities = seed * self._slopes[j]
            yield j, sensitivities
            if j > 0:
                seed = sensitivities @ self._weights[j][:-1].t()
