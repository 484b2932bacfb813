"""Regularisation chosen during a training: of W in closed form at the features reached, of theta by short trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.methods import TrainingTask
from gnvpro.training.fitting.run import Job
from gnvpro.training.solvers.protocol import Status

# Shares of the budget after which W's regularisation is chosen anew.
STAGES = (0.1, 0.3)
# Regularisation of theta for some noise, and for more; noise-free data have the default, 1e-9.
ALPHAS_THETA = (1e-5, 1e-3, 1e-2)

Begin = Callable[[TrainingTask], Fit]
Advance = Callable[[list[Job]], None]


def with_alphas(task: TrainingTask, alpha_w: float | None = None, alpha_theta: float | None = None) -> TrainingTask:
    """The same task with other regularisation; what is left out stays."""
    return replace(task, reduced=task.in_memory.sibling(alpha_theta=alpha_theta, alpha_w=alpha_w))


class Adapting:
    """A training that chooses alpha_w by generalised cross-validation now and then; the last of its fits is the longest.

    A fit is restarted from its best iterate where alpha_w changes, since quasi-Newton pairs belong to one objective
    (slimTrain: Newman, Chung, Chung & Ruthotto, SIAM J. Sci. Comput. 2022). The meters of the fits add up.
    """

    def __init__(self, task: TrainingTask, begin: Begin, smallest: float = 1e-10) -> None:
        self._task, self._begin, self._smallest = task, begin, smallest
        self.fits = [begin(task)]

    def until(self, work_units: float) -> Job:
        """What is to be advanced for so many work units of all its fits."""
        return Job(self.fits[-1], max(work_units - sum(fit.objective.meter.total for fit in self.fits), 0.0))

    def adapt(self) -> None:
        """Choose alpha_w anew, and begin another fit where it changes."""
        fit = self.fits[-1]
        layer = fit.objective.elimination
        if fit.status is Status.interrupted or not isinstance(layer, LeastSquaresLayer):
            return
        features = self._task.reduced.linearize(fit.best.theta).features
        alpha_w = layer.best_alpha(features, self._smallest).alpha
        if alpha_w != layer.alpha_w:
            self._task = replace(with_alphas(self._task, alpha_w), theta=fit.best.theta)
            self.fits.append(self._begin(self._task))


def advance_adapting(
    trainings: Sequence[Adapting], budget: float, advance: Advance, stages: Sequence[float] = STAGES
) -> None:
    """Train all of them together, each for this budget, choosing alpha_w anew after these shares of it."""
    for end in stages:
        advance([training.until(end * budget) for training in trainings])
        for training in trainings:
            training.adapt()
    advance([training.until(budget) for training in trainings])


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
    advance: Advance,
    alphas: Sequence[float] = ALPHAS_THETA,
) -> Regularised:
    """The fit of least validation error after so many work units for each of these alpha_theta, alpha_w chosen along each.

    All start from the task's theta and are advanced together (`Run.advance`); the smaller alpha_theta wins where
    errors are equal.
    """
    alphas = sorted(alphas)
    trainings = [Adapting(with_alphas(task, alpha_theta=alpha), begin) for alpha in alphas]
    advance_adapting(trainings, work_units, advance)
    trials: list[Regularised] = []
    for alpha, training in zip(alphas, trainings, strict=True):
        before = 0.0
        for fit in training.fits:
            layer = fit.objective.elimination
            assert isinstance(layer, LeastSquaresLayer)
            trials.append(Regularised(fit, layer.alpha_w, alpha, before + fit.best.work_units))
            before += fit.objective.meter.total
    return min(trials, key=lambda trial: trial.fit.best.validation_error)
