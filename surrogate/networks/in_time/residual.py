"""Residual networks integrated by RK4: the antisymmetric one of the original study, and one of free weights.

After Z_0 = tanh(Y K_0 + b_0), integrate dZ/dt = tanh(Z M(t) + b(t)) on [0, final_time] with RK4, where M is
K - K' - gamma I (antisymmetric) or K itself (plain). K and b are piecewise linear in time, given at the nodes and
midpoints of the steps, which is where RK4 asks for them (Haber & Ruthotto 2017; Newman et al. 2021, Sec. 5).
Derivatives by hand, as in `gnvpro.surrogate.networks.dense`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args, override

import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.in_time.antisymmetric import antisymmetric, antisymmetric_adjoint
from gnvpro.surrogate.networks.in_time.time_weights import TimeLinearization, TimeNetwork
from gnvpro.surrogate.networks.protocol import Evaluation, Layer, with_ones

# Keeps the real parts of the eigenvalues slightly negative: the forward propagation is stable.
DAMPING = 1e-4
# Free entries of one time, for a curvature block of their own: of more, the eigenvectors cost seconds.
_LARGEST_BLOCK = 1200
ResidualKind = Literal["antisymmetric", "plain"]


@dataclass(frozen=True)
class ResidualNetwork(TimeNetwork):
    """Dense opening layer and `steps` RK4 steps of a residual network, all of one width.

    In theta the matrix of a time is the strict lower triangle of K row by row (antisymmetric), or K row-major (plain).
    RK4 in both, so that the constraint on K is all that differs.
    """

    kind: ResidualKind = "antisymmetric"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in get_args(ResidualKind):
            raise UsageError(f"expected a residual network of kind antisymmetric or plain, got {self.kind!r}")

    @property
    def n_matrix(self) -> int:
        """Free entries of the matrix of one time."""
        return self.width**2 if self.kind == "plain" else self.width * (self.width - 1) // 2

    @property
    def n_bias(self) -> int:
        """Entries of the bias of one time."""
        return self.width

    @override
    def bind(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        opening, matrices, biases = self.unpack(theta)
        matrices = self.damped(matrices)

        def slope(time: int, z: Tensor) -> Tensor:
            return torch.tanh(z @ matrices[time] + biases[time])

        def features(inputs: Tensor) -> Tensor:
            z = torch.tanh(inputs @ opening[:-1] + opening[-1])
            for step in range(self.steps):
                z = z + sum(b * k for b, k in zip(self.stage_weights, self._stages(slope, step, z), strict=True))
            return z

        return features

    @override
    def linearize(self, theta: Tensor, inputs: Tensor) -> _ResidualLinearization:
        return _ResidualLinearization(self, theta, inputs)

    @override
    def to_dict(self) -> dict[str, Any]:
        return {"kind": "residual", **super().to_dict(), "matrices": self.kind}

    def damped(self, matrices: Tensor) -> Tensor:
        """The matrices applied: `matrices` of `unpack`, less gamma I where they are antisymmetric."""
        if self.kind == "plain":
            return matrices
        return matrices - DAMPING * torch.eye(self.width, dtype=matrices.dtype, device=matrices.device)

    @property
    def stage_weights(self) -> tuple[float, ...]:
        """What each of the four RK4 slopes adds to the state, step size included."""
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
        """Opening matrix, K - K' or K (n_times, width, width), biases (n_times, width); linear in theta."""
        in_time = theta[self.n_opening :].view(self.n_times, -1)
        if self.kind == "plain":
            matrices = in_time[:, : self.n_matrix].reshape(self.n_times, self.width, self.width)
        else:
            matrices = antisymmetric(in_time, self.width)
        return self.opening_layer(theta), matrices, in_time[:, self.n_matrix :]

    def pack_gradient(self, opening: Tensor, matrices: Tensor, biases: Tensor) -> Tensor:
        """Adjoint of `unpack`."""
        free = matrices.flatten(1) if self.kind == "plain" else antisymmetric_adjoint(matrices)
        return torch.cat([opening.reshape(-1), torch.cat([free, biases], 1).reshape(-1)])


