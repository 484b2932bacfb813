"""Regularisation chosen during a training: of W in closed form at the features reached, of theta by short trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.methods import TrainingTask
from gnvpro.training.solvers.protocol import Status

# Shares of the budget after which W's regularisation is chosen anew.
STAGES = (0.1, 0.3)
# Regularisation of theta for some noise, and for more; noise-free data have the default, 1e-9.
ALPHAS_THETA = (1e-5, 1e-3, 1e-2)

Begin = Callable[[TrainingTask], Fit]


def with_alphas(task: TrainingTask, alpha_w: float | None = None, alpha_theta: float | None = None) -> TrainingTask:
    """The same task with other regularisation; what is left out stays."""
    return replace(task, reduced=task.in_memory.sibling(alpha_theta=alpha_theta, alpha_w=alpha_w))


def advance_adapting(
    task: TrainingTask,
    begin: Begin,
    budget: float,
    stages: Sequence[float] = STAGES,
    smallest: float = 1e-10,
    on_step: Callable[[Fit], None] | None = None,
) -> list[Fit]:
    """Train, choosing alpha_w by generalised cross-validation after these shares of the budget; the last fit is the longest.

    A fit is restarted from its best iterate where alpha_w changes, since quasi-Newton pairs belong to one objective
    (slimTrain: Newman, Chung, Chung & Ruthotto, SIAM J. Sci. Comput. 2022). The meters of the fits add up.
    """
    fits = [begin(task)]
    for end in [*stages, 1.0]:
        fit = fits[-1]
        fit.advance(max(end * budget - sum(one.objective.meter.total for one in fits), 0.0), on_step)
        layer = fit.objective.elimination
        if end == 1.0 or fit.status is Status.interrupted or not isinstance(layer, LeastSquaresLayer):
            continue
        features = task.reduced.linearize(fit.best.theta).features
        alpha_w = layer.best_alpha(features, smallest).alpha
        if alpha_w != layer.alpha_w:
            task = replace(with_alphas(task, alpha_w), theta=fit.best.theta)
            fits.append(begin(task))
    return fits


class Regularised(NamedTuple):
    """A fit, the regularisation it had, and the work units to its best iterate, those of the fits before it included."""

    fit: Fit
    alpha_w: float
    alpha_theta: float
    work_units: float


def best_regularisation(
    task: TrainingTask,
    begin: Begin,
    work_units: float,
    alphas: Sequence[float] = ALPHAS_THETA,
    on_step: Callable[[Fit], None] | None = None,
) -> Regularised:
    """The fit of least validation error after so many work units for each of these alpha_theta, alpha_w chosen along each.

    All start from the task's theta; the smaller alpha_theta wins where errors are equal.
    """
    trials: list[Regularised] = []
    for alpha in sorted(alphas):
        before = 0.0
        for fit in advance_adapting(with_alphas(task, alpha_theta=alpha), begin, work_units, on_step=on_step):
            layer = fit.objective.elimination
            assert isinstance(layer, LeastSquaresLayer)
            trials.append(Regularised(fit, layer.alpha_w, alpha, before + fit.best.work_units))
            before += fit.objective.meter.total
    return min(trials, key=lambda trial: trial.fit.best.validation_error)
