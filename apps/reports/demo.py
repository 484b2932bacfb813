"""The folder of a demo: what stands in it, and its numbers, report and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gnvpro.apps.comparison.comparison import Comparison
from gnvpro.apps.console import jsonable
from gnvpro.apps.reports import figures
from gnvpro.apps.reports.figure_style import save_png
from gnvpro.apps.reports.report import write_report
from gnvpro.apps.reports.runs import Run
from gnvpro.pde_data.storage.dataset import open_dataset
from gnvpro.surrogate.model.surrogate import Surrogate

DATA, MODEL, KRYLOV_MODEL = "data.zarr", "model", "model-krylov"
REPORT, SUMMARY, PICTURE, COMPARED = "report.html", "summary.json", "overview.png", "fresh-samples.npz"


def require_own_folder(out: Path) -> None:
    """Nothing that a demo did not write may stand there."""
    own = {DATA, MODEL, KRYLOV_MODEL, REPORT, SUMMARY, PICTURE, COMPARED}
    strangers = (
        sorted(item.name for item in out.iterdir() if item.name not in own and not item.name.startswith("."))
        if out.is_dir()
        else []
    )
    if strangers or (out.exists() and not out.is_dir()):
        found = f"it holds {strangers[0]}" if strangers else "it is a file"
        raise FileExistsError(f"{out} is not the folder of a demo ({found}); choose another place with --out")


def summary(folder: Path, comparison: Comparison) -> dict[str, Any]:
    """The numbers of a demo whose data and models stand in the folder."""
    numbers = comparison.numbers()
    wall_time = open_dataset(folder / DATA)["wall_time"]
    return {
        "surrogate_error": numbers["surrogate_error"]["mean"],
        "pde_error": numbers["pde_error"],
        "speedup_single": numbers["speedup_single"],
        "speedup_batched": numbers["speedup_batched"],
        "speedup_plain": numbers["speedup_plain"],
        # Of data generation, building the solver included.
        "samples_per_second": float(wall_time.size / wall_time.sum()),
        "train_cpu_seconds": numbers["train_cpu_seconds"],
        "payoff_evaluations": numbers["payoff_evaluations"],
        "comparison": numbers,
        "runs": {name: Surrogate.load(folder / name).training for name in (MODEL, KRYLOV_MODEL)},
    }


def write_folder(out: Path, comparison: Comparison, numbers: dict[str, Any], command: str) -> None:
    """Report, compared samples, picture and numbers, beside data and models; `command` makes the same again."""
    runs = [Run.of(out / name) for name in (MODEL, KRYLOV_MODEL)]
    write_report(out / REPORT, comparison, runs, [command])
    comparison.save_samples(out / COMPARED)
    save_png(figures.overview(comparison, runs), out / PICTURE)
    (out / SUMMARY).write_text(json.dumps(jsonable(numbers), indent=1))