class _ResidualLinearization(TimeLinearization):
    """States and slopes of every layer evaluation kept."""

    def __init__(self, network: ResidualNetwork, theta: Tensor, inputs: Tensor) -> None:
        super().__init__(network, theta, inputs)
        self._network = network
        _, matrices, biases = network.unpack(theta)
        # Lists: indexing a tensor at every layer evaluation costs as much as its product.
        self._matrices, self._biases = network.damped(matrices).unbind(), biases.unbind()
        z = self._opened
        self._evaluations: list[tuple[int, Tensor, Tensor]] = []  # (time, state, tanh')

        def slope(time: int, z: Tensor) -> Tensor:
            a = torch.addmm(self._biases[time], z, self._matrices[time]).tanh_()
            self._evaluations.append((time, z, (a * a).neg_().add_(1.0)))
            return a

        for step in range(network.steps):
            z = z + _combine(network.stage_weights, network._stages(slope, step, z))
        self.features = z

    def jvp(self, direction: Tensor) -> Tensor:
        network = self._network
        matrices, biases = (move.unbind() for move in network.unpack(direction)[1:])
        change = self._opening_change(direction)
        evaluations = iter(self._evaluations)

        def slope(_: int, dz: Tensor) -> Tensor:
            time, z, tanh_slope = next(evaluations)
            by_theta = torch.addmm(biases[time], z, matrices[time])
            return by_theta.addmm_(dz, self._matrices[time]).mul_(tanh_slope)

        for step in range(network.steps):
            change = change + _combine(network.stage_weights, network._stages(slope, step, change))
        return change

    def vjp(self, seed: Tensor) -> Tensor:
        network = self._network
        matrices = seed.new_zeros(network.n_times, network.width, network.width)
        biases = seed.new_zeros(network.n_times, network.width)
        to_matrices, to_biases, ones = matrices.unbind(), biases.unbind(), seed.new_ones(len(seed))

        def collect(time: int, z: Tensor, sensitivities: Tensor) -> None:
            to_matrices[time].addmm_(z.t(), sensitivities)
            to_biases[time].addmv_(sensitivities.t(), ones)

        seed = self._backward(seed, collect)
        opening = torch.cat([self._inputs.t() @ seed, seed.sum(0, keepdim=True)])
        return network.pack_gradient(opening, matrices, biases)

    def evaluations(self, seeds: Tensor) -> list[Evaluation]:
        """Unfolded, a time has a matrix (width + 1, width), bias last."""
        network, evaluations = self._network, []
        size = (network.width + 1) * network.width

        def collect(time: int, z: Tensor, sensitivities: Tensor) -> None:
            start = network.n_opening + time * size
            evaluations.append(Evaluation(slice(start, start + size), z, sensitivities))

        seeds = self._backward(seeds, collect)
        return [Evaluation(slice(0, network.n_opening), self._inputs, seeds), *evaluations]

    def layers(self, seed: Tensor) -> list[Layer] | None:
        """The opening layer, and one block for every time.

        The stages of RK4 that use a time's weights are positions of one layer. The matrix of an antisymmetric one does
        not factorise, but has few free entries: its block is that of the samples' whole gradients.
        """
        network = self._network
        size = network.n_matrix + network.n_bias
        if network.kind == "antisymmetric" and size > _LARGEST_BLOCK:
            return None
        uses: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(network.n_times)]
        opening = self._backward(seed, lambda time, z, sensitivities: uses[time].append((z, sensitivities)))
        layers = [Layer(slice(0, network.n_opening), with_ones(self._inputs), opening)]
        for time, calls in enumerate(uses):
            start = network.n_opening + time * size
            inputs = torch.stack([with_ones(z) for z, _ in calls], 1)
            sensitivities = torch.stack([s for _, s in calls], 1)
            if network.kind == "antisymmetric":
                gradients = torch.bmm(inputs.transpose(1, 2), sensitivities)
                sensitivities = torch.cat([antisymmetric_adjoint(gradients[:, :-1]), gradients[:, -1]], 1)
                inputs = sensitivities.new_ones(len(sensitivities), 1)
            layers.append(Layer(slice(start, start + size), inputs, sensitivities))
        return layers

    def fold(self, rows: Tensor) -> Tensor:
        network = self._network
        if network.kind == "plain":
            return rows
        in_time = rows[:, network.n_opening :].reshape(len(rows) * network.n_times, network.width + 1, network.width)
        free = torch.cat([antisymmetric_adjoint(in_time[:, :-1]), in_time[:, -1]], 1)
        return torch.cat([rows[:, : network.n_opening], free.view(len(rows), -1)], 1)

    def _backward(self, seed: Tensor, collect: Callable[[int, Tensor, Tensor], None]) -> Tensor:
        """Seeds (..., n, width) to the opening layer's sensitivities; those of all others are collected on the way."""
        h = self._network.step_size

        def back(evaluation: tuple[int, Tensor, Tensor], seed: Tensor) -> Tensor:
            time, z, tanh_slope = evaluation
            sensitivities = seed * tanh_slope
            collect(time, z, sensitivities)
            return sensitivities @ self._matrices[time].t()

        b1, b2, b3, b4 = self._network.stage_weights
        for step in reversed(range(self._network.steps)):
            first, second, third, fourth = self._evaluations[4 * step : 4 * step + 4]
            s4 = back(fourth, b4 * seed)
            s3 = back(third, b3 * seed + h * s4)
            s2 = back(second, b2 * seed + h / 2 * s3)
            s1 = back(first, b1 * seed + h / 2 * s2)
            seed = seed + s1 + s2 + s3 + s4
        return seed * self._opening_slope


def _combine(weights: tuple[float, ...], slopes: tuple[Tensor, ...]) -> Tensor:
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        total.add_(slope, alpha=weight)
    return total
