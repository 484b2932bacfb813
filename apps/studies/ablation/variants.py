"""The trainings that the ablation compares: the default, and what differs from it in one factor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gnvpro.apps.studies.ablation.projected_metric import projected_metric
from gnvpro.surrogate.elimination.least_squares import GaussNewtonKind
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.surrogate.objectives.protocol import Objective
from gnvpro.surrogate.objectives.reduced import ReducedObjective, reduced_least_squares
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.surrogate.scaling import Scaling
from gnvpro.training.choice.multilevel import Level, coarse_to_fine
from gnvpro.training.fitting.fit import Fit, ValidationSet
from gnvpro.training.settings import COMPRESSION, KRYLOV_SIZE_IN_METRIC, PAPER_WIDTH
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.protocol import Solver
from gnvpro.training.solvers.trust_region import TrustRegionKrylov

ALPHA_W, ALPHA_THETA = 1e-10, 1e-9
# RK4 steps on the finest level: three levels are 1, 2, 4.
FINEST = 4

SOLVERS: dict[str, Callable[[], Solver]] = {
    "L-BFGS in the metric": lambda: LimitedMemoryBFGS(),
    "L-BFGS": lambda: LimitedMemoryBFGS(metric=False),
    "L-BFGS in a projected metric": lambda: LimitedMemoryBFGS(estimate=projected_metric),
    "Krylov in the metric": lambda: TrustRegionKrylov(size=KRYLOV_SIZE_IN_METRIC, metric=True),
    "Krylov": lambda: TrustRegionKrylov(),
}


@dataclass(frozen=True)
class Variant:
    """One way to train; the defaults are the point around which the ablation turns.

    Attributes
    ----------
    outer
        W eliminated, or kept among the variables, beginning at its solution or at random.
    levels
        Of a residual network trained coarse to fine; None for dense layers of `widths`.
    """

    widths: tuple[int, ...] = (9, 24, 24, 48)
    gain: float = 0.1
    goal: Literal["relative", "absolute"] = "relative"
    solver: str = "L-BFGS in the metric"
    curvature: GaussNewtonKind = "golub-pereyra"
    outer: Literal["eliminated", "solved", "random"] = "eliminated"
    levels: int | None = None


DEFAULT = Variant()
_KRYLOV = replace(DEFAULT, solver="Krylov")
# Factor -> label -> variant. The first of a factor is what the others differ from.
FACTORS: dict[str, dict[str, Variant]] = {
    "last layer": {
        "eliminated (default)": DEFAULT,
        "kept, from its solution": replace(DEFAULT, outer="solved"),
        "kept, from random": replace(DEFAULT, outer="random"),
    },
    "solver": {name + " (default)" * (name == DEFAULT.solver): replace(DEFAULT, solver=name) for name in SOLVERS},
    "Krylov products": {
        "Golub–Pereyra": _KRYLOV,
        "Kaufman": replace(_KRYLOV, curvature="kaufman"),
    },
    "input gain": {f"{g:g}" + " (default)" * (g == 0.1): replace(DEFAULT, gain=g) for g in (0.1, 0.03, 0.3, 1.0, 3.0)},
    "row weights": {
        "relative (default)": DEFAULT,
        "absolute": replace(DEFAULT, goal="absolute"),
    },
    "width": {
        "9,24,24,48 (default)": DEFAULT,
        **{
            ",".join(map(str, w)): replace(DEFAULT, widths=w)
            for w in ((4, 12, 12, 24), (18, 24, 24, 48), (55, 24, 24, 48), (9, 48, 48, 96))
        },
    },
    "depth": {
        "9,24,24,48 (default)": DEFAULT,
        **{
            ",".join(map(str, w)): replace(DEFAULT, widths=w)
            for w in ((48,), (9, 48), (9, 24, 48), (9, 24, 24, 24, 24, 48))
        },
    },
    "levels": {
        "residual net, 1": replace(DEFAULT, levels=1),
        "residual net, 2": replace(DEFAULT, levels=2),
        "residual net, 3": replace(DEFAULT, levels=3),
    },
}


class Measured(NamedTuple):
    """What one training reached."""

    train_error: float
    validation_error: float
    test_error: float
    cpu_seconds: float
    work_units: float


class Problem:
    """A split of the samples, scaled for a variant."""

    def __init__(self, split: Split, variant: Variant) -> None:
        self.split, self.variant = split, variant

    @cached_property
    def scaling(self) -> Scaling:
        """Of the training samples."""
        train = self.split.train
        return Scaling.standardised(train.parameters, train.observables, self.variant.gain)

    def inputs(self, samples: Samples) -> Tensor:
        """Scaled parameters."""
        return torch.from_numpy(self.scaling.inputs(samples.parameters))

    def targets(self, samples: Samples) -> Tensor:
        """Scaled observables."""
        return torch.from_numpy(self.scaling.targets(samples.parameters, samples.observables))

    def row_weights(self, samples: Samples) -> Tensor:
        """omega by the goal; of unit RMS over the training samples."""

        def raw(of: Samples) -> Tensor:
            norms = torch.from_numpy(np.linalg.norm(of.observables, axis=1))
            return 1 / norms if self.variant.goal == "relative" else torch.ones_like(norms)

        return raw(samples) / raw(self.split.train).square().mean().sqrt()

    def reduced(self, network: FeatureNetwork, alpha_theta: float = ALPHA_THETA) -> ReducedObjective:
        """The reduced objective of the training samples."""
        train = self.split.train
        return reduced_least_squares(
            network,
            self.inputs(train),
            self.targets(train),
            row_weights=self.row_weights(train),
            alpha_w=ALPHA_W,
            alpha_theta=alpha_theta,
            compression=COMPRESSION,
            curvature=self.variant.curvature,
        )

    def validation(self, reduced: ReducedObjective) -> ValidationSet:
        """Chooses the iterate."""
        samples = self.split.validation
        return ValidationSet(reduced, self.inputs(samples), self.targets(samples), self.row_weights(samples))

    def error(self, network: FeatureNetwork, theta: Tensor, weights: Tensor, samples: Samples) -> float:
        """Mean relative L2 error on samples; weights (n_out, width + 1)."""
        with torch.no_grad():
            features = network.bind(theta)(self.inputs(samples))
        targets = self.targets(samples)
        misfit = torch.addmm(weights[:, -1], features, weights[:, :-1].t()) - targets
        return float((torch.linalg.vector_norm(misfit, dim=1) / torch.linalg.vector_norm(targets, dim=1)).mean())


def measure(split: Split, variant: Variant, seed: int, budget: float) -> Measured:
    """Train from the initial weights of this seed within a budget of work units; the iterate chosen on validation."""
    problem = Problem(split, variant)
    began = time.process_time()
    fits = _coarse_to_fine(problem, variant.levels, seed, budget) if variant.levels else [_fit(problem, seed, budget)]
    spent = time.process_time() - began
    fit = min(fits, key=lambda f: f.best.validation_error)

    def error(samples: Samples) -> float:
        return problem.error(fit.network, fit.best.theta, fit.best.weights, samples)

    return Measured(
        error(split.train),
        error(split.validation),
        error(split.test),
        spent,
        sum(f.objective.meter.total for f in fits),
    )


def _fit(problem: Problem, seed: int, budget: float) -> Fit:
    variant = problem.variant
    network = DenseNetwork(problem.split.train.parameters.shape[1], variant.widths)
    reduced, theta = problem.reduced(network), network.initial(seed)
    objective: Objective = reduced
    if variant.outer != "eliminated":
        full = FullObjective(reduced)
        objective, theta = full, full.start(theta, outer=variant.outer, seed=seed)
    fit = Fit(objective, theta, SOLVERS[variant.solver](), problem.validation(reduced))
    fit.advance(budget)
    return fit


def _coarse_to_fine(problem: Problem, levels: int, seed: int, budget: float) -> list[Fit]:
    """A fit per level, the last on the finest network."""
    finest = ResidualNetwork(problem.split.train.parameters.shape[1], PAPER_WIDTH, FINEST)

    def start(level: Level) -> Fit:
        reduced = problem.reduced(level.network, level.alpha_theta)
        theta = level.network.initial(seed) if level.theta is None else level.theta
        return Fit(reduced, theta, SOLVERS[problem.variant.solver](), problem.validation(reduced))

    return coarse_to_fine(finest.coarsest(levels), levels, ALPHA_THETA, start, budget)
