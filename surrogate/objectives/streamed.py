"""The reduced least-squares objective of samples that do not fit in memory.

A point passes over the samples in chunks. The first pass is the TSQR of features and targets, from which W and the value
follow; the features are not kept. A gradient is a second pass, in which they are made anew and the seeds pulled back; a
product with the Gauss-Newton matrix is two, as the projector needs a sum over all samples first. The meter counts as
where all is in memory: what is made anew is the price of the memory, not another method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple, override

import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.elimination.least_squares import GaussNewtonKind, LeastSquaresLayer
from gnvpro.surrogate.elimination.losses import LeastSquares, Loss, random_signs
from gnvpro.surrogate.elimination.partial import require_complete
from gnvpro.surrogate.elimination.protocol import Solution
from gnvpro.surrogate.elimination.streamed import StreamedSolution, solve_streamed
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import FeatureNetwork, Layer, LayeredLinearization, Linearization
from gnvpro.surrogate.objectives.protocol import OuterLayer, Point
from gnvpro.surrogate.objectives.reduced import ReducedObjective
from gnvpro.surrogate.objectives.regularisation import Regulariser, as_regulariser
from gnvpro.surrogate.objectives.rows import Part, Rows, RowsInMemory, rows_at_once
from gnvpro.surrogate.objectives.work import WorkMeter
from gnvpro.surrogate.transfer import numbers

# Of a chunk, numbers a sample for every weight-carrying unit: activations, slopes, what is pulled back.
_PER_UNIT = 4


class StreamedLayer:
    """What there is to say of the inner problem without its rows: see `gnvpro.surrogate.elimination.protocol.Elimination`."""

    matrix_curvature = "kaufman"
    is_iterative = False
    group = 1

    def __init__(
        self,
        n_samples: int,
        rotation: Tensor | None,
        alpha_w: float,
        curvature: GaussNewtonKind = "golub-pereyra",
        coupling: Coupling = ALONE,
    ) -> None:
        self.loss: Loss = LeastSquares()
        self.rotation, self.alpha_w, self.coupling = rotation, alpha_w, coupling
        self.curvature: GaussNewtonKind = curvature
        self.first, self.n_samples = coupling.place(n_samples)


class StreamedObjective:
    """An `gnvpro.surrogate.objectives.protocol.Objective` of theta alone; counts its own work.

    Parameters
    ----------
    rows
        The samples of this process, whose targets are compressed by the `layer`'s rotation.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        rows: Rows,
        layer: StreamedLayer,
        alpha_theta: float | Regulariser,
        meter: WorkMeter | None = None,
    ) -> None:
        self.network, self.rows, self.layer = network, rows, layer
        self.regulariser = as_regulariser(alpha_theta)
        self.meter = WorkMeter() if meter is None else meter
        first = rows.read(slice(0, 1))
        self.rotation = (
            torch.eye(first.targets.shape[1]).to(first.targets) if layer.rotation is None else layer.rotation
        )
        # Features with what they take on the way there; a network whose units are not known has its weights' square root.
        units = sum(getattr(network, "widths", (network.width, int(network.n_theta**0.5))))
        n_numbers = _PER_UNIT * units + 3 * network.width + 3 * first.targets.shape[1] + first.inputs.shape[1]
        self.at_once = rows_at_once(n_numbers)

    @property
    def elimination(self) -> StreamedLayer:
        """The inner problem."""
        return self.layer

    def sibling(
        self,
        network: FeatureNetwork | None = None,
        rows: Rows | None = None,
        alpha_theta: float | Regulariser | None = None,
    ) -> StreamedObjective:
        """The same problem, for another network maybe, with a meter of its own."""
        return StreamedObjective(
            self.network if network is None else network,
            self.rows if rows is None else rows,
            self.layer,
            self.regulariser if alpha_theta is None else alpha_theta,
        )

    def at(self, theta: Tensor, *, near: Point | None = None, accuracy: float = 0.0) -> StreamedPoint:
        """The objective at theta, one pass over the samples when its value is asked for."""
        self.meter.forward += 1
        return StreamedPoint(self, theta)

    def network_weights(self, theta: Tensor) -> Tensor:
        """All of theta: W is not in it."""
        return theta

    def parts(self) -> Iterator[Part]:
        """The samples, chunk by chunk."""
        return self.rows.ahead(self.at_once)

    def linearize(self, theta: Tensor, samples: slice = slice(None)) -> Linearization:
        """The network at some of this process's samples, all of which are in memory then."""
        begin, end, _ = samples.indices(len(self.rows))
        return self.network.linearize(theta, self.rows.read(slice(begin, end)).inputs)

    def solve(self, theta: Tensor, features: Tensor, start: Tensor | None, accuracy: float) -> Solution:
        """None is kept."""
        raise UsageError(
            "the features of streamed samples are never there together; ask the point for what is to be known"
        )

    def batch_gradient(self, theta: Tensor, index: Tensor) -> Tensor:
        """None exists."""
        raise UsageError("minibatches need a FullObjective; here the last layer is solved for on all samples together")


class _Chunk(NamedTuple):
    """Some samples at a point: network, weighted columns (m, p) with the features first, and A W - B (m, k)."""

    at: Linearization
    part: Part
    columns: Tensor
    residual: Tensor


