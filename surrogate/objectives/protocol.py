"""The contract between solvers and what they minimise: an objective, and its points.

Solvers see a flat vector `theta`, a value, a gradient and products with a positive semidefinite curvature; they never
see the loss. The reduced objectives (`gnvpro.surrogate.objectives.reduced_least_squares`,
`gnvpro.surrogate.objectives.reduced_cross_entropy`) eliminate W; the full objective
(`gnvpro.surrogate.objectives.full`) keeps it in theta. Points are evaluated on demand, and the meter is charged where
that happens.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from gnvpro.surrogate.networks.protocol import FeatureNetwork, Layer
from gnvpro.surrogate.objectives.regularisation import Regulariser
from gnvpro.surrogate.objectives.work import WorkMeter


class OuterLayer(NamedTuple):
    """The last layer of a point, kept as it came: rotating it back to many outputs costs more than a step.

    weights (width + q + 1, k): features, fixed columns, bias; rotation (k, n_out), or None where k = n_out.
    """

    compressed: Tensor
    rotation: Tensor | None = None

    @property
    def weights(self) -> Tensor:
        """W in the coordinates of the targets, (n_out, width + q + 1)."""
        full = self.compressed if self.rotation is None else self.compressed @ self.rotation
        return full.t()


class Point(Protocol):
    """An objective at one theta."""

    theta: Tensor

    @property
    def objective(self) -> Objective:
        """What this is a point of."""
        ...

    @property
    def value(self) -> float:
        """The objective; not finite where the features are not."""
        ...

    @property
    def gradient(self) -> Tensor:
        """By theta, (n_theta,)."""
        ...

    def gauss_newton(self, direction: Tensor) -> Tensor:
        """Product of the curvature with a direction, (n_theta,) -> (n_theta,)."""
        ...

    def curvature_layers(self, generator: torch.Generator) -> list[Layer] | None:
        """Layers with random sensitivities whose covariance is the curvature; None where the network shows none.

        One backward pass of a random seed; what a Kronecker-factored metric is made of.
        """
        ...

    @property
    def network_weights(self) -> Tensor:
        """The part of theta that belongs to the feature network."""
        ...

    @property
    def outer(self) -> OuterLayer:
        """The last layer at this point."""
        ...

    def training_error(self) -> float:
        """Mean relative L2 error, or the share of misclassified samples, on the training samples."""
        ...


class Objective(Protocol):
    """What a solver minimises."""

    network: FeatureNetwork
    meter: WorkMeter
    regulariser: Regulariser

    def at(self, theta: Tensor, *, near: Point | None = None, accuracy: float = 0.0) -> Point:
        """The objective at theta: one forward pass; whatever else is asked of the point is charged when asked.

        Parameters
        ----------
        near
            A point whose inner solution may start an iterative inner solve.
        accuracy
            Error of the value that the caller can bear, such as a thousandth of the reduction it predicts; zero
            asks for the best. An inner problem in closed form ignores both.
        """
        ...
