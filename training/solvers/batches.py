"""Variable projection on batches: W by a pulled solve on every batch, theta by Adam in Kronecker-factored coordinates.

Adam's second moments are those of the gradient in the eigenbases of each layer's Kronecker factors (the sums of h'h and g'g
of `gnvpro.training.solvers.kronecker_metric`), as SOAP has them (Vyas et al. 2024) for the factors of Shampoo. For layers
that are no plain matrices, or that the network does not show, they are those of the gradient itself. W at a batch is that of
`gnvpro.surrogate.objectives.batches`; at the end of the budget it is solved for on all samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gnvpro.surrogate.coupling import Coupling
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import Layer, LayeredLinearization
from gnvpro.surrogate.objectives.batches import PASSES, Batch, BatchObjective
from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.training.interrupts import came
from gnvpro.training.solvers.first_order import Rule
from gnvpro.training.solvers.protocol import Status, Step

# Share of the features' mean square by which W is pulled to the last one.
PULL = 1e-2
# A short memory of second moments: with the usual 0.001 the error was twice as large on smooth data (docs/method.md).
MEAN, SQUARE, TINY = 0.1, 0.01, 1e-8
# Batches between two estimates of the bases, those at the beginning besides, and the weight of the newest factors.
REFRESH, FIRST, NEWEST = 50, (0, 1, 3, 6, 10), 0.3
# Samples that are neighbours in every order, and about how many are shuffled together.
SEGMENT, TOGETHER = 16, 16_384
# Batches after which it is asked whether the training is to end.
LOOK = 50
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
        self._order: _Order | None = None
        self.state = _State()

    def step(self, point: Point) -> Step:
        """Some epochs of batches; the last one of the budget ends with W of all samples."""
        objective = point.objective
        if not isinstance(objective, BatchObjective):
            raise UsageError("variable projection on batches needs a BatchObjective")
        progress = self.state.progress = self.state.progress or _Progress.first(objective, point.theta)
        n, theta, budget = objective.n_samples, point.theta.clone(), self._rule.budget
        size = min(n, max(1, round(self._batch if self._batch >= 1 else self._batch * n)))
        most = math.ceil(max(1.0, 0.5 * budget / STEPS) * n / size)
        order = self._order = self._order or _Order(n, size, self._seed)
        order.announce(objective, progress.batch)
        total, count = torch.zeros_like(progress.moments.mean), 0

        def is_last() -> bool:
            # A forward pass is kept for W of all samples.
            return objective.meter.total + 2 * size / n + 1 > budget

        coupling = objective.whole.elimination.coupling
        while count < most and not is_last():
            if count and count % LOOK == 0 and came(coupling):
                break  # a step takes long, and what asked for the end does not wait
            batch = objective.on_batch(theta, order.next(objective, progress.batch), progress.outer, self._pull)
            if not bool(torch.isfinite(batch.gradient).all()):
                return Step(point, math.inf, False, Status.nonfinite, math.nan)
            progress.outer = batch.outer
            progress.moments.update(theta, batch, self._rule.rate_at(objective.meter.total), self._seed)
            progress.batch += 1
            total += batch.gradient
            count += 1
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
    """Moments of the gradient, W of the last batch, and the number of the next one."""

    moments: _Moments
    outer: Tensor
    batch: int = 0

    @classmethod
    def first(cls, objective: BatchObjective, theta: Tensor) -> _Progress:
        """Before any batch; W is zero."""
        zeros = torch.zeros_like(theta, dtype=PASSES)
        outer = torch.zeros(objective.outer_shape, dtype=torch.float64, device=theta.device)
        return cls(_Moments(zeros, zeros.clone()), outer)


class _Order:
    """Which samples the batches are of, the same wherever these are: every epoch a new order, drawn without replacement.

    Samples come in segments of neighbours, which are drawn at random, some thousands of samples together, and these are
    shuffled: what is read from a file is some long pieces then. An epoch's remainder that is less than a batch is left out.
    """

    def __init__(self, n: int, size: int, seed: int) -> None:
        self._n, self._size, self._seed = n, size, seed
        self._together = max(1, TOGETHER // size)  # batches
        self._epochs: dict[int, Tensor] = {}

    def next(self, objective: BatchObjective, batch: int) -> Tensor:
        """The samples of a batch, for which it may have to be said what comes after."""
        epoch, place = divmod(batch, self._n // self._size)
        if place % self._together == 0:
            objective.will_need(self._after(epoch, place))
        return self._of_epoch(epoch)[place * self._size : (place + 1) * self._size]

    def announce(self, objective: BatchObjective, batch: int) -> None:
        """Say what is needed first, and what after it where `next` will not."""
        epoch, place = divmod(batch, self._n // self._size)
        begin = place - place % self._together
        objective.will_need(self._pool(epoch, begin))
        if begin != place:
            objective.will_need(self._after(epoch, begin))

    def _after(self, epoch: int, place: int) -> Tensor:
        """The pool after the one that begins at this place, of the next epoch where it is the last."""
        last = place + self._together >= self._n // self._size
        return self._pool(epoch + 1, 0) if last else self._pool(epoch, place + self._together)

    def _pool(self, epoch: int, place: int) -> Tensor:
        """The samples of the batches that are shuffled together, from this one on; none after the last of an epoch."""
        last = (self._n // self._size) * self._size
        return self._of_epoch(epoch)[place * self._size : min((place + self._together) * self._size, last)]

    def _of_epoch(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            random = np.random.default_rng([self._seed, epoch])
            segments = random.permutation(math.ceil(self._n / SEGMENT))
            numbers = (segments[:, None] * SEGMENT + np.arange(SEGMENT)).ravel()
            numbers = numbers[numbers < self._n]
            for begin in range(0, self._n, self._together * self._size):
                random.shuffle(numbers[begin : begin + self._together * self._size])
            self._epochs = {e: kept for e, kept in self._epochs.items() if abs(e - epoch) == 1}
            self._epochs[epoch] = torch.from_numpy(numbers)
        return self._epochs[epoch]


@dataclass(eq=False)
class _Basis:
    """Of a layer: its places in theta, the mean Kronecker factors, and their eigenvectors."""

    where: slice
    by_inputs: Tensor
    by_outputs: Tensor
    inputs_basis: Tensor
    outputs_basis: Tensor

    @classmethod
    def of(cls, layer: Layer, coupling: Coupling) -> _Basis:
        by_inputs, by_outputs = _factors(layer, coupling)
        assert isinstance(layer.where, slice)
        return cls(layer.where, by_inputs, by_outputs, _eigenvectors(by_inputs), _eigenvectors(by_outputs))

    def refresh(self, layer: Layer, square: Tensor, coupling: Coupling) -> None:
        """New bases, the second moments (n_theta,) carried over as if what they are of were uncorrelated."""
        for mean, newest in zip((self.by_inputs, self.by_outputs), _factors(layer, coupling), strict=True):
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
                basis.refresh(layer, self.square, batch.coupling)
        else:
            self.bases = [_Basis.of(layer, batch.coupling) for layer in plain]


def _factors(layer: Layer, coupling: Coupling) -> list[Tensor]:
    """h'h and g'g."""
    return coupling.sums(layer.inputs.t() @ layer.inputs, layer.sensitivities.t() @ layer.sensitivities)


def _eigenvectors(factor: Tensor) -> Tensor:
    return torch.linalg.eigh(factor)[1]
