"""A surrogate whose error is confirmed, from a problem alone: the function `gnvpro.build`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gnvpro.apps.build.costs import Costs, measured_costs
from gnvpro.apps.build.data import BuildData
from gnvpro.apps.build.error_map import error_map
from gnvpro.apps.build.journal import NAME as JOURNAL
from gnvpro.apps.build.journal import Journal
from gnvpro.apps.build.models import Models
from gnvpro.apps.build.report import write_report
from gnvpro.apps.build.result import REPORT, Build
from gnvpro.apps.build.rounds import End, Rounds
from gnvpro.apps.build.settings import BuildSettings
from gnvpro.pde_data.generation.request import problem_asked
from gnvpro.pde_data.problems.contract import Problem, coarser_version
from gnvpro.pde_data.problems.limited import solved_within
from gnvpro.pde_data.storage.lock import sole_writer
from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.folder import BUILD, require_place
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report, silent
from gnvpro.training.fit_settings import settings_of
from gnvpro.training.fitting.outcome import Training
from gnvpro.training.settings import TrainSettings


def build(
    problem: Any,
    out: str | Path,
    error: float | None = None,
    settings: BuildSettings | None = None,
    *,
    options: dict[str, Any] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    time_limit: float | None = None,
    ranks: int = 1,
    threads_per_solve: int = 1,
    overwrite: bool = False,
    command: str | None = None,
    progress: Report = silent,
    tell: Callable[[str], None] = lambda _: None,
    **fields: Any,
) -> Build:
    """Solve, train and judge on fresh solves, in rounds, until the error asked for is confirmed.

    What is solved, the model and the journal are the same however often the run was killed: the same call goes on.

    Parameters
    ----------
    problem, options
        As `gnvpro.generate` takes them.
    out
        Folder of the model. The data it was made of, the journal and a report are in the folder `NAME-data` beside it.
    error, settings, fields
        The error that is to be confirmed, such as .001: the mean over the parameters' law of the error of a sample as
        training states it, of the anomalous part where the problem has a background. Further settings by name, see
        `gnvpro.apps.build.settings.BuildSettings`, or all in one.
    workers, scheduler
        Where solves run, as `gnvpro.generate` takes them.
    time_limit, ranks, threads_per_solve
        How samples are solved: see `gnvpro.pde_data.problems.limited.solved_within`.
    overwrite
        Replace another model that stands at `out`; the model of this build is replaced in any case.
    command
        What a reader of the report types to get the same again.
    tell
        Called with a line for every round that is over.

    Raises
    ------
    UsageError
        What does not fit, or the data beside `out` are of a build with other settings.
    NumericalFailure
        No sample could be solved.
    OSError
        A folder that cannot be written.
    KeyboardInterrupt
        After Ctrl-C; the same call goes on.
    """
    if settings is not None and (fields or error is not None):
        raise UsageError(
            "expected settings, or an error and further settings by name, got both; replace them in the settings"
        )
    if settings is None:
        if error is None:
            raise UsageError("say which error is to be confirmed, such as error=1e-3")
        settings = settings_of(BuildSettings, {"error": error, **fields})
    out = path_of(out, "the folder of the model").absolute()
    folder = data_folder(out)
    with solved_within(problem_asked(problem, options), time_limit, ranks, threads_per_solve) as problem:
        coarse = _coarse_problem(problem, settings)
        if not _is_own_model(out, folder):
            require_place(out, overwrite)
        folder.mkdir(parents=True, exist_ok=True)
        with sole_writer(folder):
            journal = Journal(folder, problem, asdict(settings))
            if journal.document["status"] is not None and out.exists():
                return Build(Surrogate.load(out), out, folder, journal.document)
            data = BuildData(
                problem, folder, settings.seed, coarse, {"workers": workers, "scheduler": scheduler}, progress
            )
            costs = _costs(data, settings, journal)
            models = Models(data, TrainSettings(seed=settings.seed), costs, progress)
            try:
                end = Rounds(data, models, journal, settings, costs, tell).run()
            except KeyboardInterrupt:
                said = f"{len(journal.rounds)} rounds are over, and what is solved is in {folder}"
                raise KeyboardInterrupt(f"{said}; the same build goes on there") from None
            training = _with_judgement(end, data.estimated_error())
            journal.document |= {"status": end.status, "reason": end.reason}
            training.save(out, overwrite=True, extra={BUILD: journal.document})
            journal.write()
    result = Build(training.surrogate, out, folder, journal.document)
    where = error_map(problem.parameters, end.parameters, end.errors)
    write_report(folder / REPORT, result, where, end.parameters, end.errors, command)
    return result


def data_folder(out: Path) -> Path:
    """Where the data of a build are whose model is saved at `out`."""
    return out.with_name(f"{out.name}-data")


def _is_own_model(out: Path, folder: Path) -> bool:
    """Whether the model at `out` is that of the build whose data are in the folder."""
    return (folder / JOURNAL).exists() and (out / BUILD).exists()


def _coarse_problem(problem: Problem, settings: BuildSettings) -> Problem | None:
    """The version for cheap solves, as asked for: the cheapest without."""
    if settings.coarser is not None:
        return coarser_version(problem, settings.coarser) if settings.coarser else None
    coarsest = None
    while getattr(coarsest or problem, "coarser", lambda: None)() is not None:
        coarsest = coarser_version(coarsest or problem)
    return coarsest


def _costs(data: BuildData, settings: BuildSettings, journal: Journal) -> Costs:
    """Those in the journal, or what was given and measured: once, so that a build that goes on decides as before."""
    if (there := journal.document["costs"]) is None:
        data.progress(0, None, "measuring what solves cost")
        there = measured_costs(data.problem, data.coarse_problem, settings).to_dict()
        journal.document["costs"] = there
        journal.write()
    return Costs(**there)


def _with_judgement(end: End, estimated_error: dict[str, Any] | None) -> Training:
    """The model, which says how it does at the fresh solves that judged it, and how accurate the solves are."""
    surrogate = end.training.surrogate
    surrogate = replace(surrogate, provenance={**surrogate.provenance, "estimated_error": estimated_error})
    if end.judgement is None:
        return replace(end.training, surrogate=surrogate)
    kind = "errors" if surrogate.background is None else "errors_anomalous"
    errors = {kind: {**getattr(surrogate, kind), "test": end.judgement.mean}}
    samples = {**surrogate.training["samples"], "test": end.judgement.n}
    surrogate = replace(surrogate, training={**surrogate.training, "samples": samples}, **errors)
    return replace(end.training, surrogate=surrogate)
