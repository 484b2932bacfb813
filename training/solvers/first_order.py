"""First-order methods, for comparison: Adam and SGD on minibatches of the full problem, and Adam on the reduced one.

Updates are those of `torch.optim`, by its functions: its classes load torch's compiler, which takes seconds, and cost twice
as much an update. The rate rises linearly over a warm-up and falls like a cosine to zero at the end of
the budget, which is counted in work units like everything else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.training.solvers.protocol import INNER_SHARE, Status, Step, StoppingTest


@dataclass(frozen=True)
class Rule:
    """A rule of `torch.optim` with the schedule of its rate.

    `rate` is the largest, reached when the warm-up ends, a share of the budget; at `budget` work units, counted by the
    objective's meter from its beginning, it is zero. `momentum` is that of SGD.
    """

    kind: Literal["adam", "sgd"]
    rate: float
    budget: float
    warm_up: float = 0.05
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if self.kind not in ("adam", "sgd"):
            raise UsageError(f"expected the rule adam or sgd, got {self.kind!r}")
        if not (self.rate > 0 and self.budget > 0 and 0 <= self.warm_up < 1):
            raise UsageError(
                "expected a rate and a budget > 0 and a warm-up of at least 0 and less than 1, got "
                f"{self.rate}, {self.budget}, {self.warm_up}"
            )

    def update(self, theta: Tensor) -> _Update:
        """The rule, acting on this vector in place."""
        return _Adam(theta) if self.kind == "adam" else _Momentum(theta, self.momentum)

    def rate_at(self, work_units: float) -> float:
        """The rate when this much is spent."""
        share = min(work_units / self.budget, 1.0)
        if share < self.warm_up:
            return self.rate * share / self.warm_up
        return 0.5 * self.rate * (1 + math.cos(math.pi * (share - self.warm_up) / (1 - self.warm_up)))


class _Update(Protocol):
    """An update of the vector it was made for."""

    def __call__(self, gradient: Tensor, rate: float) -> None: ...


class _Adam:
    def __init__(self, theta: Tensor) -> None:
        self._theta, self._mean, self._square = theta, torch.zeros_like(theta), torch.zeros_like(theta)
        self._count = torch.zeros((), dtype=torch.float32)

    def __call__(self, gradient: Tensor, rate: float) -> None:
        adam(
            [self._theta], [gradient], [self._mean], [self._square], [], [self._count], foreach=False, amsgrad=False,
            beta1=0.9, beta2=0.999, lr=rate, weight_decay=0.0, eps=1e-8, maximize=False,
        )  # fmt: skip


class _Momentum:
    def __init__(self, theta: Tensor, momentum: float) -> None:
        self._theta, self._momentum = theta, momentum
        self._buffers: list[Tensor | None] = [None]

    def __call__(self, gradient: Tensor, rate: float) -> None:
        sgd(
            [self._theta], [gradient], self._buffers, foreach=False, weight_decay=0.0, momentum=self._momentum, lr=rate,
            dampening=0.0, nesterov=False, maximize=False,
        )  # fmt: skip


class MinibatchDescent:
    """Adam or SGD on a `FullObjective`: a step of this solver is an epoch, or so many batches.

    Samples are drawn without replacement, in a new order every epoch. What is paid are the passes over the batches: give
    it an objective whose points are only watched.

    Parameters
    ----------
    batch
        Samples in a batch, or, below one, their share of the set; the last one of an epoch may have fewer.
    batches
        Batches in a step; None for an epoch.
    averaged
        Epochs over which weights are averaged, newer ones counting more: the points are these averages, which the noise of
        the last batches has left (Polyak & Juditsky 1992). 0: the weights as they are.
    """

    validation_interval = 1

    def __init__(
        self, rule: Rule, batch: float, *, seed: int = 0, batches: int | None = None, averaged: float = 0.0
    ) -> None:
        if not batch > 0 or (batches or 1) < 1:
            raise UsageError(f"expected batches of a size > 0, and at least one a step; got {batch} and {batches}")
        self.name = rule.kind
        self._rule, self._batch, self._batches, self._averaged = rule, batch, batches, averaged
        self._generator = torch.Generator().manual_seed(seed)
        self._theta: Tensor | None = None

    def step(self, point: Point) -> Step:
        """An epoch, which ends early where the budget does."""
        objective = point.objective
        if self._theta is None:
            self._theta = point.theta.clone()
            self._update = self._rule.update(self._theta)
            n = objective.elimination.n_samples
            self._size = max(1, round(self._batch if self._batch >= 1 else self._batch * n))
            self._order = self._drawn(n)
            self._kept = self._theta if not self._averaged else point.theta.clone()
            self._renewal = 1 / max(1.0, self._averaged * n / self._size)
        mean, count = torch.zeros_like(self._theta), 0
        for _ in range(self._batches or math.ceil(objective.elimination.n_samples / self._size)):
            spent = objective.meter.total
            if spent >= self._rule.budget:
                break
            index = next(self._order).to(self._theta.device)
            gradient = objective.batch_gradient(self._theta, index)
            self._update(gradient, self._rule.rate_at(spent))
            if self._averaged:
                self._kept.lerp_(self._theta, self._renewal)
            mean += gradient
            count += 1
        length = float(torch.linalg.vector_norm(self._kept - point.theta))
        norm = float(torch.linalg.vector_norm(mean)) / max(count, 1)
        if not math.isfinite(length):
            return Step(point, length, False, Status.nonfinite, norm)
        status = Status.running if count else Status.budget_spent
        return Step(objective.at(self._kept.clone()), length, True, status, norm)

    def _drawn(self, n: int) -> Iterator[Tensor]:
        while True:
            yield from torch.randperm(n, generator=self._generator).split(self._size)


class GradientDescent:
    """Adam or SGD with the whole gradient, on any objective: on a reduced one this is VarPro + Adam."""

    validation_interval = 10

    def __init__(self, rule: Rule) -> None:
        self.name = f"varpro-{rule.kind}"
        self._rule = rule
        self._theta: Tensor | None = None
        self._stopping = StoppingTest()

    def step(self, point: Point) -> Step:
        """One update: a gradient, and a forward pass for the next point."""
        if self._theta is None:
            self._theta = point.theta.clone()
            self._update = self._rule.update(self._theta)
        status = self._stopping.status(point)
        if status is not Status.running:
            return Step(point, 0.0, False, status)
        self._update(point.gradient, self._rule.rate_at(point.objective.meter.total))
        change = self._theta - point.theta
        # To first order the step changes the value by this.
        accuracy = INNER_SHARE * abs(float(point.gradient @ change))
        there = point.objective.at(self._theta.clone(), near=point, accuracy=accuracy)
        length = float(torch.linalg.vector_norm(change))
        if not math.isfinite(there.value):
            return Step(point, length, False, Status.nonfinite)
        return Step(there, length, True)
