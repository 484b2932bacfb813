"""The fits of one training: their common budget, progress reports, checkpoint and cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.stopwatch import Stopwatch
from gnvpro.training.fitting.checkpoint import Checkpoint, restored_fit
from gnvpro.training.fitting.fit import Fit, Record
from gnvpro.training.fitting.methods import Setting, TrainingTask, fit_by
from gnvpro.training.fitting.stored import Stored, stored
from gnvpro.training.solvers.protocol import Status


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows while training."""

    stage: str
    work_units: float
    budget: float
    validation_error: float


class Job(NamedTuple):
    """A fit, and the work units by which it is to advance."""

    fit: Fit
    work_units: float


class Run:
    """The fits of one training (of a surrogate, a classifier or an estimator), their budget, reports, checkpoint and cost.

    `budget` counts the work units of all fits together, for the progress; `seed` is that of what solvers draw. Seconds and
    work units spent on the training outside of its fits go to `outside` and `outside_work`. `coupling` is with the processes
    that run the same on the same samples: fits that advance together are spread over them.
    """

    def __init__(
        self,
        budget: float,
        seed: int = 0,
        on_progress: Callable[[Progress], None] | None = None,
        checkpoint: Checkpoint | None = None,
        coupling: Coupling = ALONE,
    ) -> None:
        self.budget, self._seed, self.coupling = budget, seed, coupling
        self._on_progress, self._checkpoint = on_progress, checkpoint
        self.fits: list[Fit] = []
        self._stopped = False
        self.outside, self.outside_work = Stopwatch(), 0.0

    def save_often(self, budget: float) -> None:
        """Save some times within this budget, however few work units it has."""
        if self._checkpoint is not None:
            self._checkpoint.every = min(self._checkpoint.every, budget / 20)

    def begin(
        self,
        method: str,
        task: TrainingTask,
        stage: str,
        *,
        budget: float | None = None,
        setting: Setting | None = None,
        outer: Tensor | None = None,
        **options: Any,
    ) -> Fit:
        """A fit of this run, see `gnvpro.training.fitting.methods.fit_by`; it goes on where the checkpoint left it."""
        budget = self.budget if budget is None else budget
        fit = fit_by(method, task, budget, setting, self._seed, outer=outer, stage=stage, **options)
        self.fits.append(fit)
        return fit if self._checkpoint is None else self._checkpoint.enrol(fit)

    def advance(self, jobs: Sequence[Job]) -> None:
        """Advance these fits; of one process one after the other, until one of them is interrupted.

        Of several, each fit is advanced by one process and taken up by the others, so that all hold the same bits and decide
        alike. One fit alone is advanced by all of them, as none has anything else to do, and taken from the first.
        """
        if self.coupling.size == 1:
            return self._one_by_one(jobs)
        known = [job for job in jobs if job.fit.is_replaying]
        self._one_by_one(known)  # all have read the checkpoint
        if not self.interrupted:
            self._spread([job for job in jobs if job not in known])

    def _one_by_one(self, jobs: Sequence[Job]) -> None:
        for fit, work_units in jobs:
            if fit.advance(work_units, self.after_step) is Status.interrupted:
                break

    def _spread(self, jobs: Sequence[Job]) -> None:
        rank, owners = self.coupling.rank, _owners(jobs, self.coupling.size)
        alone = len(jobs) == 1
        error: Exception | None = None
        try:
            self._one_by_one([job for job, owner in zip(jobs, owners, strict=True) if alone or owner == rank])
        except Exception as raised:  # those that wait for this process raise it as well
            error = raised
        ours = [
            _portable(job.fit) if error is None and owner == rank else None
            for job, owner in zip(jobs, owners, strict=True)
        ]
        arrived = self.coupling.gathered((ours, error))
        for _, raised in arrived:
            if raised is not None:
                raise raised
        for j, (job, owner) in enumerate(zip(jobs, owners, strict=True)):
            if owner != rank:
                job.fit.take_up(restored_fit(arrived[owner][0][j], job.fit))

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C has ended a fit, or `stop` was called."""
        return self._stopped or any(fit.status is Status.interrupted for fit in self.fits)

    def stop(self) -> None:
        """Take note of Ctrl-C outside of a fit."""
        self._stopped = True

    def after_step(self, fit: Fit) -> None:
        """Save in the checkpoint and report; what `Fit.advance` calls after every step."""
        if self._checkpoint is not None:
            self._checkpoint.after_step()
        if self._on_progress is not None:
            work = sum(fit.objective.meter.total for fit in self.fits)
            self._on_progress(Progress(fit.stage, work, self.budget, fit.best.validation_error))

    def report(self, stage: str) -> None:
        """Report something that was done between two steps of a fit."""
        if self._on_progress is not None:
            work = sum(fit.objective.meter.total for fit in self.fits)
            error = min((fit.best.validation_error for fit in self.fits), default=math.inf)
            self._on_progress(Progress(stage, work, self.budget, error))

    def record(
        self,
        best: Fit | None,
        method: str,
        *,
        choice: dict[str, Any],
        settings: dict[str, Any],
        samples: dict[str, int],
        device: torch.device,
        bounds: dict[str, list[float]] | None = None,
    ) -> dict[str, Any]:
        """How the model was trained and what that cost, JSON-able: the `training` of a saved model.

        `best` is the fit that gave the model, None for a closed form, `choice` what was chosen and why, `bounds` the `lower`
        and `upper` ones of the training samples' parameters.
        """
        return {
            "method": method,
            "status": (
                Status.interrupted if self.interrupted else Status.converged if best is None else best.status
            ).value,
            "work_units": sum(fit.objective.meter.total for fit in self.fits) + self.outside_work,
            "cpu_seconds": sum(fit.cpu_seconds for fit in self.fits) + self.outside.cpu_seconds,
            "wall_seconds": sum(fit.wall_seconds for fit in self.fits) + self.outside.wall_seconds,
            "choice": choice,
            "settings": settings,
            "samples": samples,
            **({} if bounds is None else {"bounds": bounds}),
            "device": str(device),
            "torch": torch.__version__,
        }

    def history(self, *, without: Fit | None = None) -> list[Record]:
        """The records of all fits, one after the other; without validation errors where no samples were held out."""
        return [
            record if fit.has_held_out else replace(record, validation_loss=None, validation_error=None)
            for fit in self.fits
            if fit is not without
            for record in fit.history
        ]


def _owners(jobs: Sequence[Job], size: int) -> list[int]:
    """Which process advances each fit: the costliest first, each by the process that has the least to do."""
    costs = [fit.point.theta.numel() * work_units for fit, work_units in jobs]
    loads, owners = [0.0] * size, [0] * len(jobs)
    for j in sorted(range(len(jobs)), key=lambda j: -costs[j]):
        owners[j] = loads.index(min(loads))
        loads[owners[j]] += costs[j]
    return owners


def _portable(fit: Fit) -> Stored:
    """The state of a fit as it goes to other processes: values, and tensors in the memory of the CPU."""
    values, tensors = stored(fit.state())
    return Stored(values, {name: tensor.detach().cpu() for name, tensor in tensors.items()})
