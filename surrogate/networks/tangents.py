"""Features and their tangents: rows of values, each followed by rows of derivatives along directions of the inputs.

A sample x with directions v_1 … v_r gives a group of 1 + r rows, z(x), ż_1 … ż_r with ż_k the derivative of the features
along v_k. One last layer acts on all of them: to an objective they are further rows of the same least-squares problem. For a
dense tanh layer z = tanh(a), a = h K + b,

    ȧ = ḣ K,   ż = σ'(a) ∘ ȧ,   and back from seeds s of z and ṡ of ż:   of ȧ: σ' ∘ ṡ,   of a: σ' ∘ s - 2 z ∘ ż ∘ ṡ,

as σ'' ∘ ȧ = -2 z ∘ ż. The bias meets rows of values alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from gnvpro.surrogate.derivatives import directional
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.module import MapLinearization
from gnvpro.surrogate.networks.protocol import Evaluation, FeatureNetwork, FixedFeatures, Layer, Linearization


def linearize_tangents(network: FeatureNetwork, theta: Tensor, inputs: Tensor, directions: Tensor) -> Linearization:
    """A network at theta with features (n (1 + r), width) of inputs (n, d) and directions (n, r, d), sample by sample.

    By hand for dense layers, which is the hot loop; by autodiff for every other network.
    """
    if isinstance(network, DenseNetwork):
        return _DenseTangents(network, theta, inputs, directions)
    if not network.n_theta:
        return FixedFeatures(features_and_tangents(network, theta, inputs, directions))
    return MapLinearization(lambda at: features_and_tangents(network, at, inputs, directions), theta)


def features_and_tangents(network: FeatureNetwork, theta: Tensor, inputs: Tensor, directions: Tensor) -> Tensor:
    """The rows alone, (n (1 + r), width), differentiable by theta."""
    bound = network.bind(theta)
    return interleaved(bound(inputs), tangents_of(bound, inputs, directions))


def tangents_of(function: Callable[[Tensor], Tensor], inputs: Tensor, directions: Tensor) -> Tensor:
    """Derivatives (n, r, m) of a map (n, d) -> (n, m), row by row, along directions (n, r, d)."""
    n, r, d = directions.shape
    if not (width := function(inputs[:1]).shape[1]):
        return inputs.new_zeros(n, r, 0)
    return directional(function, inputs.repeat_interleave(r, 0), directions.reshape(-1, d)).view(n, r, width)


def interleaved(values: Tensor, tangents: Tensor) -> Tensor:
    """Rows (n (1 + r), …): each of the values (n, …), then its tangents (n, r, …)."""
    return torch.cat([values[:, None], tangents], 1).flatten(0, 1)


def of_samples(rows: Tensor, group: int, samples: slice | Tensor) -> Tensor:
    """Of rows (n group, …) those of these samples."""
    return rows[samples] if group == 1 else rows.unflatten(0, (-1, group))[samples].flatten(0, 1)


class _DenseTangents:
    """Rows as (n, 1 + r, width), the value first; tanh' and tanh'' ∘ ȧ come from them."""

    layer_forwards = 0  # the pass of the linearisation kept what is shown

    def __init__(self, network: DenseNetwork, theta: Tensor, inputs: Tensor, directions: Tensor) -> None:
        self._network, self._weights = network, network.layer_weights(theta)
        self._rows = [torch.cat([inputs[:, None], directions], 1)]
        self._slopes: list[Tensor] = []
        for weights in self._weights:
            rows = _times(self._rows[-1], weights[:-1])
            values = rows[:, :1]
            values.add_(weights[-1]).tanh_()
            slope = (values * values).neg_().add_(1.0)
            rows[:, 1:].mul_(slope)
            self._rows.append(rows)
            self._slopes.append(slope)

    @property
    def features(self) -> Tensor:
        return self._rows[-1].flatten(0, 1)

    @cached_property
    def _bends(self) -> list[Tensor]:
        """σ'' ∘ ȧ of every layer, (n, r, width)."""
        return [(rows[:, 1:] * rows[:, :1]).mul_(-2.0) for rows in self._rows[1:]]

    def jvp(self, direction: Tensor) -> Tensor:
        change, moves = None, self._network.layer_weights(direction)
        for rows, weights, slope, bend, move in zip(
            self._rows, self._weights, self._slopes, self._bends, moves, strict=False
        ):
            by_theta = _times(rows, move[:-1])
            by_theta[:, 0] += move[-1]
            if change is not None:
                by_theta += _times(change, weights[:-1])
            bent = bend * by_theta[:, :1]
            change = by_theta.mul_(slope)
            change[:, 1:] += bent
        assert change is not None
        return change.flatten(0, 1)

    def vjp(self, seed: Tensor) -> Tensor:
        gradient = torch.empty(self._network.n_theta, dtype=seed.dtype, device=seed.device)
        parts = self._network.layer_weights(gradient)
        for j, sensitivities in self._backward(seed):
            torch.mm(self._rows[j].flatten(0, 1).t(), sensitivities.flatten(0, 1), out=parts[j][:-1])
            torch.sum(sensitivities[:, 0], 0, out=parts[j][-1])
        return gradient

    def layers(self, seed: Tensor) -> list[Layer]:
        """The rows of a sample are positions of a layer: its gradient is the sum over them."""
        back = self._backward(seed)
        return [Layer(self._network.slices[j], self._with_bias(j), of_rows) for j, of_rows in back][::-1]

    def evaluations(self, seeds: Tensor) -> list[Evaluation]:
        """Two of every layer: what a row itself sends back, and what a tangent sends back by way of the value.

        seeds (..., n (1 + r), width) are of every row by itself.
        """
        own = seeds.unflatten(-2, self._rows[0].shape[:2])
        by_value, evaluations = torch.zeros_like(own), []
        for j in reversed(range(len(self._weights))):
            where, weights, slope = self._network.slices[j], self._weights[j][:-1].t(), self._slopes[j]
            inputs = self._with_bias(j)
            by_value = by_value * slope
            by_value[..., 1:, :] += self._bends[j] * own[..., 1:, :]
            own = own * slope
            for rows, sensitivities in ((inputs, own), (inputs[:, :1].expand_as(inputs), by_value)):
                rows = rows.flatten(0, 1)
                evaluations.append(Evaluation(where, rows[:, :-1], sensitivities.flatten(-3, -2), rows[:, -1:]))
            own, by_value = own @ weights, by_value @ weights
        return evaluations

    def fold(self, rows: Tensor) -> Tensor:
        return rows

    def _with_bias(self, j: int) -> Tensor:
        rows = torch.nn.functional.pad(self._rows[j], (0, 1))
        rows[:, 0, -1] = 1.0
        return rows

    def _backward(self, seed: Tensor):
        seeds = seed.unflatten(0, self._rows[0].shape[:2])
        for j in reversed(range(len(self._weights))):
            sensitivities = seeds * self._slopes[j]
            sensitivities[:, 0] += (self._bends[j] * seeds[:, 1:]).sum(1)
            yield j, sensitivities
            if j > 0:
                seeds = _times(sensitivities, self._weights[j][:-1].t())


def _times(rows: Tensor, matrix: Tensor) -> Tensor:
    """(n, 1 + r, a) times (a, b), as one product of matrices."""
    return torch.mm(rows.flatten(0, 1), matrix).unflatten(0, rows.shape[:2])
