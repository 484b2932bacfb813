"""The contract between solvers and what they minimise: an objective, and its points.

Solvers see a flat vector `theta`, a value, a gradient and products with a positive semidefinite curvature; they never
see the loss. The reduced objective (`gnvpro.surrogate.objectives.reduced`) eliminates W; the full one
(`gnvpro.surrogate.objectives.full`) keeps it in theta. Points are evaluated on demand, and the meter is charged where
that happens.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor

from gnvpro.surrogate.elimination.protocol import InnerProblem, Solution
from gnvpro.surrogate.networks.protocol import FeatureNetwork, Layer, LayeredLinearization, Linearization
from gnvpro.surrogate.objectives.gram import LayerSum, gram_by_products, regulariser_matrix, structured_gram
from gnvpro.surrogate.objectives.regularisation import Regulariser
from gnvpro.surrogate.objectives.work import WorkMeter
from gnvpro.surrogate.transfer import numbers

# Directions whose change of W is remembered: a trust region's Krylov basis is smaller.
_REMEMBERED = 64


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


class Objective(Protocol):
    """What a solver minimises."""

    network: FeatureNetwork
    meter: WorkMeter
    regulariser: Regulariser

    @property
    def elimination(self) -> InnerProblem:
        """The inner problem."""
        ...

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

    def network_weights(self, theta: Tensor) -> Tensor:
        """The part of theta that belongs to the feature network."""
        ...

    def linearize(self, theta: Tensor, samples: slice = slice(None)) -> Linearization:
        """What depends on theta before anything is solved for, at some of the samples: `elimination.group` rows of each."""
        ...

    def solve(self, theta: Tensor, features: Tensor, start: Tensor | None, accuracy: float) -> Solution:
        """The loss at what `linearize` gave, with the last layer that belongs to it."""
        ...

    def batch_gradient(self, theta: Tensor, index: Tensor) -> Tensor:
        """An unbiased estimate of the gradient by samples, whose numbers among all are `index`; charged as their share.

        Raises
        ------
        UsageError
            Where all samples are coupled, by a last layer that is solved for.
        """
        ...


class Point:
    """An objective at one theta, everything made on demand.

    Parameters
    ----------
    start, accuracy
        Of an inner solve, see `gnvpro.surrogate.elimination.protocol.Elimination.solve`.
    meter
        Charged for what is asked of the point.
    """

    def __init__(
        self, objective: Objective, theta: Tensor, meter: WorkMeter, start: Tensor | None = None, accuracy: float = 0.0
    ) -> None:
        self.objective, self.theta, self._meter = objective, theta, meter
        self._solve_with, self._inner, self._value = (start, accuracy), cast(Solution | None, None), math.nan
        self._responses: deque[tuple[Tensor, Tensor]] = deque(maxlen=_REMEMBERED)

    @property
    def value(self) -> float:
        """The objective; not finite where the features are not, or where the last layer was not found.

        A solver steps back from such a point: its gradient by the envelope theorem would be wrong.
        """
        return self.value_and()[0]

    def value_and(self, *scalars: Tensor) -> list[float]:
        """The value, then numbers that are read from the device with it."""
        if self._inner is not None:
            return [self._value, *(numbers(*scalars) if scalars else ())]
        features, of_theta = self._linearization.features, self.objective.regulariser.value(self.theta)
        solution = self.objective.solve(self.theta, features, *self._solve_with)
        value, *rest = numbers(solution.value + of_theta, *scalars)
        self._inner = solution.settled(value, features)
        if self._inner is not solution:
            value = float(self._inner.value + of_theta)
        self._value = value if self._inner.converged else math.nan
        return [self._value, *rest]

    @cached_property
    def gradient_norm(self) -> float:
        """Euclidean norm of the gradient."""
        return self.gradient_norm_and()[0]

    def gradient_norm_and(self, *scalars: Tensor) -> list[float]:
        """The norm of the gradient, then numbers that are read from the device with it."""
        norm, *rest = numbers(torch.linalg.vector_norm(self.gradient), *scalars)
        self.gradient_norm = norm
        return [norm, *rest]

    @cached_property
    def gradient(self) -> Tensor:
        """By theta, (n_theta,): one backward pass. Exact as far as the last layer is."""
        self._meter.backward += 1
        return self._pull_back(self.inner.feature_gradient()) + self.objective.regulariser.apply(self.theta)

    def gauss_newton(self, direction: Tensor, kind: str | None = None) -> Tensor:
        """Product of the curvature with a direction, (n_theta,): one forward, one backward pass.

        The change of the last layer that goes with the direction is remembered for `predicted_outer`.

        Parameters
        ----------
        kind
            A curvature of the elimination (`gnvpro.surrogate.elimination`); None for its own.
        """
        self._meter.forward += 1
        self._meter.backward += 1
        seed, response = self.inner.curvature_product(self._linearization.jvp(direction), kind)
        if response is not None:
            self._responses.append((direction.clone(), response))
        return self._pull_back(seed) + self.objective.regulariser.apply(direction)

    def gauss_newton_matrix(self, kind: str | None = None) -> Tensor:
        """The curvature as a matrix, (n_theta, n_theta) in float64, for few weights; of `matrix_curvature` if not said.

        Structured where the network shows its layers and the curvature has such a form
        (`gnvpro.surrogate.objectives.gram`): for every term one forward pass and as many backward passes as seeds are
        pulled back, which are rank(W), and for Golub-Pereyra the rank of the features besides. Otherwise by products
        with the identity.
        """
        objective, kind = self.objective, kind or self.objective.elimination.matrix_curvature
        terms = self.inner.gram_terms(kind) if isinstance(self._linearization, LayerSum) else None
        if terms is None:
            return gram_by_products(lambda v: self.gauss_newton(v, kind), len(self.theta), self.theta).double()

        def linearize(samples: slice) -> LayerSum:
            linearization = objective.linearize(self.theta, samples)
            assert isinstance(linearization, LayerSum)
            return linearization

        inner = objective.elimination
        matrix = sum(structured_gram(linearize, term, inner.group, inner.coupling) for term in terms)
        assert isinstance(matrix, Tensor)
        self._meter.forward += len(terms)
        self._meter.backward += sum(len(term.seeds) for term in terms)
        return matrix.add_(regulariser_matrix(objective.regulariser, self.theta))

    def curvature_layers(self, seed: int) -> list[Layer] | None:
        """Layers with sensitivities to a random seed whose covariance is the curvature at fixed W; None if unknown."""
        return self.layers(self.inner.probe(seed))

    def layer_chunks(self, seed: int) -> Callable[[], Iterable[list[Layer]]] | None:
        """The same some samples at a time, as often as called; here all at once."""
        layers = self.curvature_layers(seed)
        return None if layers is None else lambda: [layers]

    def layers(self, seed: Tensor) -> list[Layer] | None:
        """Layers with sensitivities to a seed (n, width): what a Kronecker-factored metric is made of.

        One backward pass, and the forward passes that the network takes to show its layers; nothing is charged where it
        shows none.
        """
        at = self._linearization
        if not isinstance(at, LayeredLinearization):
            return None
        layers = at.layers(seed.to(at.features))
        if layers is not None:
            self._meter.backward += 1
            self._meter.forward += at.layer_forwards
        return layers

    def predicted_outer(self, theta: Tensor) -> Tensor:
        """W at another theta to first order, as far as previous curvature products determine it.

        The inner solve there starts from it. The step is resolved in the directions of those products by least squares;
        what is outside of their span is taken not to move W.
        """
        if not self._responses:
            return self.inner.outer
        directions = torch.stack([direction for direction, _ in self._responses])
        gram, along = (directions @ directions.t()).double(), (directions @ (theta - self.theta)).double()
        # Directions may be dependent; a ridge at the level of rounding keeps the system solvable.
        gram.diagonal().add_(1e-6 * gram.diagonal().mean())
        coordinates = torch.linalg.solve(gram, along)
        changes = torch.stack([change for _, change in self._responses])
        return self.inner.outer + torch.tensordot(coordinates.to(changes), changes, 1)

    @property
    def network_weights(self) -> Tensor:
        """The part of theta that belongs to the feature network."""
        return self.objective.network_weights(self.theta)

    @property
    def outer(self) -> OuterLayer:
        """The last layer at this point."""
        return OuterLayer(self.inner.outer, self.objective.elimination.rotation)

    @property
    def outer_weights(self) -> Tensor:
        """The last layer in the coordinates of the targets, (n_out, width + q + 1): features, fixed columns, bias."""
        return self.outer.weights

    def training_error(self) -> float:
        """Mean relative L2 error, or the share of misclassified samples, on the training samples."""
        return self.inner.training_error()

    @cached_property
    def _linearization(self) -> Linearization:
        return self.objective.linearize(self.theta)

    @property
    def inner(self) -> Solution:
        """The last layer, solved for or as it is."""
        if self._inner is None:
            Point.value_and(self)
        assert self._inner is not None
        return self._inner

    def release(self) -> None:
        """Let go of what has the size of the samples, and is made again with the same bits, at no charge, where needed.

        What an iterative solve gave stays: another would end elsewhere.
        """
        self.__dict__.pop("_linearization", None)
        if not self.objective.elimination.is_iterative:
            self._inner = None

    def _pull_back(self, seed: Tensor) -> Tensor:
        at = self._linearization
        return self.objective.elimination.coupling.sum(at.vjp(seed.to(at.features)))
