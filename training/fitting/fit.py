"""The outer loop: steps of a solver, watched by validation data, within a budget of work units."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Protocol

import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.objectives.protocol import Objective, OuterLayer, Point
from gnvpro.surrogate.objectives.reduced import ReducedObjective
from gnvpro.training.fitting.clock import Clock
from gnvpro.training.fitting.records import End, Iterate, Record
from gnvpro.training.solvers.protocol import Solver, Status, Step
from gnvpro.training.solvers.state import Resumable, State


class Validation(Protocol):
    """Data that choose the iterate."""

    def measure(self, point: Point) -> tuple[float, float]:
        """Loss, and the error by which iterates are chosen: smaller is better."""
        ...


class ValidationSet:
    """Data that choose the iterate: their error in the coordinates of the compressed targets.

    Parameters
    ----------
    inputs, targets, row_weights
        Scaled like those of the objective: (n, n_inputs), (n, n_out), (n,).
    fixed : (n, q)
        The objective's fixed columns at these samples, where it has any.
    """

    def __init__(
        self,
        objective: ReducedObjective,
        inputs: Tensor,
        targets: Tensor,
        row_weights: Tensor,
        fixed: Tensor | None = None,
    ) -> None:
        self._fixed = fixed
        self._network, self._inputs = objective.network, inputs
        self._targets = targets @ objective.rotation.t()
        self._dropped = torch.linalg.vector_norm(targets - self._targets @ objective.rotation, dim=1)
        self._norms = torch.linalg.vector_norm(targets, dim=1)
        self._row_weights = row_weights

    def measure(self, point: Point) -> tuple[float, float]:
        """Weighted mean-square loss, and mean per-sample relative L2 error."""
        with torch.no_grad():
            features = self._network.bind(point.network_weights)(self._inputs).double()
        weights, width = point.outer.compressed, features.shape[1]
        misfit = features @ weights[:width] + weights[-1] - self._targets
        if self._fixed is not None:
            misfit = torch.addmm(misfit, self._fixed, weights[width:-1])
        squares = (misfit**2).sum(1) + self._dropped**2
        loss = 0.5 * (self._row_weights**2 * squares).mean()
        error = (squares.sqrt() / self._norms).mean()
        loss, error = torch.stack([loss, error]).tolist()
        return loss, error


class Fit:
    """A training run that can be paused: `advance` goes on until the budget, convergence or Ctrl-C.

    Parameters
    ----------
    theta : (n_theta,)
        Start, dtype and device of the objective's inputs.
    patience
        Work units without a better validation error after which the fit ends.
    stage
        Label in the history.
    charge_looks
        Whether looking at validation and training errors is on the clock. A comparison of methods that look at different
        intervals takes it off, for all alike; passes over the training set that a solver asks for are always on it.
    overdraw
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
        charge_looks: bool = True,
        overdraw: bool = True,
    ) -> None:
        self.objective, self.solver, self.stage = objective, solver, stage
        self._validation, self._patience = validation, patience
        self._charge_looks, self._overdraw, self._limit = charge_looks, overdraw, math.inf
        self.history: list[Record] = []
        self.status = Status.running
        self.cpu_seconds = self.wall_seconds = 0.0
        self._iteration, self._is_advancing = 0, False
        self._ends: list[End] = []
        self._restored: State | None = None
        with self._timed():
            self.point = objective.at(theta)
            if not math.isfinite(self.point.value):
                raise UsageError(
                    "the objective is not finite at the initial weights; check the scaling of the inputs, and for classes "
                    "that alpha_w is not below rounding beside the squares of the features"
                )
            self.best = Iterate.of(self.point, math.inf, 0)
            self._look(Step(self.point, 0.0, True))

    @property
    def network(self) -> FeatureNetwork:
        """The network being fitted."""
        return self.objective.network

    def advance(self, work_units: float, on_step: Callable[[Fit], None] | None = None) -> Status:
        """Run until `work_units` more are spent; the status says why it ended.

        A fit that ended for another reason than its budget stays ended. Ctrl-C ends it with status
        `interrupted`, the best iterate kept.
        """
        if self._restored is not None and len(self._ends) < len(self._restored.values["ends"]):
            return self._replayed()
        if self._restored is not None:
            self._take_up(self._restored)
        if not self._is_advancing:
            if self.status not in (Status.running, Status.budget_spent):
                return self._ended()
            self.status, self._limit = Status.running, self.objective.meter.total + work_units
            self._is_advancing = True
        try:
            with self._timed():
                while self.status is Status.running:
                    if self.objective.meter.total >= self._limit:
                        self.status = Status.budget_spent
                        break
                    self._one_step()
                    if on_step is not None:
                        on_step(self)
        except KeyboardInterrupt:
            self.status = Status.interrupted
        if self.history[-1].validation_error is None:
            with self._timed():
                self._look(Step(self.point, self.history[-1].step, self.history[-1].accepted))
        return self._ended()

    @property
    def position(self) -> tuple[int, int, int]:
        """Changes whenever the state does: steps, advances finished, whether one is under way; zero at the start."""
        if self._restored is not None:
            values = self._restored.values
            return values["iteration"], len(values["ends"]), int(values["is_advancing"])
        return self._iteration, len(self._ends), int(self._is_advancing)

    def state(self) -> State:
        """All that the rest of the run depends on, for `restore`.

        Raises
        ------
        ValueError
            The solver cannot be resumed.
        """
        if self._restored is not None:
            return self._restored
        if not isinstance(self.solver, Resumable):
            raise UsageError(f"the solver {self.solver.name} cannot be put aside; train without a checkpoint")
        seconds = self._clock.read() if self._is_advancing else (self.cpu_seconds, self.wall_seconds)
        meter, best = self.objective.meter, self.best
        state = State(
            {
                "status": self.status.value,
                "iteration": self._iteration,
                "is_advancing": self._is_advancing,
                "limit": self._limit,
                "ends": [end._asdict() for end in self._ends],
                "meter": asdict(meter),
                "seconds": list(seconds),
                "history": [asdict(record) for record in self.history],
                "best": [best.validation_error, best.work_units, best.iteration],
            },
            {"theta": self.point.theta, "best.theta": best.theta, "best.compressed": best.outer.compressed},
        )
        if best.outer.rotation is not None:
            state.tensors["best.rotation"] = best.outer.rotation
        state.add("solver", self.solver.state())
        return state

    def restore(self, state: State) -> None:
        """Become the fit whose state this is, made with the same arguments.

        The run repeats its advances from the first one on. Those that were finished only show what was seen at their end;
        the next one goes on where the state was taken. The inner problem is solved again at the state's theta, so the bits
        are the same for objectives that solve it in closed form.
        """
        self._restored = state

    def _ended(self) -> Status:
        self._is_advancing = False
        meter = self.objective.meter
        self._ends.append(End(self.status, meter.forward, meter.backward, self.best.validation_error))
        return self.status

    def _replayed(self) -> Status:
        assert self._restored is not None
        values = self._restored.values
        end = End.of(values["ends"][len(self._ends)])
        self._ends.append(end)
        if len(self._ends) == len(values["ends"]) and not values["is_advancing"]:
            self._take_up(self._restored)
        else:
            self.status = end.status
            self.objective.meter.forward, self.objective.meter.backward = end.forward, end.backward
            self.best = replace(self.best, validation_error=end.validation_error)
        return self.status

    def _take_up(self, state: State) -> None:
        assert isinstance(self.solver, Resumable)
        values, tensors = state.values, state.on(self.point.theta).tensors
        self.point = self.objective.at(tensors["theta"])
        _ = self.point.gradient  # what the record of this point asked for: charged before the meter is set
        solver = state.on(self.point.theta).part("solver")
        assert solver is not None
        self.solver.restore(solver)
        outer = OuterLayer(tensors["best.compressed"], tensors.get("best.rotation"))
        error, work_units, iteration = values["best"]
        self.best = Iterate(error, tensors["best.theta"], outer, work_units, iteration)
        self.history = [Record(**record) for record in values["history"]]
        self.status, self._iteration = Status(values["status"]), values["iteration"]
        self._is_advancing, self._limit = values["is_advancing"], values["limit"]
        self._ends = [End.of(end) for end in values["ends"]]
        self.cpu_seconds, self.wall_seconds = values["seconds"]
        self.objective.meter.forward, self.objective.meter.backward = values["meter"].values()
        self._restored = None

    def _one_step(self) -> None:
        step = self.solver.step(self.point)
        self._iteration += 1
        self.point, self.status = step.point, step.status
        last = step.status is not Status.running
        if last or self._iteration % self.solver.validation_interval == 0:
            self._look(step)
            if self.objective.meter.total - self.best.work_units > self._patience and not last:
                self.status = Status.no_improvement
        else:
            self._record(step)

    def _look(self, step: Step) -> None:
        with self._clock.stopped(not self._charge_looks):
            loss, error = self._validation.measure(step.point)
            train_error, _ = step.point.training_error(), step.point.value  # a watched point makes its value here
        within = self._overdraw or self.objective.meter.total <= self._limit
        if error < self.best.validation_error and within:
            self.best = Iterate.of(step.point, error, self._iteration)
        self._record(step, train_error, loss, error)

    def _record(self, step: Step, *errors: float) -> None:
        norm = step.gradient_norm
        if norm is None:
            norm = float(torch.linalg.vector_norm(step.point.gradient))
        self.history.append(
            Record(
                self.stage, self._iteration, self.objective.meter.total, *self._clock.read(), step.point.value, norm,
                step.size, step.accepted, *errors,
            )
        )  # fmt: skip

    def _timed(self) -> Clock:
        self._clock = Clock(self)
        return self._clock
