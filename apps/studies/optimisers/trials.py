"""One training of one method on one problem, watched; and tuning, which is several.

Nothing here knows the loss: a `Metric` says what counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, cast

import numpy as np

from gnvpro.apps.studies.optimisers.grids import tried
from gnvpro.surrogate.spaces import Array
from gnvpro.training.fitting.fit import Fit, Iterate
from gnvpro.training.fitting.methods import METHODS, SOLVED, Setting, TrainingTask, train_by
from gnvpro.training.fitting.validation import Weights
from gnvpro.training.solvers.protocol import Status


@dataclass(frozen=True)
class Metric:
    """What counts on validation data; stored so that smaller is better.

    Attributes
    ----------
    name
        As shown.
    of
        Which of the two numbers of `gnvpro.training.fitting.validation.Validation` it is.
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

    def best_so_far(self, trial: Trial) -> Array:
        """Lowest validation value up to every measurement."""
        return np.minimum.accumulate(trial.curve.loss if self.of == "loss" else trial.curve.error)

    def trained(self, trial: Trial) -> Array:
        """Value on the training samples at every measurement."""
        return trial.curve.train_loss if self.of == "loss" else trial.curve.train_error

    def tested(self, trial: Trial) -> float:
        """Value on the test samples."""
        return trial.test_loss if self.of == "loss" else trial.test_error


class Curve(NamedTuple):
    """What was measured during one training, within its budget: one row after every iteration or epoch."""

    work: Array
    seconds: Array
    train_loss: Array
    train_error: Array
    loss: Array
    error: Array


@dataclass(frozen=True, eq=False)
class Trial:
    """One training of one method."""

    method: str
    seed: int
    setting: Setting
    curve: Curve
    test_loss: float
    test_error: float
    work_units: float
    cpu_seconds: float
    status: str
    best: Iterate = field(repr=False)


def run_trial(method: str, task: TrainingTask, budget: float, setting: Setting, seed: int) -> Trial:
    """Train, and measure the chosen iterate on the test samples."""
    watch = _Watch(task)
    fit = train_by(method, replace(task, measures=lambda _: watch), budget, setting, seed)
    test = task.measures("test").measure(fit.best)
    curve = watch.curve(fit, budget)
    return Trial(method, seed, setting, curve, *test, curve.work[-1], curve.seconds[-1], fit.status.value, fit.best)


class _Watch:
    """Measures validation samples and, beside them, training samples by the same yardstick."""

    def __init__(self, task: TrainingTask) -> None:
        self._train, self._validation = task.measures("train"), task.validation
        self._measured: list[tuple[float, float]] = []

    def measure(self, point: Weights) -> tuple[float, float]:
        self._measured.append(self._train.measure(point))
        return self._validation.measure(point)

    def curve(self, fit: Fit, budget: float) -> Curve:
        records = [record for record in fit.history if record.validation_loss is not None]
        rows = [
            (record.work_units, record.cpu_seconds, *train, record.validation_loss, record.validation_error)
            for record, train in zip(records, self._measured, strict=True)
            # The start always counts: a budget smaller than its cost buys nothing else.
            if record.work_units <= budget or record is records[0]
        ]
        table = np.array(rows, float)
        # An iterate that is not finite is as bad as can be.
        table[:, 2:] = np.where(np.isnan(table[:, 2:]), math.inf, table[:, 2:])
        return Curve(*table.T)


@dataclass(frozen=True)
class Tuned:
    """The best setting, its value, and the values of all that were tried."""

    setting: Setting
    value: float
    values: list[tuple[Setting, float]]


def tune(method: str, task: TrainingTask, budget: float, metric: Metric, count: int, seed: int) -> Tuned:
    """Train with every setting on one problem; the best by validation wins.

    Methods that keep W get one trial more: their best setting from W solved for, where all others start at random.
    """

    def measured(setting: Setting) -> tuple[Setting, float]:
        fit = train_by(method, task, budget, setting, seed)
        # Where a rate is too large the start may be the best iterate: that is no training.
        if fit.status is Status.nonfinite:
            return setting, math.inf
        records = [record for record in fit.history if record.work_units <= budget]
        values = [r.validation_loss if metric.of == "loss" else r.validation_error for r in records]
        return setting, min((v for v in values if v is not None and math.isfinite(v)), default=math.inf)

    def value_of(pair: tuple[Setting, float]) -> float:
        return pair[1]

    values = [measured(setting) for setting in tried(method, count)]
    if not METHODS[method].eliminates:
        values.append(measured({**min(values, key=value_of)[0], SOLVED: 1.0}))
    setting, value = min(values, key=value_of)
    return Tuned(setting, value, values)
