"""The outer loop: steps of a solver, watched by validation data, within a budget of work units."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.objectives.protocol import Objective, OuterLayer, Point
from gnvpro.surrogate.objectives.work import WorkMeter
from gnvpro.surrogate.stopwatch import Stopwatch
from gnvpro.training.fitting.validation import ObjectiveValue, Validation
from gnvpro.training.interrupts import came
from gnvpro.training.solvers.protocol import Resumable, Solver, Status, Step


@dataclass(frozen=True)
class Record:
    """One line of history; errors are None where they were not measured."""

    stage: str
    iteration: int
    work_units: float
    cpu_seconds: float
    wall_seconds: float
    objective: float
    gradient_norm: float
    step: float
    accepted: bool
    train_error: float | None = None
    validation_loss: float | None = None
    validation_error: float | None = None


@dataclass(frozen=True, eq=False)
class Iterate:
    """A point worth keeping: the network's theta, the last layer, and its validation error."""

    validation_error: float
    theta: Tensor
    outer: OuterLayer
    work_units: float
    iteration: int

    @classmethod
    def of(cls, point: Point, validation_error: float, iteration: int) -> Iterate:
        """What is kept of a point."""
        work = point.objective.meter.total
        return cls(validation_error, point.network_weights, point.outer, work, iteration)

    @property
    def network_weights(self) -> Tensor:
        """Theta, by the name that points use."""
        return self.theta

    @property
    def weights(self) -> Tensor:
        """W in the coordinates of the targets, (n_out, width + q + 1)."""
        return self.outer.weights


class End(NamedTuple):
    """What callers could read of a fit when an `advance` ended."""

    status: Status
    forward: float
    backward: float
    validation_error: float


@dataclass(eq=False)
class FitState:
    """What a checkpoint holds of a fit; `solver` is the state of the fit's solver, of a type of its own."""

    status: Status
    iteration: int
    is_advancing: bool
    limit: float
    ends: list[End]
    meter: WorkMeter
    seconds: list[float]
    history: list[Record]
    best: Iterate
    theta: Tensor
    solver: Any


