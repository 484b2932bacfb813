"""The full objective: the same problem as a reduced one, with W kept among the variables.

    phi(theta, W) = sum_i w_i loss(W' phi_i, c_i) + alpha_w/2 ||W||² + alpha_theta/2 ||L theta||²

with w_i = omega_i²/n for least squares and omega_i/n for cross-entropy. What training without variable projection
minimises, and so what the methods that do not eliminate W are compared on. At W(theta) it is the reduced objective.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from gnvpro.surrogate.elimination.losses import LeastSquares, Loss
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import Layer, Linearization
from gnvpro.surrogate.objectives.layers import charged_layers
from gnvpro.surrogate.objectives.protocol import OuterLayer, Point
from gnvpro.surrogate.objectives.reduced_cross_entropy import ReducedClasses
from gnvpro.surrogate.objectives.reduced_least_squares import ReducedObjective
from gnvpro.surrogate.objectives.regularisation import Regulariser
from gnvpro.surrogate.objectives.work import WorkMeter

Start = Literal["solved", "random"]


class FullObjective:
    """Value, gradient and generalised Gauss-Newton products by (theta, W); counts its own work.

    Its variables are one vector: the network's weights, then W (width + q + 1, k) row by row, in the coordinates of the
    compressed targets where `reduced` compresses them. Samples, weights and regularisation are those of `reduced`, so
    values are comparable; the meter is a new one.

    Parameters
    ----------
    watched
        Points are made only to be looked at, and cost nothing: a stochastic method pays for its minibatches
        (`batch_gradient`) alone.
    """

    def __init__(self, reduced: ReducedObjective | ReducedClasses, watched: bool = False) -> None:
        self.reduced = copy.copy(reduced)
        self.meter = self.reduced.meter = WorkMeter()
        self.network, self.inputs, self.targets = reduced.network, reduced.inputs, reduced.targets
        self.watched = watched
        scale = reduced.layer.row_scale
        if isinstance(reduced, ReducedObjective):
            self.loss: Loss = LeastSquares()
            self.sample_weights, self.columns = scale**2, reduced.columns
        else:
            self.loss = reduced.loss
            self.sample_weights, self.columns = scale, torch.ones_like(scale)
        n_theta, self.outer_shape = self.network.n_theta, (self.network.width + self.columns.shape[1], self.n_targets)
        self.regulariser: Regulariser = _Joint(reduced.regulariser, n_theta, reduced.alpha_w)

    @property
    def n_targets(self) -> int:
        """Columns of the (compressed) targets."""
        return self.targets.shape[1]

    @property
    def n_theta(self) -> int:
        """Number of variables, W included."""
        return self.network.n_theta + math.prod(self.outer_shape)

    def start(self, network_theta: Tensor, outer: Start = "solved", seed: int = 0) -> Tensor:
        """Variables from which to begin: W solved for at these network weights (one forward pass), or random.

        Random W is Gaussian of variance 1/width, its bias zero.
        """
        if outer == "solved":
            weights = self.reduced.at(network_theta).outer.compressed
        else:
            generator, width = torch.Generator().manual_seed(seed), self.network.width
            weights = torch.randn(self.outer_shape, generator=generator, dtype=torch.float64) / math.sqrt(max(width, 1))
            weights[width:] = 0
        return self.joined(network_theta, weights)

    def joined(self, network_theta: Tensor, outer: Tensor) -> Tensor:
        """The variables of a network's weights and W (width + q + 1, k): the inverse of `split`."""
        return torch.cat([network_theta, outer.reshape(-1).to(network_theta)])

    def split(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The network's weights, and W (width + q + 1, k) in float64."""
        n = self.network.n_theta
        return theta[:n], theta[n:].view(self.outer_shape).double()

    def at(self, theta: Tensor, *, near: Point | None = None, accuracy: float = 0.0) -> FullPoint:
        """The objective at (theta, W); nothing is solved, so `near` and `accuracy` are ignored."""
        if theta.shape != (self.n_theta,):
            raise UsageError(
                f"expected {self.n_theta} variables ({self.network.n_theta} of the network, then W "
                f"{self.outer_shape}), got shape {tuple(theta.shape)}; see `start`"
            )
        meter = WorkMeter() if self.watched else self.meter
        meter.forward += 1
        return FullPoint(self, theta, meter)

    def batch_gradient(self, theta: Tensor, index: Tensor) -> Tensor:
        """Gradient on the samples at `index`, an unbiased estimate of the whole; charged as their share of the set."""
        n, size = len(self.inputs), len(index)
        self.meter.forward += size / n
        self.meter.backward += size / n
        weights, outer = self.split(theta)
        at = self.network.linearize(weights, self.inputs[index])
        columns = torch.cat([at.features.double(), self.columns[index]], 1)
        by_predictions = self.loss.gradient(columns @ outer, self.targets[index]) * self.sample_weights[index]
        by_predictions *= n / size
        return _joined(at, columns, by_predictions, outer).add_(self.regulariser.apply(theta))


class FullPoint:
    """The full objective at one (theta, W), everything made on demand."""

    def __init__(self, objective: FullObjective, theta: Tensor, meter: WorkMeter) -> None:
        self.objective, self.theta, self._meter = objective, theta, meter
        self._weights, self._outer = objective.split(theta)

    @property
    def value(self) -> float:
        """phi; not finite where the features are not."""
        return self._value

    @property
    def gradient(self) -> Tensor:
        """By (theta, W): one backward pass."""
        return self._gradient

    @cached_property
    def _value(self) -> float:
        objective = self.objective
        losses = objective.loss.value(self._predictions, objective.targets)
        return float(objective.sample_weights[:, 0] @ losses + objective.regulariser.value(self.theta))

    @cached_property
    def _gradient(self) -> Tensor:
        self._meter.backward += 1
        objective = self.objective
        seed = objective.loss.gradient(self._predictions, objective.targets) * objective.sample_weights
        return self._pull_back(seed) + objective.regulariser.apply(self.theta)

    def gauss_newton(self, direction: Tensor) -> Tensor:
        """Product of J'HJ, J the derivative of the predictions by (theta, W): one forward, one backward pass."""
        self._meter.forward += 1
        self._meter.backward += 1
        objective = self.objective
        move, outer_move = objective.split(direction)
        change = self._linearization.jvp(move).double() @ self._outer[: objective.network.width]
        change += self._columns @ outer_move
        seed = objective.loss.hessian(self._predictions, change) * objective.sample_weights
        return self._pull_back(seed) + objective.regulariser.apply(direction)

    def curvature_layers(self, generator: torch.Generator) -> list[Layer] | None:
        """The network's layers and W as one more; see `gnvpro.surrogate.objectives.protocol.Point`."""
        objective = self.objective
        signs = 2.0 * torch.randint(0, 2, self._predictions.shape, generator=generator) - 1.0
        root = objective.loss.root(self._predictions, signs.to(self._predictions)) * objective.sample_weights.sqrt()
        seed = (root @ self._outer[: objective.network.width].t()).to(self.theta)
        layers = charged_layers(self._linearization, seed, self._meter)
        if layers is None:
            return None
        last = Layer(
            slice(objective.network.n_theta, objective.n_theta), *(x.to(self.theta) for x in (self._columns, root))
        )
        return [*layers, last]

    @property
    def network_weights(self) -> Tensor:
        """What stands in theta before W."""
        return self._weights

    @property
    def outer(self) -> OuterLayer:
        """W as it is."""
        reduced = self.objective.reduced
        return OuterLayer(self._outer, reduced.rotation if isinstance(reduced, ReducedObjective) else None)

    def training_error(self) -> float:
        """Mean relative L2 error, dropped directions of the targets included; or the share misclassified."""
        reduced, targets = self.objective.reduced, self.objective.targets
        if isinstance(reduced, ReducedClasses):
            return float((self._predictions.argmax(1) != targets.argmax(1)).double().mean())
        squares = ((self._predictions - targets) ** 2).sum(1) + reduced.dropped**2
        return float((squares.sqrt() / reduced.target_norms).mean())

    @cached_property
    def _linearization(self) -> Linearization:
        return self.objective.network.linearize(self._weights, self.objective.inputs)

    @cached_property
    def _columns(self) -> Tensor:
        return torch.cat([self._linearization.features.double(), self.objective.columns], 1)

    @cached_property
    def _predictions(self) -> Tensor:
        return self._columns @ self._outer

    def _pull_back(self, seed: Tensor) -> Tensor:
        return _joined(self._linearization, self._columns, seed, self._outer)


def _joined(at: Linearization, columns: Tensor, seed: Tensor, outer: Tensor) -> Tensor:
    """The adjoint of the derivative of the predictions: (n, k) -> (theta, W)."""
    features = at.features
    by_theta = at.vjp((seed @ outer[: features.shape[1]].t()).to(features))
    return torch.cat([by_theta, (columns.t() @ seed).reshape(-1).to(features)])


@dataclass(frozen=True)
class _Joint:
    """The network's regulariser, and a ridge on W."""

    network: Regulariser
    n_theta: int
    alpha_w: float

    def value(self, theta: Tensor) -> Tensor:
        """See `Regulariser`."""
        outer = theta[self.n_theta :].double()
        return self.network.value(theta[: self.n_theta]) + 0.5 * self.alpha_w * (outer**2).sum()

    def apply(self, direction: Tensor) -> Tensor:
        """See `Regulariser`."""
        n = self.n_theta
        return torch.cat([self.network.apply(direction[:n]), self.alpha_w * direction[n:]])

    def typical(self, where: slice) -> float:
        """See `Regulariser`."""
        return self.alpha_w if where.start >= self.n_theta else self.network.typical(where)
