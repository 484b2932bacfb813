"""`gnvpro build`: a surrogate whose error is confirmed, from a problem alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_doc import Doc
from annotated_types import Ge, Gt
from pydantic import BeforeValidator
from typer import Argument, Option

from gnvpro.apps.build.settings import BuildSettings, share
from gnvpro.apps.console import Outcome, progress, say
from gnvpro.apps.settings import Assignments, command_line

EXAMPLE = "build cdr --error 0.1% --out runs/cdr"


@dataclass(frozen=True, kw_only=True)
class BuildOptions(BuildSettings):
    """Settings of `gnvpro build`."""

    problem: Annotated[
        str,
        Argument(
            help="A registered problem (cdr, dcr, nonlinear-diffusion, those of installed packages), or your own: "
            "package.module:factory, a program's .toml file, http://HOST:PORT/NAME of a UM-Bridge model."
        ),
    ]
    out: Annotated[
        Path, Doc("Folder of the model; its data, the journal and a report are in OUT-data. The same command resumes.")
    ]
    error: Annotated[
        float,
        Option(
            "--error",
            parser=share,
            metavar="ERROR",
            help="Error to confirm, such as 0.1%: the mean over the law of the parameters of the error of a sample.",
        ),
        Gt(0),
        BeforeValidator(share),
    ]
    overwrite: Annotated[bool, Doc("Replace a model of something else that stands at --out.")] = False
    workers: Annotated[int | None, Doc("Processes to solve in; in this one without."), Ge(1)] = None
    scheduler: Annotated[str | None, Doc("Solve on the workers of a running Dask scheduler.")] = None
    set: Annotated[
        dict[str, Any] | None, Doc("Option of the problem, such as settings.steps=160; repeatable."), Assignments
    ] = None

    METAVARS: ClassVar = {"set": "KEY=VALUE", "scheduler": "ADDRESS"}


def run(options: BuildOptions) -> Outcome:
    """Solve, train and judge on fresh solves, in rounds, until the error asked for is confirmed."""
    from gnvpro.apps.build.build import build

    arguments = dict(vars(options))
    arguments["options"] = arguments.pop("set")
    with progress(f"building {options.problem}", in_logs=True) as report:
        result = build(**arguments, command=command_line("build", options), progress=report, tell=say)
    failure = None if result.confirmed else f"the error asked for is not confirmed: {result.record['reason']}"
    return Outcome.of(result, failure=failure)
