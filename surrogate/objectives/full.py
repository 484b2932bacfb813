"""The full objective: the same problem as a reduced one, with W kept among the variables.

    phi(theta, W) = sum_i w_i loss(W' phi_i, c_i) + alpha_w/2 ||W||² + alpha_theta/2 ||L theta||²

What training without variable projection minimises, and so what the methods that do not eliminate W are compared on. At
W(theta) it is the reduced objective. In it a point's "features" are the predictions, which depend on all of the variables,
and nothing is left to be solved for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self, override

import torch
from torch import Tensor

from gnvpro.surrogate.elimination.losses import random_signs
from gnvpro.surrogate.elimination.partial import require_complete
from gnvpro.surrogate.elimination.protocol import Elimination, local
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import Layer, LayeredLinearization, Linearization
from gnvpro.surrogate.networks.tangents import of_samples
from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.surrogate.objectives.reduced import ReducedObjective
from gnvpro.surrogate.objectives.regularisation import Regulariser
from gnvpro.surrogate.objectives.work import WorkMeter

Start = Literal["solved", "random"]


class FullObjective:
    """An `gnvpro.surrogate.objectives.protocol.Objective` of (theta, W); counts its own work.

    Its variables are one vector: the network's weights, then W (width + q + 1, k) row by row, in the coordinates of the
    compressed targets where `reduced` compresses them. Samples, weights and regularisation are those of `reduced`, so
    values are comparable; the meter is a new one.

    Parameters
    ----------
    watched
        Points are evaluated only for reports, and cost nothing: a stochastic method pays for its minibatches
        (`batch_gradient`) alone.
    """

    def __init__(self, reduced: ReducedObjective, watched: bool = False) -> None:
        require_complete(reduced.elimination, "training that keeps the last layer among the variables")
        self.reduced = reduced.sibling()
        self.meter, self.watched = self.reduced.meter, watched
        self.network, self.inputs, self.elimination = reduced.network, reduced.inputs, self.reduced.elimination
        n_columns, n_targets = self.elimination.columns.shape[1], self.elimination.targets.shape[1]
        self.outer_shape = self.network.width + n_columns, n_targets
        self.regulariser: Regulariser = _Joint(reduced.regulariser, self.network.n_theta, self.elimination.alpha_w)

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

    def at(self, theta: Tensor, *, near: Point | None = None, accuracy: float = 0.0) -> Point:
        """The objective at (theta, W); nothing is solved, so `near` and `accuracy` are ignored."""
        if theta.shape != (self.n_theta,):
            raise UsageError(
                f"expected {self.n_theta} variables ({self.network.n_theta} of the network, then W "
                f"{self.outer_shape}), got shape {tuple(theta.shape)}; see `start`"
            )
        meter = WorkMeter() if self.watched else self.meter
        meter.forward += 1
        return Point(self, theta, meter)

    def network_weights(self, theta: Tensor) -> Tensor:
        """What stands in theta before W."""
        return theta[: self.network.n_theta]

    def linearize(self, theta: Tensor, samples: slice | Tensor = slice(None)) -> _Predictions:
        """The predictions at (theta, W)."""
        weights, outer = self.split(theta)
        at, inner = self.reduced.linearize(weights, samples), self.elimination
        columns = torch.cat([at.features.double(), of_samples(inner.columns, inner.group, samples)], 1)
        return _Predictions(self, at, columns, outer, columns @ outer)

    def solve(self, theta: Tensor, features: Tensor, start: Tensor | None, accuracy: float) -> _Kept:
        """The loss of the predictions."""
        return _Kept(self.elimination, features, self.split(theta)[1])

    def batch_gradient(self, theta: Tensor, index: Tensor) -> Tensor:
        """Gradient on the samples at `index`, numbers among all; an unbiased estimate, charged as their share of the set."""
        inner = self.elimination
        n, size, index = inner.n_samples, len(index), local(inner, len(self.inputs), index)
        self.meter.forward += size / n
        self.meter.backward += size / n
        at = self.linearize(theta, index)
        targets, weights = (of_samples(rows, inner.group, index) for rows in (inner.targets, inner.sample_weights))
        seed = inner.loss.gradient(at.features, targets) * weights
        seed *= n / size
        return inner.coupling.sum(at.vjp(seed)).add_(self.regulariser.apply(theta))


@dataclass(frozen=True, eq=False)
class _Predictions(LayeredLinearization):
    """The predictions [Z, P] W as a linearisation by (theta, W): W is one layer more."""

    objective: FullObjective
    network: Linearization
    columns: Tensor
    outer: Tensor
    predictions: Tensor

    @property
    @override
    def features(self) -> Tensor:
        return self.predictions

    @override
    def jvp(self, direction: Tensor) -> Tensor:
        move, outer_move = self.objective.split(direction)
        change = self.network.jvp(move).double() @ self._of_features
        return change.add_(self.columns @ outer_move)

    @override
    def vjp(self, seed: Tensor) -> Tensor:
        features = self.network.features
        by_theta = self.network.vjp((seed @ self._of_features.t()).to(features))
        return torch.cat([by_theta, (self.columns.t() @ seed).reshape(-1).to(features)])

    @property
    @override
    def layer_forwards(self) -> int:
        return self.network.layer_forwards if isinstance(self.network, LayeredLinearization) else 0

    @override
    def layers(self, seed: Tensor) -> list[Layer] | None:
        if not isinstance(self.network, LayeredLinearization):
            return None
        features, objective = self.network.features, self.objective
        layers = self.network.layers((seed @ self._of_features.t()).to(features))
        if layers is None:
            return None
        places = slice(objective.network.n_theta, objective.n_theta)
        return [*layers, Layer(places, self.columns.to(features), seed.to(features))]

    @property
    def _of_features(self) -> Tensor:
        return self.outer[: self.network.features.shape[1]]


@dataclass(frozen=True, eq=False)
class _Kept:
    """The loss at given predictions, `gnvpro.surrogate.elimination.protocol.Solution` where W is a variable."""

    elimination: Elimination
    predictions: Tensor
    outer: Tensor
    converged = True

    @property
    def value(self) -> Tensor:
        """The loss alone: the regularisation of W is part of that of the variables."""
        inner = self.elimination
        return inner.coupling.sum(inner.sample_weights[:, 0] @ inner.loss.value(self.predictions, inner.targets))

    def settled(self, value: float, features: Tensor) -> Self:
        """Itself."""
        return self

    def feature_gradient(self) -> Tensor:
        """By the predictions."""
        inner = self.elimination
        return inner.loss.gradient(self.predictions, inner.targets) * inner.sample_weights

    def curvature_product(self, change: Tensor, kind: str | None = None) -> tuple[Tensor, None]:
        """H times a change of the predictions, for J'HJ; there is no other kind."""
        return self.elimination.loss.hessian(self.predictions, change) * self.elimination.sample_weights, None

    def gram_terms(self, kind: str) -> None:
        """None: a dense matrix is made of products."""

    def probe(self, seed: int) -> Tensor:
        """A square root of H times random signs."""
        inner = self.elimination
        signs = random_signs(self.predictions, seed, inner.first * inner.group)
        return inner.loss.root(self.predictions, signs) * inner.sample_weights.sqrt()

    def training_error(self) -> float:
        """See `Elimination.training_error`."""
        return self.elimination.training_error(self.predictions)


@dataclass(frozen=True)
class _Joint(Regulariser):
    """The network's regulariser, and a ridge on W."""

    network: Regulariser
    n_theta: int
    alpha_w: float

    @override
    def value(self, theta: Tensor) -> Tensor:
        outer = theta[self.n_theta :].double()
        return self.network.value(theta[: self.n_theta]) + 0.5 * self.alpha_w * (outer**2).sum()

    @override
    def apply(self, direction: Tensor) -> Tensor:
        n = self.n_theta
        return torch.cat([self.network.apply(direction[:n]), self.alpha_w * direction[n:]])

    @override
    def mean_diagonal(self, where: slice) -> float:
        return self.alpha_w if where.start >= self.n_theta else self.network.mean_diagonal(where)
