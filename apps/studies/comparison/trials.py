"""One training of one method on one problem, watched; and tuning, which is several.

Nothing here knows the loss: a `Task` holds the problem of one seed, a `Metric` says what counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

import numpy as np
from torch import Tensor

from gnvpro.apps.studies.comparison.methods import METHODS, SOLVED, Setting, run_method
from gnvpro.surrogate.objectives.protocol import Point
from gnvpro.surrogate.objectives.reduced import ReducedObjective
from gnvpro.surrogate.spaces import Array
from gnvpro.training.fitting.fit import Fit, Validation
from gnvpro.training.fitting.records import Iterate
from gnvpro.training.solvers.protocol import Status


@dataclass(frozen=True)
class Task:
    """The problem of one seed: what all methods train on, from the same weights."""

    reduced: ReducedObjective
    theta: Tensor
    train: Validation
    validation: Validation
    test: Validation


@dataclass(frozen=True)
class Metric:
    """What counts on validation data; stored so that smaller is better.

    Attributes
    ----------
    name
        As shown.
    of
        Which of the two numbers of `gnvpro.training.fitting.fit.Validation` it is.
    complement
        Shown as one minus the number: accuracy from the share misclassified.
    ratio
        Methods are compared by ratios, for what spans decades; otherwise by differences.
    """

    name: str = "validation loss"
    of: Literal["loss", "error"] = "loss"
    complement: bool = False
    ratio: bool = True

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Direction of what is shown."""
        return "higher" if self.complement else "lower"

    def shown[N: (float, Array)](self, value: N) -> N:
        """The number as people read it."""
        return cast(N, 1 - value if self.complement else value)

    def curve(self, trial: Trial) -> Array:
        """Best value up to every look."""
        return np.minimum.accumulate(trial.looks.loss if self.of == "loss" else trial.looks.error)

    def tested(self, trial: Trial) -> float:
        """On the test samples."""
        return trial.test_loss if self.of == "loss" else trial.test_error


class Looks(NamedTuple):
    """What was seen during one training, within its budget: one row a look."""

    work: Array
    seconds: Array
    train_loss: Array
    train_error: Array
    loss: Array
    error: Array


@dataclass(frozen=True)
class Trial:
    """One training of one method."""

    method: str
    seed: int
    setting: Setting
    looks: Looks
    test_loss: float
    test_error: float
    work_units: float
    cpu_seconds: float
    status: str
    best: Iterate = field(repr=False)


def run_trial(method: str, task: Task, budget: float, setting: Setting, seed: int) -> Trial:
    """Train, and measure the chosen iterate on the test samples."""
    watch = _Watch(task)
    fit = run_method(method, task.reduced, task.theta, watch, budget, setting, seed)
    test = task.test.measure(cast(Point, _Chosen(fit.best)))
    looks = watch.looks(fit, budget)
    last = looks.seconds[-1]
    return Trial(method, seed, setting, looks, *test, looks.work[-1], last, fit.status.value, fit.best)


class _Watch:
    """Measures validation samples and, beside them, training samples by the same yardstick."""

    def __init__(self, task: Task) -> None:
        self._task, self._train = task, []

    def measure(self, point: Point) -> tuple[float, float]:
        self._train.append(self._task.train.measure(point))
        return self._task.validation.measure(point)

    def looks(self, fit: Fit, budget: float) -> Looks:
        rows = []
        seen = [record for record in fit.history if record.validation_loss is not None]
        for record, train in zip(seen, self._train, strict=True):
            # The start is always a look: a budget smaller than that buys nothing else.
            if record.work_units <= budget or not rows:
                rows.append(
                    (record.work_units, record.cpu_seconds, *train, record.validation_loss, record.validation_error)
                )
        table = np.array(rows, float)
        # An iterate that is not finite is as bad as can be.
        table[:, 2:] = np.where(np.isnan(table[:, 2:]), math.inf, table[:, 2:])
        return Looks(*table.T)


class _Chosen:
    """An iterate, as far as measuring asks for a point."""

    def __init__(self, iterate: Iterate) -> None:
        self.network_weights, self.outer = iterate.theta, iterate.outer


# The settings of one grid; baselines have two such grids, see `gnvpro.apps.studies.comparison.methods`.
GRID = 9


def tried(method: str, count: int) -> list[Setting]:
    """So many of every nine settings of a method's grid, spread evenly over it; its usual one for one."""
    grid = METHODS[method].grid
    if count == 1:
        return [METHODS[method].usual]
    return [grid[j] for j in np.linspace(0, len(grid) - 1, count * len(grid) // GRID).round().astype(int)]


@dataclass(frozen=True)
class Tuned:
    """What tuning found: the best setting, its value, and the values of all that were tried."""

    setting: Setting
    value: float
    values: list[tuple[Setting, float]]


def tune(method: str, task: Task, budget: float, metric: Metric, count: int, seed: int) -> Tuned:
    """Train with every setting on one task; the best by validation wins.

    Methods that keep W get one trial more: their best setting from W solved for, where all others start at random.
    """

    def measured(setting: Setting) -> tuple[Setting, float]:
        fit = run_method(method, task.reduced, task.theta, task.validation, budget, setting, seed)
        seen = [(r.validation_loss, r.validation_error) for r in fit.history if r.work_units <= budget]
        values = [pair[0 if metric.of == "loss" else 1] for pair in seen]
        best = min((value for value in values if value is not None and math.isfinite(value)), default=math.inf)
        # Where a rate is too large the start may be the best iterate: that is no training.
        return setting, math.inf if fit.status is Status.nonfinite else best

    def value_of(pair: tuple[Setting, float]) -> float:
        return pair[1]

    found = [measured(setting) for setting in tried(method, count)]
    if not METHODS[method].eliminates:
        found.append(measured({**min(found, key=value_of)[0], SOLVED: 1.0}))
    setting, value = min(found, key=value_of)
    return Tuned(setting, value, found)
