"""The whole line on the convection–diffusion–reaction problem: data, two trainings, a comparison, a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gnvpro.apps.arguments import problem_of
from gnvpro.apps.comparison.comparison import Comparison
from gnvpro.apps.comparison.fresh_solves import compare_with_solves
from gnvpro.apps.console import jsonable
from gnvpro.apps.reports import figures
from gnvpro.apps.reports.figure_style import save_png
from gnvpro.apps.reports.report import write_report
from gnvpro.apps.reports.runs import Run
from gnvpro.apps.settings import portable
from gnvpro.apps.train import train
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.storage.dataset import open_dataset, read_samples
from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.errors import SavedModelError
from gnvpro.surrogate.formatting import seconds
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report, noted, silent
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.writing import require_writable, whole_file
from gnvpro.training.settings import QUICK_BUDGET, QUICK_GAIN, QUICK_WIDTHS, TrainSettings

PROBLEM = "cdr"
DATA, MODEL, KRYLOV_MODEL = "data.zarr", "model", "model-krylov"
REPORT, SUMMARY, PICTURE, COMPARED = "report.html", "summary.json", "overview.png", "fresh-samples.npz"


@dataclass(frozen=True, repr=False, eq=False)
class Demo(Result):
    """A demo's folder, its comparison with fresh solves, and what stands in its `summary.json`."""

    folder: Path
    comparison: Comparison
    summary: dict[str, Any]

    @property
    def title(self) -> str:
        """What was trained, on how much."""
        n_train = self.summary["runs"][MODEL]["samples"]["train"]
        return f"Surrogate of {PROBLEM}, trained on {n_train} PDE solves"

    def rows(self) -> list[tuple[str, str]]:
        """Those of the comparison, and where the report is."""
        return [*self.comparison.rows(), ("report", str(self.folder / REPORT))]

    def numbers(self) -> dict[str, Any]:
        """See `summary`."""
        return self.summary


def demo(
    out: str | Path,
    samples: int = 800,
    fresh: int = 64,
    seed: int = 0,
    *,
    quick: bool = False,
    command: str | None = None,
    progress: Report = silent,
    tell: Callable[[str], None] = lambda _: None,
) -> Demo:
    """Generate data, train, compare with fresh solves, and write a report; what is finished is not done again.

    The data set is reused if its settings are the same, a model if its settings and data are.

    Parameters
    ----------
    samples
        PDE solves; half of them train.
    fresh
        PDE solves that the surrogate is compared with.
    quick
        Train in a fifth of the time.
    command
        What a reader of the report types to get the same again.
    tell
        Called with a line for every part that is finished.

    Raises
    ------
    FileExistsError
        The folder holds something that is not a demo's.
    """
    folder = path_of(out)
    _require_own_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    data = _data(folder / DATA, samples, seed, noted(progress, "data"), tell)
    model = _model(folder / MODEL, data, TrainSettings(seed=seed, quick=quick), progress, tell)
    # The best network of the race, whether it won or not.
    raced = model.training["choice"].get("candidates", [{"widths": QUICK_WIDTHS, "gain": QUICK_GAIN}])[0]
    budget = max(model.training["work_units"], QUICK_BUDGET)
    size: dict[str, Any] = dict(widths=tuple(raced["widths"]), gain=raced["gain"], budget=budget)
    krylov = TrainSettings(seed=seed, solver="krylov", **size)
    _model(folder / KRYLOV_MODEL, data, krylov, progress, tell)
    comparison = compare_with_solves(model, problem_of(model), fresh, seed, progress=progress)
    settings = {"out": portable(folder), "samples": samples, "fresh": fresh, "seed": seed, "quick": quick}
    result = Demo(folder, comparison, {**_summary(folder, comparison), "settings": settings})
    runs = [Run.of(folder / name) for name in (MODEL, KRYLOV_MODEL)]
    with whole_file(folder / REPORT) as file:
        write_report(file, comparison, runs, [command] if command else [])
    with whole_file(folder / COMPARED) as file:
        comparison.save_samples(file)
    with whole_file(folder / PICTURE) as file:
        save_png(figures.overview(comparison, runs), file)
    with whole_file(folder / SUMMARY) as file:
        file.write_text(json.dumps(jsonable(result.summary), indent=1))
    return result


def _require_own_folder(folder: Path) -> None:
    own = {DATA, MODEL, KRYLOV_MODEL, REPORT, SUMMARY, PICTURE, COMPARED}
    names = {item.name for item in folder.iterdir()} if folder.is_dir() else set()
    strangers = sorted(name for name in names - own if not name.startswith("."))
    if strangers or (folder.exists() and not folder.is_dir()):
        reason = f"it holds {strangers[0]}" if strangers else "it is a file"
        raise FileExistsError(f"{folder} is not the folder of a demo ({reason}); choose another place with --out")
    require_writable(folder / SUMMARY)


def _data(path: Path, n_samples: int, seed: int, progress: Report, tell: Callable[[str], None]) -> Samples:
    generation = generate(PROBLEM, path, n_samples, seed, progress=progress)
    origin = "reused" if generation.already_complete else f"made in {seconds(generation.wall_seconds)}"
    tell(f"data set {path}: {generation.n_ok} samples, {origin}")
    return read_samples(path)


def _model(
    path: Path, samples: Samples, settings: TrainSettings, progress: Report, tell: Callable[[str], None]
) -> Surrogate:
    """The surrogate with these settings, from `path` if it stands there."""
    if path.exists() and (saved := _same_model(path, samples, settings)):
        tell(f"model {path}: reused")
        return saved
    training = train(
        samples, settings, progress=noted(progress, f"training, {settings.solver}"), out=path, overwrite=True
    )
    about = training.surrogate.training
    tell(f"model {path}: {about['method']}, trained in {seconds(about['wall_seconds'])}")
    return training.surrogate


def _same_model(path: Path, samples: Samples, settings: TrainSettings) -> Surrogate | None:
    try:
        model = Surrogate.load(path)
    except (SavedModelError, FileNotFoundError):
        return None
    # Through JSON, as the saved one went: tuples are lists there.
    asked = json.loads(json.dumps([asdict(settings), samples.provenance]))
    if settings.threads is None:  # the number that was chosen stands in the record
        asked[0]["threads"] = model.training["settings"].get("threads")
    same = asked == [model.training["settings"], model.provenance]
    return model if same and model.training["status"] != "interrupted" else None


def _summary(folder: Path, comparison: Comparison) -> dict[str, Any]:
    numbers = comparison.numbers()
    wall_time = open_dataset(folder / DATA)["wall_time"]
    same = [
        "pde_error",
        "speedup_single",
        "speedup_batched",
        "speedup_plain",
        "train_cpu_seconds",
        "payoff_evaluations",
    ]
    return {
        "surrogate_error": numbers["surrogate_error"]["mean"],
        **{name: numbers[name] for name in same},
        # Of data generation, building the solver included.
        "samples_per_second": float(wall_time.size / wall_time.sum()),
        "comparison": numbers,
        "runs": {name: Surrogate.load(folder / name).training for name in (MODEL, KRYLOV_MODEL)},
    }
