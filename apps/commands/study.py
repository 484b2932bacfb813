"""`gnvpro study NAME`: one result of the method, measured anew."""

from __future__ import annotations

import importlib
import json

from rich.console import Group

from gnvpro.apps.console import Outcome, jsonable, progress
from gnvpro.apps.reports.figure_style import save_png
from gnvpro.apps.reports.output import require_new_folder
from gnvpro.apps.settings import to_dict
from gnvpro.apps.studies import STUDIES
from gnvpro.apps.studies.options import StudyOptions
from gnvpro.apps.studies.result import StudyResult
from gnvpro.training.device import torch_threads

NUMBERS = "study.json"


def run(given: StudyOptions) -> Outcome:
    """Run the study; with `--out` keep its numbers and figures."""
    if given.name not in STUDIES:
        raise ValueError(f"unknown study {given.name!r}; expected one of {', '.join(STUDIES)}")
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
