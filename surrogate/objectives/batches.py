"""The reduced least-squares objective of many samples, from batches of them.

On a batch W is solved for with a Tikhonov pull to the W of the batch before,

    W_k = argmin_W  1/2 sum_{i in batch} w_i ||W' phi_i - c_i||² + alpha_w/2 ||W||² + lambda_k/2 ||W - W_{k-1}||²,

lambda_k a part of the mean square of the features: W alone from a batch fits the batch, while one that is pulled is a running
solution of all of them. By the envelope theorem the gradient by theta of what is minimised is the plain one at W_k. This is
variable projection with the sampled Tikhonov update of slimTrain at memory depth zero (Newman, Chung, Chung & Ruthotto 2022).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple, override

import torch
from torch import Tensor

from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer
from gnvpro.surrogate.elimination.losses import random_signs
from gnvpro.surrogate.elimination.streamed import StreamedSolution, solve_streamed
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import Linearization
from gnvpro.surrogate.objectives.protocol import OuterLayer, Point
from gnvpro.surrogate.objectives.reduced import ReducedObjective
from gnvpro.surrogate.objectives.work import WorkMeter
from gnvpro.surrogate.transfer import numbers

# Samples whose features are in memory at one time, and those on which points are evaluated that are only watched.
CHUNK, WATCHED = 8192, 8192
# Batches are passed through the network in this precision; W is solved for and theta kept in float64.
PASSES = torch.float32


class BatchObjective(ReducedObjective):
    """An `gnvpro.surrogate.objectives.protocol.Objective` of theta for solvers that pay by the batch.

    Points (`at`) are there for reports: evaluated on the first `WATCHED` samples, W solved for on those alone, at no charge.
    `at_all` is the point with W of all samples. Targets, weights and regularisation are those of `reduced`, the meter is a
    new one.

    Raises
    ------
    UsageError
        A loss that has no closed form for W, or samples with derivatives.
    """

    def __init__(self, reduced: ReducedObjective) -> None:
        if not isinstance(reduced.elimination, LeastSquaresLayer):
            raise UsageError("variable projection on batches works on least squares; take another method for classes")
        if reduced.directions is not None:
            raise UsageError("expected samples without derivatives for variable projection on batches; leave them out")
        some = slice(WATCHED)
        super().__init__(reduced.network, reduced.inputs[some], reduced.elimination.of_rows(some), reduced.regulariser)
        self.whole, self._layer = reduced.sibling(), reduced.elimination
        self._passed = reduced.inputs.to(PASSES)

    @property
    def n_samples(self) -> int:
        """Of the whole set."""
        return len(self.whole.inputs)

    @property
    def outer_shape(self) -> tuple[int, int]:
        """(width + q + 1, k), that of W."""
        return self.network.width + self._layer.columns.shape[1], self._layer.targets.shape[1]

    @override
    def at(self, theta: Tensor, *, near: Point | None = None, accuracy: float = 0.0) -> Point:
        """The objective of the first samples, not charged."""
        return Point(self, theta, WorkMeter())

    def at_all(self, theta: Tensor) -> Point:
        """The point with W, and the value, of all samples: one forward pass. Its gradient is that of the first samples."""
        self.meter.forward += 1
        return _WholePoint(self, theta, WorkMeter())

    def on_batch(self, theta: Tensor, index: Tensor, outer: Tensor, pull: float) -> Batch:
        """The batch of the samples at `index`, W pulled towards `outer` (width + q + 1, k).

        `pull` is lambda over the mean square of the batch's columns. Charged as the batch's share of the set, a forward and
        a backward pass.
        """
        share, layer = len(index) / self.n_samples, self._layer
        self.meter.forward += share
        self.meter.backward += share
        at = self.network.linearize(theta.to(PASSES), self._passed[index])
        scale = (layer.row_scale[index] / share**0.5).to(PASSES)
        columns = torch.cat([at.features, layer.columns[index].to(PASSES)], 1) * scale
        targets = layer.targets[index].to(PASSES) * scale
        # Normal equations do here: what is pulled has a condition number of at most p / pull.
        gram = (columns.t() @ columns).double()
        strength = pull * float(gram.diagonal().mean())
        right = (columns.t() @ targets).double() + strength * outer
        gram.diagonal().add_(strength + layer.alpha_w)
        # Without a check: features that overflowed give a gradient that is not finite, which ends the fit.
        solved = torch.cholesky_solve(right, torch.linalg.cholesky_ex(gram).L)
        weights = solved.to(PASSES)
        residual = torch.addmm(targets, columns, weights, beta=-1)
        seed = (residual @ weights[: self.network.width].t()) * scale
        gradient = at.vjp(seed) + self.regulariser.apply(theta).to(PASSES)
        return Batch(at, scale, solved, gradient)


class Batch(NamedTuple):
    """W (width + q + 1, k) at a batch and the gradient by theta there; the linearisation and sqrt of the weights (m, 1).

    W is in float64, everything else in the precision of the passes.
    """

    linearization: Linearization
    scale: Tensor
    outer: Tensor
    gradient: Tensor

    def probe(self, seed: int) -> Tensor:
        """A random seed with the covariance of the Gauss-Newton matrix at fixed W, (m, width)."""
        features, n_targets = self.linearization.features, self.outer.shape[1]
        signs = random_signs(features.new_empty(len(features), n_targets), seed)
        return (signs @ self.outer[: features.shape[1]].t().to(features)) * self.scale


class _WholePoint(Point):
    """A point whose W and value are those of all samples."""

    @cached_property
    def _solved(self) -> StreamedSolution:
        assert isinstance(self.objective, BatchObjective)
        return solve_whole(self.objective.whole, self.theta)

    @override
    def value_and(self, *scalars: Tensor) -> list[float]:
        return numbers(self._solved.value + self.objective.regulariser.value(self.theta), *scalars)

    @property
    @override
    def outer(self) -> OuterLayer:
        return OuterLayer(self._solved.outer, self.objective.elimination.rotation)


def solve_whole(reduced: ReducedObjective, theta: Tensor) -> StreamedSolution:
    """W (width + q + 1, k) of a reduced least-squares objective at theta, and the loss there, in chunks; not charged."""
    layer = reduced.elimination
    assert isinstance(layer, LeastSquaresLayer)
    features = reduced.network.bind(theta)

    def chunks() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(reduced.inputs), CHUNK):
            rows = slice(start, start + CHUNK)
            columns = torch.cat([features(reduced.inputs[rows]).double(), layer.columns[rows]], 1)
            yield columns.mul_(layer.row_scale[rows]), layer.targets[rows] * layer.row_scale[rows]

    with torch.no_grad():
        return solve_streamed(chunks(), layer.alpha_w)
