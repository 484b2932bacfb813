"""The trainings that the ablation compares: the default, and what differs from it in one factor."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from gnvpro.apps.studies.ablation.projected_metric import projected_metric
from gnvpro.surrogate.elimination.least_squares import GaussNewtonKind
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.samples import Split
from gnvpro.training.choice.multilevel import Level, coarse_to_fine
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.methods import METHODS, SOLVED, TrainingTask, fit_by
from gnvpro.training.fitting.preparation import Preparation
from gnvpro.training.settings import PAPER_WIDTH, TrainSettings
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS

ALPHA_THETA = 1e-9
# RK4 steps on the finest level: three levels are 1, 2, 4.
FINEST = 4


@dataclass(frozen=True)
class Variant:
    """One way to train; the defaults are the point around which the ablation turns.

    Attributes
    ----------
    solver
        `lbfgs` or `krylov` by its usual setting, `kf` in the metric.
    curvature
        Of Gauss-Newton products, for Krylov methods.
    metric
        Of L-BFGS: of the Gauss-Newton matrix at fixed W, or of the projected one.
    outer
        W eliminated, or kept among the variables, beginning at its solution or at random.
    levels
        Of a residual network trained coarse to fine; None for dense layers of `widths`.
    """

    widths: tuple[int, ...] = (9, 24, 24, 48)
    gain: float = 0.1
    goal: Literal["relative", "absolute"] = "relative"
    solver: Literal["kf-lbfgs", "lbfgs", "kf-krylov", "krylov"] = "kf-lbfgs"
    curvature: GaussNewtonKind = "golub-pereyra"
    outer: Literal["eliminated", "solved", "random"] = "eliminated"
    metric: Literal["fixed W", "projected"] = "fixed W"
    levels: int | None = None


DEFAULT = Variant()
_KRYLOV = replace(DEFAULT, solver="krylov")


def _widths(*others: tuple[int, ...]) -> dict[str, Variant]:
    return {
        "9,24,24,48 (default)": DEFAULT,
        **{",".join(map(str, widths)): replace(DEFAULT, widths=widths) for widths in others},
    }


# Factor -> label -> variant. The first of a factor is what the others differ from.
FACTORS: dict[str, dict[str, Variant]] = {
    "last layer": {
        "eliminated (default)": DEFAULT,
        "kept, from its solution": replace(DEFAULT, outer="solved"),
        "kept, from random": replace(DEFAULT, outer="random"),
    },
    "solver": {
        "L-BFGS in the metric (default)": DEFAULT,
        "L-BFGS in a projected metric": replace(DEFAULT, metric="projected"),
        "L-BFGS": replace(DEFAULT, solver="lbfgs"),
        "Krylov in the metric": replace(DEFAULT, solver="kf-krylov"),
        "Krylov": _KRYLOV,
    },
    "Krylov products": {"Golub–Pereyra": _KRYLOV, "Kaufman": replace(_KRYLOV, curvature="kaufman")},
    "input gain": {f"{g:g}" + " (default)" * (g == 0.1): replace(DEFAULT, gain=g) for g in (0.1, 0.03, 0.3, 1.0, 3.0)},
    "row weights": {"relative (default)": DEFAULT, "absolute": replace(DEFAULT, goal="absolute")},
    "width": _widths((4, 12, 12, 24), (18, 24, 24, 48), (55, 24, 24, 48), (9, 48, 48, 96)),
    "depth": _widths((48,), (9, 48), (9, 24, 48), (9, 24, 24, 24, 24, 48)),
    "levels": {f"residual net, {levels}": replace(DEFAULT, levels=levels) for levels in (1, 2, 3)},
}


class Measured(NamedTuple):
    """What one training reached."""

    train_error: float
    validation_error: float
    test_error: float
    cpu_seconds: float
    work_units: float


def task_of(split: Split, variant: Variant, seed: int, level: Level | None = None) -> TrainingTask:
    """A variant's training from the initial weights of this seed, or that of one level."""
    prepared = Preparation(split, TrainSettings(goal=variant.goal, alpha_theta=ALPHA_THETA, seed=seed))
    formulation = prepared.standardised(variant.gain)
    if level is not None:
        return prepared.task(level.network, formulation, level.alpha_theta, theta=level.theta)
    network = DenseNetwork(split.train.parameters.shape[1], variant.widths)
    return prepared.task(network, formulation, curvature=variant.curvature)


def measure(split: Split, variant: Variant, seed: int, budget: float) -> Measured:
    """Train from the initial weights of this seed within a budget of work units; the iterate chosen on validation."""
    began, trainings = time.process_time(), []
    method = variant.solver if variant.outer != "eliminated" else f"varpro-{variant.solver}"
    setting = {**METHODS[method].usual, **({SOLVED: 1.0} if variant.outer == "solved" else {})}

    def begin(level: Level | None = None) -> Fit:
        task = task_of(split, variant, seed, level)
        fit = fit_by(method, task, budget, setting, seed)
        if variant.metric == "projected":
            fit.solver = LimitedMemoryBFGS(seed=seed, estimate=projected_metric)
        trainings.append((task, fit))
        return fit

    if variant.levels is None:
        begin().advance(budget)
    else:
        finest = ResidualNetwork(split.train.parameters.shape[1], PAPER_WIDTH, FINEST)
        coarse_to_fine(finest.coarsest(variant.levels), variant.levels, ALPHA_THETA, begin, budget)
    spent = time.process_time() - began
    task, fit = min(trainings, key=lambda training: training[1].best.validation_error)
    train, validation, test = (task.measures(name).measure(fit.best)[1] for name in ("train", "validation", "test"))
    return Measured(train, validation, test, spent, sum(each.objective.meter.total for _, each in trainings))
