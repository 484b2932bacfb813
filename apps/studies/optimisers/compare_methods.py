"""Training methods on one kind of problem: tuned alike, several seeds, against work units and seconds.

Protocol (also in docs/studies.md): every method is tuned on a seed apart, by validation alone, over nine settings (the
stochastic baselines over twice as many); then it runs on every seed from the same split and initial weights; the test
samples are measured once, at the iterate that validation chose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from gnvpro.apps.studies.optimisers.grids import GRID, LABELS
from gnvpro.apps.studies.optimisers.statistics import Interval, first_reach, paired_interval
from gnvpro.apps.studies.optimisers.trials import Metric, Trial, Tuned, run_trial, tune
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.progress import Report, silent
from gnvpro.surrogate.spaces import Array
from gnvpro.training.fitting.methods import METHODS, TrainingTask

REFERENCE = "adam"
# The seed that methods are tuned on lies this far from the first one reported.
TUNING_SEED = 1000


class Reach(NamedTuple):
    """What it takes a method to the reference's best value, a number a seed; infinite where it was not reached."""

    work: Array
    seconds: Array


@dataclass(frozen=True, eq=False)
class MethodComparison:
    """All trials of all methods, and what follows from them."""

    metric: Metric
    budget: float
    trials: dict[str, list[Trial]]
    tuned: dict[str, Tuned]
    reference: str = REFERENCE

    @property
    def best_varpro(self) -> str:
        """The VarPro method that was best when tuned: not chosen on the seeds that are reported."""
        candidates = [name for name in self.trials if METHODS[name].eliminates]
        return min(candidates, key=lambda name: self.tuned[name].value)

    @property
    def seeds(self) -> list[int]:
        """Those reported."""
        return [trial.seed for trial in next(iter(self.trials.values()))]

    def final(self, method: str) -> Array:
        """Best value within the budget, one a seed."""
        return np.array([self.metric.best_so_far(trial)[-1] for trial in self.trials[method]])

    def tested(self, method: str) -> Array:
        """Value on the test samples, one a seed."""
        return np.array([self.metric.tested(trial) for trial in self.trials[method]])

    def reach(self, method: str) -> Reach:
        """Work units and seconds to the best value of the reference within its whole budget, seed by seed."""
        reached = []
        for trial, target in zip(self.trials[method], self.final(self.reference), strict=True):
            curve = self.metric.best_so_far(trial)
            reached.append([first_reach(target, cost, curve) for cost in (trial.curve.work, trial.curve.seconds)])
        return Reach(*np.array(reached).T)

    def share(self, method: str) -> Reach:
        """The same as a share of what the reference itself needed."""
        mine, its = self.reach(method), self.reach(self.reference)
        with np.errstate(divide="ignore", invalid="ignore"):  # a reference that only got worse has its best for nothing
            return Reach(mine.work / its.work, mine.seconds / its.seconds)

    def advantage(self, method: str, of: Callable[[str], Array] | None = None) -> Interval:
        """Of the best VarPro method over another: a ratio above one, or a difference above zero, where it is better."""
        of = of or self.final
        return advantage(self.metric, of(self.best_varpro), of(method))

    def numbers(self) -> dict[str, Any]:
        """JSON-able; curves included."""
        return {
            "metric": {**asdict(self.metric), "better": self.metric.better},
            "budget": self.budget,
            "seeds": self.seeds,
            "reference": self.reference,
            "best_varpro": self.best_varpro,
            "methods": {name: self._method(name) for name in self.trials},
        }

    def _method(self, name: str) -> dict[str, Any]:
        tuned, reach, share = self.tuned[name], self.reach(name), self.share(name)
        return {
            "label": LABELS[name],
            "setting": dict(tuned.setting),
            "tuning": [{"setting": dict(setting), "value": value} for setting, value in tuned.values],
            "best": self.final(name).tolist(),
            "to_reference": {
                "work_units": reach.work.tolist(), "cpu_seconds": reach.seconds.tolist(),
                "share_of_work_units": share.work.tolist(), "share_of_cpu_seconds": share.seconds.tolist(),
                "median_share_of_work_units": float(np.median(share.work)),
                "median_share_of_cpu_seconds": float(np.median(share.seconds)),
            },
            "advantage_of_best_varpro": asdict(self.advantage(name)),
            "advantage_of_best_varpro_test": asdict(self.advantage(name, self.tested)),
            "trials": [_numbers(trial) for trial in self.trials[name]],
        }  # fmt: skip


def advantage(metric: Metric, mine: Array, others: Array) -> Interval:
    """Of one method over another, seed by seed: a mean ratio (geometric) or a mean difference, with its interval."""
    if metric.ratio:
        return paired_interval(np.log(others) - np.log(mine)).mapped(np.exp)
    return paired_interval(others - mine)


def compare_methods(
    task_of: Callable[[int], TrainingTask],
    methods: Sequence[str],
    *,
    budget: float,
    seeds: Sequence[int],
    metric: Metric | None = None,
    settings_tried: int = GRID,
    report: Report = silent,
) -> MethodComparison:
    """Tune every method on the task of a seed apart, then train it on the task of every seed.

    Methods that cannot do what their name says on this network are left out.

    Raises
    ------
    UsageError
        An unknown method, no reference among them, no VarPro among them, or no seeds.
    """
    metric = metric or Metric()
    _require(methods, seeds)
    tuning_seed = seeds[0] + TUNING_SEED
    task = task_of(tuning_seed)
    methods = [name for name in methods if METHODS[name].suits(task.in_memory, task.theta)]
    total, done, tuned = len(methods) * (settings_tried + len(seeds)), 0, {}
    for name in methods:
        report(done, total, f"{LABELS[name]}: tuning")
        tuned[name] = tune(name, task, budget, metric, settings_tried, tuning_seed)
        done += settings_tried
    trials: dict[str, list[Trial]] = {name: [] for name in methods}
    for seed in seeds:
        task = task_of(seed)
        for name in methods:  # in turn, so that a machine that slows down does so for all
            report(done, total, f"{LABELS[name]}: seed {seed}")
            trials[name].append(run_trial(name, task, budget, tuned[name].setting, seed))
            done += 1
    return MethodComparison(metric, budget, trials, tuned)


def _require(methods: Sequence[str], seeds: Sequence[int]) -> None:
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise UsageError(f"unknown methods {', '.join(unknown)}; the known ones are {', '.join(METHODS)}")
    if REFERENCE not in methods or not any(METHODS[name].eliminates for name in methods):
        raise UsageError(f"a comparison needs {REFERENCE} and a VarPro method; got {', '.join(methods) or 'none'}")
    if not seeds or seeds[0] + TUNING_SEED in seeds:
        raise UsageError(f"expected seeds to report, without the first plus {TUNING_SEED}: it tunes; got {list(seeds)}")


def _numbers(trial: Trial) -> dict[str, Any]:
    return {
        "seed": trial.seed,
        "status": trial.status,
        "work_units": trial.work_units,
        "cpu_seconds": trial.cpu_seconds,
        "test_loss": trial.test_loss,
        "test_error": trial.test_error,
        "validation_error": trial.best.validation_error,
        "curve": {name: values.tolist() for name, values in trial.curve._asdict().items()},
    }
