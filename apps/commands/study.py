"""`gnvpro study NAME`: one result of the method, measured anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_doc import Doc
from rich.console import Group
from typer import Argument

from gnvpro.apps.console import Outcome, progress
from gnvpro.apps.studies import run_study
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.surrogate.writing import require_new_folder

EXAMPLE = "study cdr --quick --out runs/study-cdr"


@dataclass(frozen=True, kw_only=True)
class StudyOptions(StudySettings):
    """Settings of `gnvpro study`: which, and where to; the others are inherited."""

    name: Annotated[
        str,
        Argument(
            help="cdr, dcr, indian-pines, ellipse, scaling, ablation, coverage, invert-dcr, invert-cdr, surrogates, "
            "derivatives, fidelities or build."
        ),
    ]
    out: Annotated[Path | None, Doc("New folder for numbers and figures.")] = None

    METAVARS: ClassVar = {"set": "KEY=VALUE"}


def run(options: StudyOptions) -> Outcome:
    """Measure one of the method's results anew: a table, figures and numbers."""
    require_new_folder(options.out, "study")
    with progress(f"study {options.name}", in_logs=True) as report:
        result = run_study(options.name, options, report)
    if options.out is not None:
        result.save(options.out)
    return Outcome(result.numbers(), Group(*result.tables))
