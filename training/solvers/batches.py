"""Variable projection on batches: W by a pulled solve on every batch, theta by Adam in Kronecker-factored coordinates.

Adam's second moments are those of the gradient in the eigenbases of each layer's Kronecker factors (the sums of h'h and g'g
of `gnvpro.training.solvers.kronecker_metric`), as SOAP has them (Vyas et al. 2024) for the factors of Shampoo. For layers
that are no plain matrices, or that the network does not show, they are those of the gradient itself. W at a batch is that of
`gnvpro.surrogate.objectives.batches`; at the end of the budget it is solved for on all samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import Layer, LayeredLinearization
from gnvpro.surrogate.objectives.batches import PASSES, Batch, BatchObjective
from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.training.solvers.first_order import Rule
from gnvpro.training.solvers.protocol import Status, Step

# Share of the features' mean square by which W is pulled to the last one.
PULL = 1e-2
# A short memory of second moments: with the usual 0.001 the error was twice as large on smooth data (docs/method.md).
MEAN, SQUARE, TINY = 0.1, 0.01, 1e-8
# Batches between two estimates of the bases, those at the beginning besides, and the weight of the newest factors.
REFRESH, FIRST, NEWEST = 50, (0, 1, 3, 6, 10), 0.3
# Steps (looks at validation samples) in a whole budget, at most.
STEPS = 10


class BatchProjection:
    """Variable projection on batches as a `gnvpro.training.solvers.protocol.Solver`; wants a `BatchObjective`.

    A step is at least an epoch, and at least a tenth of the rule's budget. Samples are drawn without replacement, in a new
    order every epoch.

    Parameters
    ----------
    rule
        Of the rate and its budget; the kind is not read.
    batch
        Samples in a batch, or, below one, their share of the set.
    """

    name = "varpro-batches"
    validation_interval = 1

    def __init__(self, rule: Rule, batch: float, *, seed: int = 0, pull: float = PULL) -> None:
        if not (batch > 0 and pull > 0):
            raise UsageError(f"expected batches of a size > 0 and a pull > 0, got {batch} and {pull}")
        self._rule, self._batch, self._seed, self._pull = rule, batch, seed, pull
        self.state = _State()

    def step(self, point: Point) -> Step:
        """Some epochs of batches; the last one of the budget ends with W of all samples."""
        objective = point.objective
        if not isinstance(objective, BatchObjective):
            raise UsageError("variable projection on batches needs a BatchObjective")
        progress = self.state.progress = self.state.progress or _Progress.first(objective, point.theta, self._seed)
        n, theta, budget = objective.n_samples, point.theta.clone(), self._rule.budget
        size = min(n, max(1, round(self._batch if self._batch >= 1 else self._batch * n)))
        most = math.ceil(max(1.0, 0.5 * budget / STEPS) * n / size)
        generator = torch.Generator()
        generator.set_state(progress.generator.cpu())
        total, count = torch.zeros_like(progress.moments.mean), 0

        def is_last() -> bool:
            # A forward pass is kept for W of all samples.
            return objective.meter.total + 2 * size / n + 1 > budget

        while count < most and not is_last():
            index = progress.next(n, size, generator).to(theta.device)
            batch = objective.on_batch(theta, index, progress.outer, self._pull)
            if not bool(torch.isfinite(batch.gradient).all()):
                return Step(point, math.inf, False, Status.nonfinite, math.nan)
            progress.outer = batch.outer
            progress.moments.update(theta, batch, self._rule.rate_at(objective.meter.total), self._seed)
            total += batch.gradient
            count += 1
        progress.generator = generator.get_state()
        if not count:
            return Step(point, 0.0, False, Status.budget_spent, 0.0)
        length, norm = (float(torch.linalg.vector_norm(v)) for v in (theta - point.theta, total / count))
        return Step(objective.at_all(theta) if is_last() else objective.at(theta), length, True, gradient_norm=norm)


@dataclass(eq=False)
class _State:
    """None before the first step."""

    progress: _Progress | None = None


@dataclass(eq=False)
class _Progress:
    """Moments of the gradient, W of the last batch, what is left of the epoch, and the state of the draws."""

    moments: _Moments
    outer: Tensor
    order: Tensor
    generator: Tensor

    @classmethod
    def first(cls, objective: BatchObjective, theta: Tensor, seed: int) -> _Progress:
        """Before any batch; W is zero."""
        zeros = torch.zeros_like(theta, dtype=PASSES)
        outer = torch.zeros(objective.outer_shape, dtype=torch.float64, device=theta.device)
        state = torch.Generator().manual_seed(seed).get_state()
        return cls(_Moments(zeros, zeros.clone()), outer, torch.arange(0), state)

    def next(self, n: int, size: int, generator: torch.Generator) -> Tensor:
        """The samples of a batch; an epoch's remainder that is less than a batch is left out."""
        if len(self.order) < size:
            self.order = torch.randperm(n, generator=generator)
        index, self.order = self.order[:size], self.order[size:].clone()
        return index


