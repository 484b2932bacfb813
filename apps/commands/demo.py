"""`gnvpro demo`: the whole line on the convection–diffusion–reaction problem, in a minute or so.

What is finished is reused: the data set if its settings are the same, a model if its settings and data are.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from typer import Option

from gnvpro.apps.commands.compare import rows
from gnvpro.apps.commands.train import train_with_progress
from gnvpro.apps.comparison.compare import Comparison, compare, save_samples
from gnvpro.apps.console import Outcome, jsonable, progress, seconds, stderr, table
from gnvpro.apps.reports import figures
from gnvpro.apps.reports.figure_style import save_png
from gnvpro.apps.reports.report import write_report
from gnvpro.apps.reports.runs import Run
from gnvpro.apps.settings import to_dict
from gnvpro.apps.trust.origin import problem_of
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.loading import registered_problem
from gnvpro.pde_data.storage.dataset import open_dataset, read_samples
from gnvpro.surrogate.model.folder import SavedModelError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.samples import Samples
from gnvpro.training.train import TrainSettings


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Settings of `gnvpro demo`."""

    out: Annotated[Path, Option("--out", "-o", help="Folder for data, models and report.")] = Path("runs/demo")
    samples: Annotated[int, Option("--samples", "-n", help="PDE solves; half of them train."), Ge(40)] = 800
    fresh: Annotated[int, Option("--fresh", help="Fresh PDE solves the surrogate is checked against."), Ge(1)] = 64
    seed: Annotated[int, Option("--seed", "-s", help="Seed of data, split and weights."), Ge(0)] = 0
    quick: Annotated[bool, Option("--quick", help="Train in a fifth of the time.")] = False


PROBLEM = "cdr"
DATA, MODEL, KRYLOV_MODEL = "data.zarr", "model", "model-krylov"
REPORT, SUMMARY, PICTURE, COMPARED = "report.html", "summary.json", "overview.png", "fresh-samples.npz"


def run(given: DemoOptions) -> Outcome:
    """Generate, train twice, compare, report."""
    _require_own_folder(given.out)
    given.out.mkdir(parents=True, exist_ok=True)
    samples = _data(given)
    model = _model(given, samples, TrainSettings(seed=given.seed, quick=given.quick), given.out / MODEL)
    chosen = model.training["choice"]
    rival = TrainSettings(
        seed=given.seed,
        solver="krylov",
        widths=tuple(chosen["widths"]),
        gain=chosen["gain"],
        budget=model.training["work_units"],
    )
    _model(given, samples, rival, given.out / KRYLOV_MODEL)
    with progress(f"comparing with {given.fresh} fresh PDE solves"):
        comparison = compare(model, problem_of(model), given.fresh, given.seed)
    numbers = _summary(given, comparison)
    _write(given, comparison, numbers)
    text = table(
        f"Surrogate of {PROBLEM}, trained on {model.training['samples']['train']} PDE solves",
        [
            *rows(comparison),
            ("report", str(given.out / REPORT)),
        ],
    )
    return Outcome(numbers, text)


def _data(given: DemoOptions) -> Samples:
    path = given.out / DATA
    with progress(f"solving the PDE at {given.samples} parameters") as report:
        made = generate(
            registered_problem(PROBLEM),
            path,
            given.samples,
            given.seed,
            on_progress=lambda done, failed, total: report(done, total, f"{done}/{total}"),
        )
    how = "reused" if made["already_complete"] else f"made in {seconds(made['wall_seconds'])}"
    stderr.print(f"data set {path}: {made['n_ok']} samples, {how}")
    return read_samples(path)


def _model(given: DemoOptions, samples: Samples, settings: TrainSettings, path: Path) -> Surrogate:
    """The surrogate with these settings, from `path` if it stands there."""
    if path.exists() and (found := _same_model(path, samples, settings)):
        stderr.print(f"model {path}: reused")
        return found
    split = samples.split(given.seed)
    training = train_with_progress(split, settings, f"training, {settings.solver}")
    training.save(path, overwrite=True)
    about = training.surrogate.training
    stderr.print(f"model {path}: {about['method']}, trained in {seconds(about['wall_seconds'])}")
    return training.surrogate


def _same_model(path: Path, samples: Samples, settings: TrainSettings) -> Surrogate | None:
    try:
        model = Surrogate.load(path)
    except (SavedModelError, FileNotFoundError):
        return None
    # Through JSON, as the saved one went: tuples are lists there.
    same = json.loads(json.dumps([asdict(settings), samples.provenance])) == [
        model.training["settings"],
        model.provenance,
    ]
    return model if same and model.training["status"] != "interrupted" else None


def _summary(given: DemoOptions, comparison: Comparison) -> dict[str, Any]:
    numbers = comparison.numbers()
    wall_time = open_dataset(given.out / DATA)["wall_time"]
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
        "runs": {name: Surrogate.load(given.out / name).training for name in (MODEL, KRYLOV_MODEL)},
        "settings": to_dict(given),
    }


def _write(given: DemoOptions, comparison: Comparison, numbers: dict[str, Any]) -> None:
    runs = [Run.of(given.out / name) for name in (MODEL, KRYLOV_MODEL)]
    quick = " --quick" if given.quick else ""
    command = (
        f"gnvpro demo --samples {given.samples} --fresh {given.fresh} --seed {given.seed}{quick} --out {given.out}"
    )
    write_report(given.out / REPORT, comparison, runs, [command])
    save_samples(comparison, given.out / COMPARED)
    save_png(figures.overview(comparison, runs), given.out / PICTURE)
    (given.out / SUMMARY).write_text(json.dumps(jsonable(numbers), indent=1))


def _require_own_folder(out: Path) -> None:
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