class Fit:
    """A training run that can be paused: `advance` goes on until the budget, convergence or Ctrl-C.

    Parameters
    ----------
    theta : (n_theta,)
        Start, dtype and device of the objective's inputs.
    patience
        Work units without a better validation error after which the fit ends, for every row of a sample.
    stage
        Label in the history.
    time_validation
        Whether measuring validation and training errors is on the clock. A comparison of methods that measure at different
        intervals takes it off, for all alike; passes over the training set that a solver asks for are always on it.
    choose_beyond_budget
        Whether an iterate may be chosen that the last iteration reached after the budget was spent.
    """

    def __init__(
        self,
        objective: Objective,
        theta: Tensor,
        solver: Solver,
        validation: Validation,
        *,
        patience: float = math.inf,
        stage: str = "",
        method: str = "",
        time_validation: bool = True,
        choose_beyond_budget: bool = True,
    ) -> None:
        self.objective, self.solver, self.stage, self.method = objective, solver, stage, method
        self._validation, self._patience = validation, patience * objective.meter.rows
        self._time_validation, self._choose_beyond_budget, self._limit = time_validation, choose_beyond_budget, math.inf
        self.history: list[Record] = []
        self.status = Status.running
        self._stopwatch = Stopwatch()
        self._iteration, self._is_advancing = 0, False
        self._ends: list[End] = []
        self._restored: FitState | None = None
        with self._stopwatch:
            self.point = objective.at(theta)
            if not math.isfinite(self.point.value):
                raise UsageError(
                    "the objective is not finite at the initial weights; check the scaling of the inputs, and for classes "
                    "that alpha_w is not below rounding beside the squares of the features"
                )
            self.best = Iterate.of(self.point, math.inf, 0)
            self._validate(Step(self.point, 0.0, True))

    @property
    def network(self) -> FeatureNetwork:
        """The network being fitted."""
        return self.objective.network

    @property
    def has_held_out(self) -> bool:
        """Whether samples that are held out choose the iterate; else it is the objective, which is no error."""
        return not isinstance(self._validation, ObjectiveValue)

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of this process spent on the fit."""
        return self._stopwatch.cpu_seconds

    @property
    def wall_seconds(self) -> float:
        """By the clock on the wall; pauses between two `advance` do not count."""
        return self._stopwatch.wall_seconds

    def advance(self, work_units: float, on_step: Callable[[Fit], None] | None = None) -> Status:
        """Run until `work_units` more are spent; the status says why it ended.

        A fit that ended for another reason than its budget stays ended. Ctrl-C ends it with status
        `interrupted`, the best iterate kept.
        """
        if self._restored is not None and self.is_replaying:
            return self._replayed(self._restored)
        if self._restored is not None:
            self._take_up(self._restored)
        if not self._is_advancing:
            if self.status not in (Status.running, Status.budget_spent):
                return self._ended()
            self.status, self._limit = Status.running, self.objective.meter.total + work_units
            self._is_advancing = True
        try:
            with self._stopwatch:
                while self.status is Status.running:
                    if came(self.objective.elimination.coupling):
                        self.status = Status.interrupted
                        break
                    if self.objective.meter.total >= self._limit:
                        self.status = Status.budget_spent
                        break
                    self._one_step()
                    if on_step is not None:
                        on_step(self)
        except KeyboardInterrupt:
            self.status = Status.interrupted
        if self.history[-1].validation_error is None:
            with self._stopwatch:
                self._validate(Step(self.point, self.history[-1].step, self.history[-1].accepted))
        return self._ended()

    @property
    def position(self) -> tuple[int, int, int]:
        """Changes whenever the state does: steps, advances finished, whether one is under way; zero at the start."""
        if self._restored is not None:
            return self._restored.iteration, len(self._restored.ends), int(self._restored.is_advancing)
        return self._iteration, len(self._ends), int(self._is_advancing)

    def state(self) -> FitState:
        """All that the rest of the run depends on, for `restore`; a `UsageError` where the solver cannot be resumed."""
        if self._restored is not None:
            return self._restored
        if not isinstance(self.solver, Resumable):
            raise UsageError(
                f"the solver {self.solver.name} has no state that a checkpoint could store; train without a checkpoint"
            )
        return FitState(
            self.status, self._iteration, self._is_advancing, self._limit, self._ends, self.objective.meter,
            list(self._stopwatch.read()), self.history, self.best, self.point.theta, self.solver.state,
        )  # fmt: skip

    def restore(self, state: FitState) -> None:
        """Become the fit of the same arguments whose state this is.

        The run repeats its advances from the first one on. Those that were finished only show what was seen at their end;
        the next one goes on where the state was taken. The inner problem is solved again at the state's theta, so the bits
        are the same for objectives that solve it in closed form.
        """
        self._restored = state

    @property
    def is_replaying(self) -> bool:
        """Whether the next `advance` only shows what a checkpoint knows of it."""
        return self._restored is not None and len(self._ends) < len(self._restored.ends)

    def take_up(self, state: FitState) -> None:
        """Become, now, the fit of the same arguments whose state this is: another process has advanced it."""
        with self._stopwatch:
            self._take_up(state)
            self.point.release()

    def _ended(self) -> Status:
        self._is_advancing = False
        self.point.release()
        meter = self.objective.meter
        self._ends.append(End(self.status, meter.forward, meter.backward, self.best.validation_error))
        return self.status

    def _replayed(self, state: FitState) -> Status:
        end = state.ends[len(self._ends)]
        self._ends.append(end)
        if len(self._ends) == len(state.ends) and not state.is_advancing:
            self._take_up(state)
        else:
            self.status = end.status
            self.objective.meter.forward, self.objective.meter.backward = end.forward, end.backward
            self.best = replace(self.best, validation_error=end.validation_error)
        return self.status

    def _take_up(self, state: FitState) -> None:
        assert isinstance(self.solver, Resumable)
        meter, self._restored = self.objective.meter, None
        self.point = self.objective.at(state.theta)
        _ = self.point.gradient  # what the record of this point asked for: charged before the meter is set
        meter.forward, meter.backward = state.meter.forward, state.meter.backward
        self.solver.state = state.solver
        self.best, self.history, self.status, self._ends = state.best, state.history, state.status, state.ends
        self._iteration, self._is_advancing, self._limit = state.iteration, state.is_advancing, state.limit
        self._stopwatch = Stopwatch(*state.seconds)

    def _one_step(self) -> None:
        step = self.solver.step(self.point)
        self._iteration += 1
        self.point, self.status = step.point, step.status
        last = step.status is not Status.running
        if last or self._iteration % self.solver.validation_interval == 0:
            self._validate(step)
            if self.objective.meter.total - self.best.work_units > self._patience and not last:
                self.status = Status.no_improvement
        else:
            self._record(step)

    def _validate(self, step: Step) -> None:
        with nullcontext() if self._time_validation else self._stopwatch.stopped():
            loss, error = self._validation.measure(step.point)
            train_error, _ = step.point.training_error(), step.point.value  # a watched point makes its value here
        within = self._choose_beyond_budget or self.objective.meter.total <= self._limit
        if error < self.best.validation_error and within:
            self.best = Iterate.of(step.point, error, self._iteration)
        self._record(step, train_error, loss, error)

    def _record(self, step: Step, *errors: float) -> None:
        norm = step.point.gradient_norm if step.gradient_norm is None else step.gradient_norm
        self.history.append(
            Record(
                self.stage, self._iteration, self.objective.meter.total, *self._stopwatch.read(), step.point.value, norm,
                step.size, step.accepted, *errors,
            )
        )  # fmt: skip
