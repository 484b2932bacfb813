"""`gnvpro demo`: the whole line on the convection–diffusion–reaction problem, in a minute or so.

What is finished is reused: the data set if its settings are the same, a model if its settings and data are.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge
from typer import Option

from gnvpro.apps.commands.train import train_with_progress
from gnvpro.apps.console import Outcome, progress, stderr, table
from gnvpro.apps.settings import to_dict
from gnvpro.surrogate.formatting import seconds

if TYPE_CHECKING:
    from gnvpro.surrogate.model.surrogate import Surrogate
    from gnvpro.surrogate.samples import Samples
    from gnvpro.training.settings import TrainSettings

EXAMPLE = "demo --out runs/demo"
PROBLEM = "cdr"


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Settings of `gnvpro demo`."""

    out: Annotated[Path, Option("--out", "-o", help="Folder for data, models and report.")] = Path("runs/demo")
    samples: Annotated[int, Option("--samples", "-n", help="PDE solves; half of them train."), Ge(40)] = 800
    fresh: Annotated[int, Option("--fresh", help="Fresh PDE solves the surrogate is checked against."), Ge(1)] = 64
    seed: Annotated[int, Option("--seed", "-s", help="Seed of data, split and weights."), Ge(0)] = 0
    quick: Annotated[bool, Option("--quick", help="Train in a fifth of the time.")] = False


def run(given: DemoOptions) -> Outcome:
    """Run the whole line: PDE data, training, comparison with fresh solves, report."""
    from gnvpro.apps.comparison.compare import compare
    from gnvpro.apps.comparison.words import rows
    from gnvpro.apps.reports.demo import DATA, KRYLOV_MODEL, MODEL, REPORT, require_own_folder, summary, write_folder
    from gnvpro.apps.trust.origin import problem_of
    from gnvpro.training.settings import TrainSettings

    require_own_folder(given.out)
    given.out.mkdir(parents=True, exist_ok=True)
    samples = _data(given, given.out / DATA)
    settings = TrainSettings(seed=given.seed, quick=given.quick)
    model = _model(given.seed, samples, settings, given.out / MODEL)
    chosen = model.training["choice"]
    rival = TrainSettings(
        seed=given.seed,
        solver="krylov",
        widths=tuple(chosen["widths"]),
        gain=chosen["gain"],
        budget=model.training["work_units"],
    )
    _model(given.seed, samples, rival, given.out / KRYLOV_MODEL)
    with progress(f"comparing with {given.fresh} fresh PDE solves"):
        comparison = compare(model, problem_of(model), given.fresh, given.seed)
    numbers = {**summary(given.out, comparison), "settings": to_dict(given)}
    write_folder(given.out, comparison, numbers, _command(given))
    title = f"Surrogate of {PROBLEM}, trained on {model.training['samples']['train']} PDE solves"
    return Outcome(numbers, table(title, [*rows(comparison), ("report", str(given.out / REPORT))]))


def _data(given: DemoOptions, path: Path) -> Samples:
    from gnvpro.pde_data.generation.run import generate
    from gnvpro.pde_data.storage.dataset import read_samples

    with progress(f"solving the PDE at {given.samples} parameters") as report:
        generation = generate(
            PROBLEM,
            path,
            given.samples,
            given.seed,
            on_progress=lambda done, failed, total: report(done, total, f"{done}/{total}"),
        )
    how = f"made in {seconds(generation.wall_seconds)}" if generation.n_solved_now else "reused"
    stderr.print(f"data set {path}: {generation.n_ok} samples, {how}")
    return read_samples(path)


def _model(seed: int, samples: Samples, settings: TrainSettings, path: Path) -> Surrogate:
    """The surrogate with these settings, from `path` if it stands there."""
    if path.exists() and (found := _same_model(path, samples, settings)):
        stderr.print(f"model {path}: reused")
        return found
    split = samples.split(seed)
    training = train_with_progress(split, settings, f"training, {settings.solver}")
    training.save(path, overwrite=True)
    about = training.surrogate.training
    stderr.print(f"model {path}: {about['method']}, trained in {seconds(about['wall_seconds'])}")
    return training.surrogate


def _same_model(path: Path, samples: Samples, settings: TrainSettings) -> Surrogate | None:
    from gnvpro.surrogate.errors import SavedModelError
    from gnvpro.surrogate.model.surrogate import Surrogate

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


def _command(given: DemoOptions) -> str:
    quick = " --quick" if given.quick else ""
    return f"gnvpro demo --samples {given.samples} --fresh {given.fresh} --seed {given.seed}{quick} --out {given.out}"
