"""`gnvpro train`: a surrogate from a data set."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from rich.console import Group
from rich.table import Table

from gnvpro.apps.console import Outcome, percent, progress, seconds, table
from gnvpro.apps.options import TrainOptions
from gnvpro.apps.settings import to_dict
from gnvpro.apps.trust_text import trust_rows
from gnvpro.pde_data.dataset import read_samples
from gnvpro.surrogate.model_folder import require_place
from gnvpro.training.train import Training, TrainSettings, train

SETTINGS_FILE = "settings.json"


def run(given: TrainOptions) -> Outcome:
    """Read, split, train, save."""
    if given.out is not None:
        require_place(given.out, given.overwrite)
    sizes = dict(train=given.train, validation=given.validation, calibration=given.calibration, test=given.test)
    split = read_samples(given.data, transpose=given.transpose).split(given.seed, **sizes)
    names = [field.name for field in dataclasses.fields(TrainSettings)]
    settings = TrainSettings(**{name: getattr(given, name) for name in names})
    training = train_with_progress(split, settings, checkpoint=given.checkpoint, every=given.checkpoint_every)
    if given.out is not None:
        training.save(given.out, overwrite=given.overwrite, extra={SETTINGS_FILE: to_dict(given)})
    trust = training.surrogate.trust
    numbers = {
        **training.summary(),
        "trust": None if trust is None else trust.about(),
        "out": None if given.out is None else str(given.out),
    }
    failure = None
    if training.surrogate.training["status"] == "nonfinite":
        failure = "the objective became infinite; the best weights before that were kept"
    return Outcome(numbers, _text(training, given), failure)


def train_with_progress(split, settings: TrainSettings, what: str = "training", **checkpoint: Any) -> Training:
    """Train with a bar on stderr; `checkpoint` and `every` as in `gnvpro.training.train.train`."""
    with progress(what) as report:
        return train(
            split,
            settings,
            lambda now: report(now.work_units, now.budget, f"validation {percent(now.validation_error)}  {now.stage}"),
            **checkpoint,
        )


def _text(training: Training, given: TrainOptions) -> Group:
    about, errors = training.surrogate.training, training.errors
    anomalous = training.errors_anomalous
    rows = [
        *([("error, anomalous", _listed(anomalous) + " (of observables less background)")] if anomalous else []),
        ("error", _listed(errors)),
        ("method", f"{about['method']}, {about['status'].replace('_', ' ')}"),
        ("cost", f"{about['work_units']:.0f} work units, {seconds(about['cpu_seconds'])} of CPU"),
        ("chosen because", about["choice"]["reason"]),
        *_polynomial(about["choice"]),
        *trust_rows(training.surrogate.trust, training.surrogate.observables),
        ("saved", "no, only the numbers (--out FOLDER saves)" if given.out is None else str(given.out)),
    ]
    return Group(table(f"Surrogate of {given.data}", rows), *_candidates(about["choice"].get("candidates", [])))


def _listed(errors: dict[str, float]) -> str:
    return ", ".join(f"{name} {percent(value)}" for name, value in errors.items())


def _polynomial(choice: dict[str, Any]) -> list[tuple[str, str]]:
    """How much of the model is a polynomial, wherever one was tried."""
    alone = choice.get("polynomial_alone")
    if alone is None:
        return []
    without = min((one["validation_error"] for one in choice["candidates"] if not one["polynomial"]), default=math.inf)
    mostly = alone["validation_error"] < without
    judged = "this smooth problem is mostly polynomial: alone" if mostly else "polynomial alone:"
    reached = f"{judged} {alone['validation_error']:.2g} on validation ({alone['n_terms']} terms)"
    return [("polynomial", reached if math.isinf(without) else f"{reached}, best network without it {without:.2g}")]


def _candidates(candidates: list[dict]) -> list[Table]:
    if len(candidates) < 2:
        return []
    raced = Table(
        "widths", "gain", "polynomial", "validation", "work units", title="raced", title_justify="left", box=None
    )
    for one in candidates:
        widths = ",".join(map(str, one["widths"])) + ("" if one["metric"] else " (plain L-BFGS)")
        polynomial = "yes" if one["polynomial"] else "no"
        error, work = percent(one["validation_error"]), f"{one['work_units']:.0f}"
        raced.add_row(widths, f"{one['gain']:g}", polynomial, error, work)
    return [raced]