@dataclass(eq=False)
class _Basis:
    """Of a layer: its places in theta, the mean Kronecker factors, and their eigenvectors."""

    where: slice
    by_inputs: Tensor
    by_outputs: Tensor
    inputs_basis: Tensor
    outputs_basis: Tensor

    @classmethod
    def of(cls, layer: Layer) -> _Basis:
        by_inputs, by_outputs = _factors(layer)
        assert isinstance(layer.where, slice)
        return cls(layer.where, by_inputs, by_outputs, _eigenvectors(by_inputs), _eigenvectors(by_outputs))

    def refresh(self, layer: Layer, square: Tensor) -> None:
        """New bases, the second moments (n_theta,) carried over as if what they are of were uncorrelated."""
        for mean, newest in zip((self.by_inputs, self.by_outputs), _factors(layer), strict=True):
            mean.lerp_(newest, NEWEST)
        before = self.inputs_basis, self.outputs_basis
        self.inputs_basis, self.outputs_basis = _eigenvectors(self.by_inputs), _eigenvectors(self.by_outputs)
        left, right = (
            (new.t() @ old).square() for new, old in zip((self.inputs_basis, self.outputs_basis), before, strict=True)
        )
        square[self.where] = (left @ self._matrix(square) @ right.t()).reshape(-1)

    def to(self, vector: Tensor) -> Tensor:
        """Coordinates in the bases of the layer's part of a vector, (fan_in, fan_out)."""
        return self.inputs_basis.t() @ self._matrix(vector) @ self.outputs_basis

    def back(self, coordinates: Tensor) -> Tensor:
        """The part of the vector, flat."""
        return (self.inputs_basis @ coordinates @ self.outputs_basis.t()).reshape(-1)

    def _matrix(self, vector: Tensor) -> Tensor:
        return vector[self.where].view(len(self.inputs_basis), len(self.outputs_basis))


@dataclass(eq=False)
class _Moments:
    """First moments of the gradient, second ones in the bases, both (n_theta,), and how many gradients they saw."""

    mean: Tensor
    square: Tensor
    count: int = 0
    bases: list[_Basis] = field(default_factory=list)

    def update(self, theta: Tensor, batch: Batch, rate: float, seed: int) -> None:
        """A step of Adam on theta, in place."""
        if self.count in FIRST or self.count % REFRESH == 0:
            self._refresh(batch, seed + self.count)
        self.count += 1
        self.mean.lerp_(batch.gradient, MEAN)
        gradient, mean = batch.gradient.clone(), self.mean.clone()
        for basis in self.bases:
            for vector in (gradient, mean):
                vector[basis.where] = basis.to(vector).reshape(-1)
        self.square.mul_(1 - SQUARE).addcmul_(gradient, gradient, value=SQUARE)
        mean /= 1 - (1 - MEAN) ** self.count
        change = mean.div_((self.square / (1 - (1 - SQUARE) ** self.count)).sqrt_().add_(TINY))
        for basis in self.bases:
            change[basis.where] = basis.back(change[basis.where].view(len(basis.inputs_basis), -1))
        theta.sub_(change.to(theta), alpha=rate)

    def _refresh(self, batch: Batch, seed: int) -> None:
        if not isinstance(batch.linearization, LayeredLinearization):
            return
        layers = batch.linearization.layers(batch.probe(seed)) or []
        plain = [layer for layer in layers if isinstance(layer.where, slice) and layer.inputs.ndim == 2]
        if self.bases:
            for basis, layer in zip(self.bases, plain, strict=True):
                basis.refresh(layer, self.square)
        else:
            self.bases = [_Basis.of(layer) for layer in plain]


def _factors(layer: Layer) -> tuple[Tensor, Tensor]:
    """h'h and g'g."""
    return layer.inputs.t() @ layer.inputs, layer.sensitivities.t() @ layer.sensitivities


def _eigenvectors(factor: Tensor) -> Tensor:
    return torch.linalg.eigh(factor)[1]
