"""`gnvpro study NAME`: one result of the method, measured anew."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from rich.console import Group
from typer import Argument, Option

from gnvpro.apps.console import Outcome, jsonable, progress
from gnvpro.apps.reports.output import require_new_folder
from gnvpro.apps.settings import to_dict
from gnvpro.apps.studies import STUDIES
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.surrogate.errors import UsageError

if TYPE_CHECKING:
    from gnvpro.apps.studies.result import StudyResult

EXAMPLE = "study cdr --quick --out runs/study-cdr"
NUMBERS = "study.json"


@dataclass(frozen=True, kw_only=True)
class StudyOptions(StudySettings):
    """Settings of `gnvpro study`: which, and where to; the others are inherited."""

    name: Annotated[
        str, Argument(help="cdr, dcr, indian-pines, ellipse, scaling, ablation, coverage, invert-dcr or invert-cdr.")
    ]
    out: Annotated[Path | None, Option("--out", "-o", help="New folder for numbers and figures.")] = None

    METAVARS: ClassVar = {"set": "KEY=VALUE"}


def run(given: StudyOptions) -> Outcome:
    """Measure one of the method's results anew: a table, figures and numbers."""
    from gnvpro.apps.reports.figure_style import save_png
    from gnvpro.training.device import torch_threads

    if given.name not in STUDIES:
        raise UsageError(f"unknown study {given.name!r}; expected one of {', '.join(STUDIES)}")
    require_new_folder(given.out, "study")
    module = importlib.import_module(STUDIES[given.name])
    with progress(f"study {given.name}", in_logs=True) as report, torch_threads(given.threads):
        result: StudyResult = module.run(given, report)
    numbers = {"study": given.name, "settings": to_dict(given), **result.numbers}
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        for name, figure in result.figures.items():
            save_png(figure, given.out / f"{name}.png")
        for name, write in result.files.items():
            write(given.out / name)
        (given.out / NUMBERS).write_text(json.dumps(jsonable(numbers), indent=1))
    return Outcome(numbers, Group(*result.tables))
