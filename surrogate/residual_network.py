"""The residual network of the original study: a dense layer, then an antisymmetric ODE integrated by RK4.

After Z_0 = tanh(Y K_0 + b_0), integrate dZ/dt = tanh(Z (K(t) - K(t)' - gamma I) + b(t)) on [0, final_time] with RK4.
K and b are piecewise linear in time, given at the nodes and midpoints of the steps, which is where RK4 asks for
them (Haber & Ruthotto 2017; Newman et al. 2021, Sec. 5). Derivatives by hand, as in `surrogate.networks`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Keeps the real parts of the eigenvalues slightly negative: the forward propagation is stable.
DAMPING = 1e-4


@dataclass(frozen=True)
class ResidualNetwork:
    """Dense opening layer and `steps` RK4 steps of an antisymmetric residual network, all of one width.

    In theta: the opening matrix (n_inputs + 1, width), bias last; then for every time t = 0, h/2, h, ... the strict
    lower triangle of K (row by row) and the bias.
    """

    n_inputs: int
    width: int
    steps: int = 1
    final_time: float = 1.0

    def __post_init__(self) -> None:
        if min(self.n_inputs, self.width, self.steps) < 1 or not self.final_time > 0:
            raise ValueError(
                "expected positive inputs, width, steps and final time, got "
                f"{self.n_inputs}, {self.width}, {self.steps}, {self.final_time}"
            )

    @property
    def n_triangle(self) -> int:
        """Free entries of an antisymmetric matrix."""
        return self.width * (self.width - 1) // 2

    @property
    def n_opening(self) -> int:
        """Weights of the opening layer."""
        return (self.n_inputs + 1) * self.width

    @property
    def n_times(self) -> int:
        """Times at which weights are given: nodes and midpoints."""
        return 2 * self.steps + 1

    @property
    def n_theta(self) -> int:
        """Number of weights."""
        return self.n_opening + self.n_times * (self.n_triangle + self.width)

    def initial(self, seed: int) -> Tensor:
        """Gaussian weights of variance 2/fan_in, the same K at every time; zero biases (the study's choice)."""
        generator = torch.Generator().manual_seed(seed)
        opening = torch.zeros(self.n_inputs + 1, self.width, dtype=torch.float64)
        opening[:-1] = math.sqrt(2 / self.n_inputs) * torch.randn(
            self.n_inputs, self.width, generator=generator, dtype=torch.float64
        )
        triangle = math.sqrt(2 / self.width) * torch.randn(self.n_triangle, generator=generator, dtype=torch.float64)
        at_one_time = torch.cat([triangle, triangle.new_zeros(self.width)])
        return torch.cat([opening.reshape(-1), at_one_time.repeat(self.n_times)])

    def bind(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        """See `surrogate.networks.FeatureNetwork`."""
        opening, matrices, biases = self.unpack(theta)
        matrices = matrices - DAMPING * torch.eye(self.width, dtype=theta.dtype, device=theta.device)

        def slope(time: int, z: Tensor) -> Tensor:
            return torch.tanh(z @ matrices[time] + biases[time])

        def features(inputs: Tensor) -> Tensor:
            z = torch.tanh(inputs @ opening[:-1] + opening[-1])
            for step in range(self.steps):
                z = z + sum(b * k for b, k in zip(self._weights, self._stages(slope, step, z), strict=True))
            return z

        return features

    def linearize(self, theta: Tensor, inputs: Tensor) -> _ResidualLinearization:
        """See `surrogate.networks.FeatureNetwork`."""
        return _ResidualLinearization(self, theta, inputs)

    def prolonged(self, theta: Tensor) -> tuple[ResidualNetwork, Tensor]:
        """The network of twice the steps, its weights interpolated linearly in time: nearly the same map."""
        finer = replace(self, steps=2 * self.steps)
        coarse = theta[self.n_opening :].view(self.n_times, -1)
        fine = coarse.new_empty(finer.n_times, coarse.shape[1])
        fine[0::2] = coarse
        fine[1::2] = 0.5 * (coarse[1:] + coarse[:-1])
        return finer, torch.cat([theta[: self.n_opening], fine.reshape(-1)])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, read back by `surrogate.saved`."""
        return {
            "kind": "residual",
            "n_inputs": self.n_inputs,
            "width": self.width,
            "steps": self.steps,
            "final_time": self.final_time,
        }

    @property
    def step_size(self) -> float:
        """Length of one RK4 step."""
        return self.final_time / self.steps

    @property
    def _weights(self) -> tuple[float, ...]:
        return tuple(self.step_size * b for b in (1 / 6, 1 / 3, 1 / 3, 1 / 6))

    def _stages(self, slope, step: int, z: Tensor):
        """The four RK4 slopes; `slope(time index, state)`."""
        h = self.step_size
        first = slope(2 * step, z)
        second = slope(2 * step + 1, z + h / 2 * first)
        third = slope(2 * step + 1, z + h / 2 * second)
        fourth = slope(2 * step + 2, z + h * third)
        return first, second, third, fourth

    def unpack(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Opening matrix, antisymmetric K - K' (n_times, width, width), biases (n_times, width); linear in theta."""
        opening = theta[: self.n_opening].view(self.n_inputs + 1, self.width)
        in_time = theta[self.n_opening :].view(self.n_times, -1)
        places = _places(self.width, theta.device)
        entries = in_time.index_select(1, places.triangle_of_entry) * places.sign.to(theta.dtype)
        return opening, entries.view(self.n_times, self.width, self.width), in_time[:, self.n_triangle :]

    def pack_gradient(self, opening: Tensor, matrices: Tensor, biases: Tensor) -> Tensor:
        """Adjoint of `unpack`."""
        entries = (matrices - matrices.transpose(1, 2)).flatten(1)
        triangle = entries.index_select(1, _places(self.width, opening.device).entry_of_triangle)
        return torch.cat([opening.reshape(-1), torch.cat([triangle, biases], 1).reshape(-1)])


class _Places(NamedTuple):
    """Where the free entries of an antisymmetric matrix sit in it, and the reverse with signs."""

    entry_of_triangle: Tensor
    triangle_of_entry: Tensor
    sign: Tensor


@cache
def _places(width: int, device: torch.device) -> _Places:
    rows, columns = torch.tril_indices(width, width, -1)
    number = torch.arange(len(rows))
    triangle_of_entry, sign = torch.zeros(width, width, dtype=torch.int64), torch.zeros(width, width)
    triangle_of_entry[rows, columns] = triangle_of_entry[columns, rows] = number
    sign[rows, columns], sign[columns, rows] = 1.0, -1.0
    found = (rows * width + columns, triangle_of_entry.reshape(-1), sign.reshape(-1).double())
    return _Places(*(part.to(device) for part in found))


class _ResidualLinearization:
    """States and slopes of every layer evaluation kept."""

    def __init__(self, network: ResidualNetwork, theta: Tensor, inputs: Tensor) -> None:
        self._network, self._inputs = network, inputs
        opening, matrices, biases = network.unpack(theta)
        damping = DAMPING * torch.eye(network.width, dtype=theta.dtype, device=theta.device)
        # Lists: indexing a tensor at every layer evaluation costs as much as its product.
        self._matrices, self._biases = (matrices - damping).unbind(), biases.unbind()
        z = torch.addmm(opening[-1], inputs, opening[:-1]).tanh_()
        self._opening_slope = (z * z).neg_().add_(1.0)
        self._evaluations: list[tuple[int, Tensor, Tensor]] = []  # (time, state, tanh')

        def slope(time: int, z: Tensor) -> Tensor:
            a = torch.addmm(self._biases[time], z, self._matrices[time]).tanh_()
            self._evaluations.append((time, z, (a * a).neg_().add_(1.0)))
            return a

        for step in range(network.steps):
            z = z + _combine(network._weights, network._stages(slope, step, z))
        self._features = z

    @property
    def features(self) -> Tensor:
        return self._features

    def jvp(self, direction: Tensor) -> Tensor:
        network = self._network
        opening, *moves = network.unpack(direction)
        matrices, biases = (move.unbind() for move in moves)
        change = torch.addmm(opening[-1], self._inputs, opening[:-1]).mul_(self._opening_slope)
        evaluations = iter(self._evaluations)

        def slope(_: int, dz: Tensor) -> Tensor:
            time, z, tanh_slope = next(evaluations)
            by_theta = torch.addmm(biases[time], z, matrices[time])
            return by_theta.addmm_(dz, self._matrices[time]).mul_(tanh_slope)

        for step in range(network.steps):
            change = change + _combine(network._weights, network._stages(slope, step, change))
        return change

    def vjp(self, seed: Tensor) -> Tensor:
        network, h = self._network, self._network.step_size
        matrices = seed.new_zeros(network.n_times, network.width, network.width)
        biases = seed.new_zeros(network.n_times, network.width)
        to_matrices, to_biases, ones = matrices.unbind(), biases.unbind(), seed.new_ones(len(seed))

        def back(evaluation: tuple[int, Tensor, Tensor], seed: Tensor) -> Tensor:
            time, z, tanh_slope = evaluation
            sensitivities = seed * tanh_slope
            transposed = sensitivities.t()
            to_matrices[time].addmm_(z.t(), sensitivities)
            to_biases[time].addmv_(transposed, ones)
            return sensitivities @ self._matrices[time].t()

        b1, b2, b3, b4 = network._weights
        for step in reversed(range(network.steps)):
            first, second, third, fourth = self._evaluations[4 * step : 4 * step + 4]
            s4 = back(fourth, b4 * seed)
            s3 = back(third, b3 * seed + h * s4)
            s2 = back(second, b2 * seed + h / 2 * s3)
            s1 = back(first, b1 * seed + h / 2 * s2)
            seed = seed + s1 + s2 + s3 + s4
        seed = seed * self._opening_slope
        opening = torch.cat([self._inputs.t() @ seed, seed.sum(0, keepdim=True)])
        return network.pack_gradient(opening, matrices, biases)


def _combine(weights: tuple[float, ...], slopes: tuple[Tensor, ...]) -> Tensor:
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        total.add_(slope, alpha=weight)
    return total
