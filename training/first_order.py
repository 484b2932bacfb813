"""First-order methods, for comparison: Adam and SGD on minibatches of the full problem, and Adam on the reduced one.

Updates are those of `torch.optim`. The rate rises linearly over a warm-up and falls like a cosine to zero at the end of
the budget, which is counted in work units like everything else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from surrogate.full import FullObjective
from surrogate.objective import Point
from training.solver import INNER_SHARE, Status, Step, judge


@dataclass(frozen=True)
class Rule:
    """A rule of `torch.optim` with the schedule of its rate.

    Attributes
    ----------
    rate
        The largest, reached when the warm-up ends.
    budget
        Work units at which the rate is zero, counted by the objective's meter from its beginning.
    warm_up
        Share of the budget.
    momentum
        Of SGD.
    """

    kind: Literal["adam", "sgd"]
    rate: float
    budget: float
    warm_up: float = 0.05
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if self.kind not in ("adam", "sgd"):
            raise ValueError(f"expected the rule adam or sgd, got {self.kind!r}")
        if not (self.rate > 0 and self.budget > 0 and 0 <= self.warm_up < 1):
            raise ValueError(
                "expected a rate and a budget > 0 and a warm-up of at least 0 and less than 1, got "
                f"{self.rate}, {self.budget}, {self.warm_up}"
            )

    def optimiser(self, theta: Tensor) -> torch.optim.Optimizer:
        """The rule, acting on this vector in place."""
        if self.kind == "adam":
            return torch.optim.Adam([theta], lr=self.rate, foreach=False)
        return torch.optim.SGD([theta], lr=self.rate, momentum=self.momentum, foreach=False)

    def rate_at(self, work_units: float) -> float:
        """The rate when this much is spent."""
        share = min(work_units / self.budget, 1.0)
        if share < self.warm_up:
            return self.rate * share / self.warm_up
        return 0.5 * self.rate * (1 + math.cos(math.pi * (share - self.warm_up) / (1 - self.warm_up)))


class MinibatchDescent:
    """Adam or SGD on a `FullObjective` as a `training.solver.Solver`: a step is an epoch, or so many batches.

    Samples are drawn without replacement, in a new order every epoch. What is paid are the passes over the batches: give
    it an objective whose points are only watched.

    Parameters
    ----------
    batch
        Samples in a batch; the last one of an epoch may have fewer.
    batches
        Batches in a step; None for an epoch.
    """

    validation_interval = 1

    def __init__(self, rule: Rule, batch: int, *, seed: int = 0, batches: int | None = None) -> None:
        if min(batch, batches or 1) < 1:
            raise ValueError(f"expected batches of at least one sample, and one a step; got {batch} and {batches}")
        self.name = rule.kind
        self._rule, self._batch, self._batches = rule, batch, batches
        self._generator = torch.Generator().manual_seed(seed)
        self._theta: Tensor | None = None

    def step(self, point: Point) -> Step:
        """An epoch, which ends early where the budget does."""
        objective = point.objective
        if not isinstance(objective, FullObjective):
            raise ValueError(f"minibatches need a FullObjective, got a {type(objective).__name__}; W is not in theta")
        if self._theta is None:
            self._theta = point.theta.clone()
            self._optimiser = self._rule.optimiser(self._theta)
            self._order = self._drawn(len(objective.inputs))
        mean, count = torch.zeros_like(self._theta), 0
        for _ in range(self._batches or math.ceil(len(objective.inputs) / self._batch)):
            spent = objective.meter.total
            if spent >= self._rule.budget:
                break
            index = next(self._order).to(self._theta.device)
            self._theta.grad = objective.batch_gradient(self._theta, index)
            _apply(self._optimiser, self._rule.rate_at(spent))
            mean += self._theta.grad
            count += 1
        length = float(torch.linalg.vector_norm(self._theta - point.theta))
        norm = float(torch.linalg.vector_norm(mean)) / max(count, 1)
        if not math.isfinite(length):
            return Step(point, length, False, Status.nonfinite, norm)
        status = Status.running if count else Status.budget_spent
        return Step(objective.at(self._theta.detach().clone()), length, True, status, norm)

    def _drawn(self, n: int) -> Iterator[Tensor]:
        while True:
            yield from torch.randperm(n, generator=self._generator).split(self._batch)


class GradientDescent:
    """Adam or SGD with the whole gradient, on any objective: on a reduced one this is VarPro + Adam."""

    validation_interval = 10

    def __init__(self, rule: Rule) -> None:
        self.name = f"varpro-{rule.kind}"
        self._rule = rule
        self._theta: Tensor | None = None
        self._first_gradient = 0.0

    def step(self, point: Point) -> Step:
        """One update: a gradient, and a forward pass for the next point."""
        if self._theta is None:
            self._theta = point.theta.clone()
            self._optimiser = self._rule.optimiser(self._theta)
        gradient_norm = float(torch.linalg.vector_norm(point.gradient))
        self._first_gradient = self._first_gradient or gradient_norm
        status = judge(gradient_norm, self._first_gradient)
        if status is not Status.running:
            return Step(point, 0.0, False, status)
        self._theta.grad = point.gradient
        _apply(self._optimiser, self._rule.rate_at(point.objective.meter.total))
        change = self._theta - point.theta
        # To first order the step changes the value by this.
        accuracy = INNER_SHARE * abs(float(point.gradient @ change))
        found = point.objective.at(self._theta.detach().clone(), near=point, accuracy=accuracy)
        length = float(torch.linalg.vector_norm(change))
        if not math.isfinite(found.value):
            return Step(point, length, False, Status.nonfinite)
        return Step(found, length, True)


def _apply(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
