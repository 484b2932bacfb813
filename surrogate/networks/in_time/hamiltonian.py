"""The Hamiltonian residual network: two halves that drive each other, integrated by the Verlet method.

After [Y_0, Z_0] = tanh(inputs K_0 + b_0), split in halves, integrate on [0, final_time]

    dY/dt = tanh(Z K(t) + b(t)),    dZ/dt = -tanh(Y K(t)' + b(t))

(Haber & Ruthotto 2017, Sec. 4): a Hamiltonian flow, reversible and without growth or decay whatever K. Verlet changes Z at
the nodes, by half a step at the two ends, and Y at the midpoints; so every time has one evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, override

import torch
from torch import Tensor

from gnvpro.surrogate.networks.in_time.shape import half_of
from gnvpro.surrogate.networks.in_time.time_weights import TimeLinearization, TimeNetwork
from gnvpro.surrogate.networks.protocol import Evaluation, Layer, with_ones


@dataclass(frozen=True)
class HamiltonianNetwork(TimeNetwork):
    """Dense opening layer and `steps` Verlet steps; the width is even, K(t) of half the width, row-major in theta."""

    def __post_init__(self) -> None:
        super().__post_init__()
        half_of(self.width)

    @property
    def half(self) -> int:
        """Width of Y and of Z."""
        return half_of(self.width)

    @property
    def n_matrix(self) -> int:
        """Entries of K at one time."""
        return self.half**2

    @property
    def n_bias(self) -> int:
        """Entries of b at one time."""
        return self.half

    @override
    def bind(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        opening, layers = self.opening_layer(theta), self.layers_in_time(theta)

        def features(inputs: Tensor) -> Tensor:
            y, z = torch.tanh(inputs @ opening[:-1] + opening[-1]).split(self.half, 1)
            for length, layer in zip(self.lengths, layers, strict=True):
                if length < 0:
                    z = z + length * torch.tanh(y @ layer[:-1] + layer[-1])
                else:
                    y = y + length * torch.tanh(z @ layer[:-1] + layer[-1])
            return torch.cat([y, z], 1)

        return features

    @override
    def linearize(self, theta: Tensor, inputs: Tensor) -> _HamiltonianLinearization:
        return _HamiltonianLinearization(self, theta, inputs)

    @override
    def to_dict(self) -> dict[str, Any]:
        return {"kind": "hamiltonian", **super().to_dict()}

    @property
    def lengths(self) -> list[float]:
        """Signed step lengths at every time: Z changes where they are negative, Y where positive."""
        h = self.step_size
        lengths = [-h if time % 2 == 0 else h for time in range(self.n_times)]
        lengths[0] = lengths[-1] = -h / 2
        return lengths

    def layers_in_time(self, theta: Tensor) -> list[Tensor]:
        """Of every time the layer (half + 1, half) it applies, bias last: K' at the nodes, K at the midpoints."""
        in_time = theta[self.n_opening :].view(self.n_times, self.half + 1, self.half)
        return [
            layer if time % 2 else torch.cat([layer[:-1].t(), layer[-1:]])
            for time, layer in enumerate(in_time.unbind())
        ]

    def fold(self, rows: Tensor) -> Tensor:
        """Gradients (r, n_theta) by theta from those by the layers applied: K' at the nodes is transposed."""
        in_time = rows[:, self.n_opening :].reshape(len(rows), self.n_times, self.half + 1, self.half).clone()
        in_time[:, 0::2, :-1] = in_time[:, 0::2, :-1].transpose(2, 3).clone()
        return torch.cat([rows[:, : self.n_opening], in_time.flatten(1)], 1)


class _Stage(NamedTuple):
    """One change of Y or Z: its length, the half that drives it, tanh', and the layer."""

    length: float
    driver: Tensor
    slope: Tensor
    layer: Tensor


class _HamiltonianLinearization(TimeLinearization):
    def __init__(self, network: HamiltonianNetwork, theta: Tensor, inputs: Tensor) -> None:
        super().__init__(network, theta, inputs)
        self._network = network
        self._stages: list[_Stage] = []
        y, z = self._opened.split(network.half, 1)
        for length, layer in zip(network.lengths, network.layers_in_time(theta), strict=True):
            driver = y if length < 0 else z
            a = torch.addmm(layer[-1], driver, layer[:-1]).tanh_()
            self._stages.append(_Stage(length, driver, (a * a).neg_().add_(1.0), layer))
            if length < 0:
                z = z + length * a
            else:
                y = y + length * a
        self.features = torch.cat([y, z], 1)

    def jvp(self, direction: Tensor) -> Tensor:
        network = self._network
        y, z = self._opening_change(direction).split(network.half, 1)
        for stage, move in zip(self._stages, network.layers_in_time(direction), strict=True):
            length, driver, slope, layer = stage
            by_theta = torch.addmm(move[-1], driver, move[:-1])
            a = by_theta.addmm_(y if length < 0 else z, layer[:-1]).mul_(slope)
            if length < 0:
                z = z + length * a
            else:
                y = y + length * a
        return torch.cat([y, z], 1)

    def vjp(self, seed: Tensor) -> Tensor:
        parts = []
        for _, inputs, sensitivities, _ in self.evaluations(seed):
            parts += [(inputs.t() @ sensitivities).reshape(-1), sensitivities.sum(0)]
        return self._network.fold(torch.cat(parts).unsqueeze(0))[0]

    def evaluations(self, seeds: Tensor) -> list[Evaluation]:
        network, evaluations = self._network, []
        size, stop = (network.half + 1) * network.half, network.n_theta
        y, z = seeds.split(network.half, -1)
        for length, driver, slope, layer in reversed(self._stages):
            sensitivities = (z if length < 0 else y) * (length * slope)
            back = sensitivities @ layer[:-1].t()
            if length < 0:
                y = y + back
            else:
                z = z + back
            evaluations.append(Evaluation(slice(stop - size, stop), driver, sensitivities))
            stop -= size
        opening = torch.cat([y, z], -1) * self._opening_slope
        return [Evaluation(slice(0, network.n_opening), self._inputs, opening), *reversed(evaluations)]

    def layers(self, seed: Tensor) -> list[Layer]:
        """One dense layer at every time."""
        layers: list[Layer] = []
        for time, (where, inputs, sensitivities, _) in enumerate(self.evaluations(seed), start=-1):
            places: slice | Tensor = where
            if time >= 0 and time % 2 == 0:  # the layer applied is K'
                matrix = torch.arange(where.start, where.stop, device=inputs.device).view(-1, self._network.half)
                places = torch.cat([matrix[:-1].t(), matrix[-1:]])
            layers.append(Layer(places, with_ones(inputs), sensitivities))
        return layers

    def fold(self, rows: Tensor) -> Tensor:
        return self._network.fold(rows)