class StreamedPoint(Point):
    """An objective at one theta, by passes over the samples."""

    objective: StreamedObjective

    def __init__(self, objective: StreamedObjective, theta: Tensor) -> None:
        super().__init__(objective, theta, objective.meter)

    @cached_property
    def _solved(self) -> StreamedSolution:
        objective, bound = self.objective, self.objective.network.bind(self.theta)
        with torch.no_grad():
            rows = (
                (weighted_columns(bound(part.inputs), part), part.targets * part.row_scale)
                for part in objective.parts()
            )
            return solve_streamed(rows, objective.elimination.alpha_w, objective.elimination.coupling)

    @override
    def value_and(self, *scalars: Tensor) -> list[float]:
        return numbers(self._solved.value + self.objective.regulariser.value(self.theta), *scalars)

    @property
    @override
    def outer(self) -> OuterLayer:
        return OuterLayer(self._solved.outer, self.objective.elimination.rotation)

    @cached_property
    @override
    def gradient(self) -> Tensor:
        self._meter.backward += 1
        return self._pulled_back[0] + self.objective.regulariser.apply(self.theta)

    @override
    def training_error(self) -> float:
        return self._pulled_back[1]

    @cached_property
    def _pulled_back(self) -> tuple[Tensor, float]:
        """Gradient of the loss, and the mean relative error of the samples, which the same pass tells."""
        weights, layer = self._of_features, self.objective.elimination
        gradient, errors = torch.zeros_like(self.theta, dtype=torch.float64), torch.zeros(1).to(weights)
        for at, part, _, residual in self._chunks():
            seed = (residual @ weights.t()) * part.row_scale
            gradient += at.vjp(seed.to(at.features))
            squares = ((residual / part.row_scale) ** 2).sum(1) + part.dropped**2
            errors += (squares.sqrt() / part.norms).sum()
        gradient, errors = layer.coupling.sums(gradient, errors)
        return gradient.to(self.theta), float(errors) / layer.n_samples

    @override
    def gauss_newton(self, direction: Tensor, kind: str | None = None) -> Tensor:
        self._meter.forward += 1
        self._meter.backward += 1
        layer, weights = self.objective.elimination, self._of_features
        gram, inverse = weights @ weights.t(), self._solved.inverse[: len(weights)]
        is_full = (kind or layer.curvature) == "golub-pereyra"
        along, crossed = torch.zeros(()).to(weights), torch.zeros(()).to(weights)
        for at, part, columns, residual in self._chunks():
            change = at.jvp(direction).double() * part.row_scale
            along = along + columns.t() @ (change @ gram)
            crossed = crossed + residual.t() @ change
        along, crossed = layer.coupling.sums(along, crossed)
        along, crossed = self._solved.inverse @ (self._solved.inverse.t() @ along), crossed @ (inverse @ inverse.t())
        product = torch.zeros_like(self.theta, dtype=torch.float64)
        for at, part, columns, residual in self._chunks():
            seed = (at.jvp(direction).double() * part.row_scale) @ gram - columns @ along
            if is_full:
                seed += residual @ crossed
            product += at.vjp((seed * part.row_scale).to(at.features))
        product = layer.coupling.sum(product)
        return product.to(self.theta) + self.objective.regulariser.apply(direction)

    @override
    def layer_chunks(self, seed: int) -> Callable[[], Iterator[list[Layer]]] | None:
        weights, first = self._of_features, self.objective.elimination.first
        if not isinstance(next(self._chunks()).at, LayeredLinearization):
            return None

        def layers() -> Iterator[list[Layer]]:
            done = first
            for at, part, _, residual in self._chunks():
                assert isinstance(at, LayeredLinearization)
                signs = random_signs(residual, seed, done) @ weights.t() * part.row_scale
                done += len(residual)
                yield at.layers(signs.to(at.features)) or []

        self._meter.backward += 1
        return layers

    @property
    def _of_features(self) -> Tensor:
        return self._solved.outer[: self.objective.network.width]

    def _chunks(self) -> Iterator[_Chunk]:
        outer, network = self._solved.outer, self.objective.network
        for part in self.objective.parts():
            at = network.linearize(self.theta, part.inputs)
            columns = weighted_columns(at.features, part)
            residual = torch.addmm(part.targets * part.row_scale, columns, outer, beta=-1)
            yield _Chunk(at, part, columns, residual)


def weighted_columns(features: Tensor, part: Part) -> Tensor:
    """A, (m, p): features and what stands beside them, times the weights."""
    return torch.cat([features.double(), part.columns], 1).mul_(part.row_scale)


def streamed(reduced: ReducedObjective) -> StreamedObjective:
    """The same problem in passes over the samples in memory, with a meter of its own."""
    layer = reduced.elimination
    assert isinstance(layer, LeastSquaresLayer)
    require_complete(layer, "training on batches, or in passes over the samples,")
    about = StreamedLayer(len(reduced.inputs), layer.rotation, layer.alpha_w, layer.curvature, layer.coupling)
    return StreamedObjective(reduced.network, RowsInMemory(reduced.inputs, layer), about, reduced.regulariser)
