"""`gnvpro train`: a surrogate from a data set."""

from __future__ import annotations

import dataclasses

from rich.console import Group
from rich.table import Table

from apps.console import Outcome, percent, progress, seconds, table
from apps.options import TrainOptions
from apps.settings import to_dict
from pde_data.dataset import read_samples
from surrogate.model_folder import require_place
from training.train import Training, TrainSettings, train

SETTINGS_FILE = "settings.json"


def run(given: TrainOptions) -> Outcome:
    """Read, split, train, save."""
    if given.out is not None:
        require_place(given.out, given.overwrite)
    sizes = dict(train=given.train, validation=given.validation, calibration=given.calibration, test=given.test)
    split = read_samples(given.data, transpose=given.transpose).split(given.seed, **sizes)
    names = [field.name for field in dataclasses.fields(TrainSettings)]
    training = train_with_progress(split, TrainSettings(**{name: getattr(given, name) for name in names}))
    if given.out is not None:
        training.save(given.out, overwrite=given.overwrite, extra={SETTINGS_FILE: to_dict(given)})
    numbers = {**training.summary(), "out": None if given.out is None else str(given.out)}
    failure = None
    if training.surrogate.training["status"] == "nonfinite":
        failure = "the objective became infinite; the best weights before that were kept"
    return Outcome(numbers, _text(training, given), failure)


def train_with_progress(split, settings: TrainSettings, what: str = "training") -> Training:
    """Train with a bar on stderr."""
    with progress(what) as report:
        return train(
            split,
            settings,
            lambda now: report(now.work_units, now.budget, f"validation {percent(now.validation_error)}  {now.stage}"),
        )


def _text(training: Training, given: TrainOptions) -> Group:
    about, errors = training.surrogate.training, training.errors
    rows = [
        ("error", ", ".join(f"{name} {percent(value)}" for name, value in errors.items())),
        ("method", f"{about['method']}, {about['status'].replace('_', ' ')}"),
        ("cost", f"{about['work_units']:.0f} work units, {seconds(about['cpu_seconds'])} of CPU"),
        ("chosen because", about["choice"]["reason"]),
        ("saved", "no, only the numbers (--out FOLDER saves)" if given.out is None else str(given.out)),
    ]
    return Group(table(f"Surrogate of {given.data}", rows), *_candidates(about["choice"].get("candidates", [])))


def _candidates(candidates: list[dict]) -> list[Table]:
    if len(candidates) < 2:
        return []
    raced = Table("widths", "gain", "validation", "work units", title="raced", title_justify="left", box=None)
    for one in candidates:
        widths = ",".join(map(str, one["widths"])) + ("" if one["metric"] else " (plain L-BFGS)")
        raced.add_row(widths, f"{one['gain']:g}", percent(one["validation_error"]), f"{one['work_units']:.0f}")
    return [raced]
