"""The reduced least-squares objective of many samples, from batches of them.

On a batch W is solved for with a Tikhonov pull to the W of the batch before,

    W_k = argmin_W  1/2 sum_{i in batch} w_i ||W' phi_i - c_i||² + alpha_w/2 ||W||² + lambda_k/2 ||W - W_{k-1}||²,

lambda_k a part of the mean square of the features: W alone from a batch fits the batch, while one that is pulled is a running
solution of all of them. By the envelope theorem the gradient by theta of what is minimised is the plain one at W_k. This is
variable projection with the sampled Tikhonov update of slimTrain at memory depth zero (Newman, Chung, Chung & Ruthotto 2022).
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple, override

import torch
from torch import Tensor

from gnvpro.surrogate.coupling import Coupling
from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer
from gnvpro.surrogate.elimination.losses import random_signs
from gnvpro.surrogate.elimination.protocol import local
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import Linearization
from gnvpro.surrogate.objectives.protocol import OuterLayer, Point
from gnvpro.surrogate.objectives.reduced import ReducedObjective
from gnvpro.surrogate.objectives.rows import Part
from gnvpro.surrogate.objectives.streamed import StreamedObjective, streamed
from gnvpro.surrogate.objectives.work import WorkMeter

# Samples on which points are evaluated that are only watched.
WATCHED = 8192
# Batches are passed through the network in this precision; W is solved for and theta kept in float64.
PASSES = torch.float32


class BatchObjective(ReducedObjective):
    """An `gnvpro.surrogate.objectives.protocol.Objective` of theta for solvers that pay by the batch.

    Points (`at`) are there for reports: evaluated on the first `WATCHED` samples (of several processes, on as many in all),
    W solved for on those alone, at no charge. `at_all` is the point with W of all samples. Targets, weights and
    regularisation are those of `reduced`, the meter is a new one.

    Raises
    ------
    UsageError
        A loss that has no closed form for W, or samples with derivatives.
    """

    def __init__(self, reduced: ReducedObjective | StreamedObjective) -> None:
        if isinstance(reduced, ReducedObjective):
            if not isinstance(reduced.elimination, LeastSquaresLayer):
                raise UsageError(
                    "variable projection on batches works on least squares; take another method for classes"
                )
            if reduced.directions is not None:
                raise UsageError(
                    "expected samples without derivatives for variable projection on batches; leave them out"
                )
        self.whole = streamed(reduced) if isinstance(reduced, ReducedObjective) else reduced.sibling()
        some = self.whole.rows.read(slice(0, math.ceil(WATCHED / self.whole.elimination.coupling.size)))
        super().__init__(reduced.network, some.inputs, _layer_of(some, self.whole), reduced.regulariser)

    @property
    def n_samples(self) -> int:
        """Of the whole set."""
        return self.whole.elimination.n_samples

    @property
    def outer_shape(self) -> tuple[int, int]:
        """(width + q + 1, k), that of W."""
        return self.network.width + self.elimination.columns.shape[1], self.elimination.targets.shape[1]

    @override
    def at(self, theta: Tensor, *, near: Point | None = None, accuracy: float = 0.0) -> Point:
        """The objective of the first samples, not charged."""
        return Point(self, theta, WorkMeter())

    def at_all(self, theta: Tensor) -> Point:
        """The point with W, and the value, of all samples: one forward pass. Its gradient is that of the first samples."""
        self.meter.forward += 1
        return _WholePoint(self, theta, WorkMeter())

    def will_need(self, index: Tensor) -> None:
        """Say which samples the batches after the next ones are of."""
        self.whole.rows.will_need(self._local(index))

    def on_batch(self, theta: Tensor, index: Tensor, outer: Tensor, pull: float) -> Batch:
        """The batch of the samples whose numbers among all are `index`, W pulled towards `outer` (width + q + 1, k).

        `pull` is lambda over the mean square of the batch's columns. Charged as the batch's share of the set, a forward and
        a backward pass.
        """
        share, problem = len(index) / self.n_samples, self.whole.elimination
        self.meter.forward += share
        self.meter.backward += share
        own = self._local(index)
        part = self.whole.rows.at(own)
        at = self.network.linearize(theta.to(PASSES), part.inputs.to(PASSES))
        scale = (part.row_scale / share**0.5).to(PASSES)
        columns = torch.cat([at.features, part.columns.to(PASSES)], 1) * scale
        targets = part.targets.to(PASSES) * scale
        # Normal equations do here: what is pulled has a condition number of at most p / pull.
        gram, right = problem.coupling.sums((columns.t() @ columns).double(), (columns.t() @ targets).double())
        strength = pull * gram.diagonal().mean()
        gram.diagonal().add_(strength + problem.alpha_w)
        # Without a check: features that overflowed give a gradient that is not finite, which ends the fit.
        solved = torch.cholesky_solve(right + strength * outer, torch.linalg.cholesky_ex(gram).L)
        weights = solved.to(PASSES)
        residual = torch.addmm(targets, columns, weights, beta=-1)
        seed = (residual @ weights[: self.network.width].t()) * scale
        gradient = problem.coupling.sum(at.vjp(seed)) + self.regulariser.apply(theta).to(PASSES)
        return Batch(at, scale, solved, gradient, own + problem.first, problem.coupling)

    def _local(self, index: Tensor) -> Tensor:
        return local(self.whole.elimination, len(self.whole.rows), index)


class Batch(NamedTuple):
    """W (width + q + 1, k) at a batch and the gradient by theta there; the linearisation and sqrt of the weights (m, 1).

    W is in float64, everything else in the precision of the passes. `numbers` (m,) are those of this process's samples
    among all.
    """

    linearization: Linearization
    scale: Tensor
    outer: Tensor
    gradient: Tensor
    numbers: Tensor
    coupling: Coupling

    def probe(self, seed: int) -> Tensor:
        """A random seed with the covariance of the Gauss-Newton matrix at fixed W, (m, width)."""
        features, n_targets = self.linearization.features, self.outer.shape[1]
        signs = random_signs(features.new_empty(len(features), n_targets), seed, self.numbers.to(features.device))
        return (signs @ self.outer[: features.shape[1]].t().to(features)) * self.scale


class _WholePoint(Point):
    """A point whose W and value are those of all samples."""

    @cached_property
    def _of_all(self) -> Point:
        assert isinstance(self.objective, BatchObjective)
        return self.objective.whole.at(self.theta)

    @override
    def value_and(self, *scalars: Tensor) -> list[float]:
        return self._of_all.value_and(*scalars)

    @property
    @override
    def outer(self) -> OuterLayer:
        return self._of_all.outer


def _layer_of(part: Part, whole: StreamedObjective) -> LeastSquaresLayer:
    """The inner problem of some of the samples alone, in the same coordinates of the targets."""
    problem = whole.elimination
    weights = part.row_scale[:, 0] * math.sqrt(problem.n_samples)
    layer = LeastSquaresLayer(
        part.targets, weights, problem.alpha_w, part.columns[:, :-1], norms=part.norms, coupling=problem.coupling
    )
    layer.curvature, layer.rotation, layer.dropped = problem.curvature, problem.rotation, part.dropped
    return layer
