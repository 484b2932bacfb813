"""`gnvpro generate`: a data set from PDE solves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_doc import Doc
from annotated_types import Ge
from typer import Argument

from gnvpro.apps.console import Outcome, Pace, progress, table
from gnvpro.apps.settings import Assignments

EXAMPLE = "generate cdr --samples 100 --derivatives 3 --out runs/cdr.zarr"


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """Settings of `gnvpro generate`."""

    problem: Annotated[
        str,
        Argument(
            help="A registered problem (cdr, dcr, nonlinear-diffusion, those of installed packages), or your own: "
            "package.module:factory, a program's .toml file, http://HOST:PORT/NAME of a UM-Bridge model."
        ),
    ]
    samples: Annotated[int, Doc("Number of samples; more than before extend."), Ge(1)]
    out: Annotated[Path, Doc("Data set to write, a zarr folder; an unfinished one is resumed.")]
    seed: Annotated[int, Doc("Seed of the parameters."), Ge(0)] = 0
    block_size: Annotated[
        int | None, Doc("Samples solved and committed together; else the problem's choice."), Ge(1)
    ] = None
    set: Annotated[
        dict[str, Any] | None, Doc("Option of the problem, such as settings.steps=160; repeatable."), Assignments
    ] = None
    design: Annotated[
        Literal["random", "sobol-arcsine", "sobol"] | None,
        Doc("How parameters are placed: sobol-arcsine in boxes of up to 5, sobol for up to 5 other laws, else random."),
    ] = None
    at_points_for: Annotated[
        Path | None, Doc("Place samples where they tell most about this model, such as one of coarse samples.")
    ] = None
    derivatives: Annotated[
        int | None, Doc("Differentiate every sample along so many random directions; none without."), Ge(0)
    ] = None
    differences: Annotated[
        bool, Doc("Derivatives by finite differences, two solves a direction, where the problem has none.")
    ] = False
    coarser: Annotated[int, Doc("Solve the problem so many times coarser, as it offers it."), Ge(0)] = 0
    workers: Annotated[int | None, Doc("Processes to solve in; in this one without."), Ge(1)] = None
    scheduler: Annotated[str | None, Doc("Solve on the workers of a running Dask scheduler.")] = None
    retry_failed: Annotated[bool, Doc("Solve failed samples again, also those whose derivatives failed.")] = False
    repair: Annotated[bool, Doc("Look for damaged blocks and make them again.")] = False

    METAVARS: ClassVar = {"set": "KEY=VALUE", "scheduler": "ADDRESS"}


def run(options: GenerateOptions) -> Outcome:
    """Solve a PDE at many parameters and write the data set; a killed run is resumed, a finished one extended."""
    from gnvpro.apps.generate import generate

    pace, arguments = Pace(), dict(vars(options))
    for option, name in (("out", "path"), ("samples", "n_samples"), ("set", "options")):
        arguments[name] = arguments.pop(option)
    with progress(f"solving {options.problem}", in_logs=True) as report:

        def report_with_pace(done: float, total: float | None, note: str) -> None:
            report(done, total, note + pace.at(done, total or 0, "samples"))

        generation = generate(**arguments, progress=report_with_pace)
    failure = None
    if not generation.n_ok:
        reason = generation.first_failure or "no numbers came out that are finite"
        failure = f"no sample could be solved ({reason}); gnvpro info {options.out} lists the reasons"
    return Outcome(generation.numbers(), table(f"Data set {options.out}", generation.rows()), failure)
