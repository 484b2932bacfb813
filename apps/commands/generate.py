"""`gnvpro generate`: a data set from PDE solves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge
from typer import Argument, Option

from gnvpro.apps.console import Outcome, Pace, progress, table
from gnvpro.apps.settings import Assignments
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import seconds

if TYPE_CHECKING:
    from gnvpro.pde_data.generation.engines import Engine

EXAMPLE = "generate cdr --samples 800 --seed 0 --out runs/cdr.zarr"


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """Settings of `gnvpro generate`."""

    problem: Annotated[str, Argument(help="A registered problem (cdr, dcr) or package.module:factory of your own.")]
    samples: Annotated[int, Option("--samples", "-n", help="Number of samples; more than before extend."), Ge(1)]
    out: Annotated[Path, Option("--out", "-o", help="Data set to write, a zarr folder; an unfinished one is resumed.")]
    seed: Annotated[int, Option("--seed", "-s", help="Seed of the parameters."), Ge(0)] = 0
    block_size: Annotated[
        int | None,
        Option("--block-size", help="Samples solved and committed together; else the problem's choice."),
        Ge(1),
    ] = None
    set: Annotated[
        dict[str, Any] | None,
        Option("--set", metavar="KEY=VALUE", help="Option of the problem, such as settings.steps=160; repeatable."),
        Assignments,
    ] = None
    design: Annotated[
        Literal["random", "sobol-arcsine"] | None,
        Option("--design", help="How parameters are placed: sobol-arcsine in boxes of up to 5, else random draws."),
    ] = None
    workers: Annotated[
        int | None, Option("--workers", "-w", help="Processes to solve in; in this one without."), Ge(1)
    ] = None
    scheduler: Annotated[
        str | None, Option("--scheduler", metavar="ADDRESS", help="Solve on the workers of a running Dask scheduler.")
    ] = None
    retry_failed: Annotated[bool, Option("--retry-failed", help="Solve failed samples again.")] = False
    repair: Annotated[bool, Option("--repair", help="Look for damaged blocks and make them again.")] = False


def run(given: GenerateOptions) -> Outcome:
    """Solve a PDE at many parameters and write the data set; a killed run is resumed, a finished one extended."""
    from gnvpro.pde_data.generation.run import generate
    from gnvpro.pde_data.problems.accuracy import error_in_words
    from gnvpro.pde_data.problems.loading import load_problem

    engine, problem, pace = _engine(given), load_problem(given.problem, given.set), Pace()
    with progress(f"solving {problem.name}", in_logs=True) as report:
        summary = generate(
            problem,
            given.out,
            given.samples,
            given.seed,
            block_size=given.block_size,
            design=given.design,
            retry_failed=given.retry_failed,
            repair=given.repair,
            on_progress=lambda done, failed, total: report(done, total, _note(pace, done, failed, total)),
            run=engine,
        )
    rows = [
        (
            "samples",
            f"{summary['n_ok']} of {summary['n_samples']}"
            + (f", {summary['n_failed']} failed" * bool(summary["n_failed"])),
        ),
        ("solved now", "none, it was complete" if summary["already_complete"] else _pace(summary)),
        ("placed", summary["design"]),
    ]
    if given.repair:
        rows.append(("damaged chunks", f"{len(summary['repaired'])}, made again" if summary["repaired"] else "none"))
    if summary.get("estimated_error") or summary.get("estimated_error_failure"):
        rows.append(
            ("the PDE's own error", error_in_words(summary["estimated_error"], summary.get("estimated_error_failure")))
        )
    failure = None if summary["n_ok"] else f"no sample could be solved; gnvpro info {given.out} lists the reasons"
    return Outcome(summary, table(f"Data set {given.out}", rows), failure)


def _engine(given: GenerateOptions) -> Engine:
    from gnvpro.pde_data.generation.engines import in_process, local_workers, running_scheduler

    if given.scheduler is not None:
        if given.workers is not None:
            raise UsageError("give either --workers of this machine or a --scheduler with workers of its own")
        return running_scheduler(given.scheduler)
    return in_process if given.workers is None else local_workers(given.workers)


def _note(pace: Pace, done: int, failed: int, total: int) -> str:
    return f"{done}/{total}, {failed} failed{pace.at(done, total, 'samples')}"


def _pace(summary: dict) -> str:
    return f"{summary['n_solved_now']} in {seconds(summary['wall_seconds'])} ({seconds(summary['cpu_seconds'])} of CPU)"
