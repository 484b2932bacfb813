"""Observables at given parameters with all that is known of their errors, for a file and for people."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps.trust.fallback import Fallback, predicted
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array, Space


@dataclass(frozen=True)
class Predictions:
    """What a model says at parameters.

    Attributes
    ----------
    observables : (n, n_out)
        Of a classifier probabilities.
    columns
        Further arrays by name, n long: bands, flags, classes.
    about
        JSON-able numbers.
    rows
        The same for people.
    """

    observables: Array
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)


def classes_at(model: Classifier, parameters: Array) -> Predictions:
    """Probabilities and the most probable classes at spectra (n, n_bands)."""
    labels = model.labels(parameters)
    return Predictions(model.evaluate(parameters), {"labels": labels})


def observables_at(model: Surrogate, parameters: Array, level: float, fallback: Fallback | None = None) -> Predictions:
    """Observables at parameters (n, n_in) with bands of a level, of the PDE where the fallback asks it."""
    answers = predicted(model, parameters, level)
    if model.trust is None:
        return Predictions(answers.observables, {}, {"bands": None}, [("error bands", "none: see gnvpro calibrate")])
    if fallback is not None:
        answers = fallback.complete(parameters, answers)
    columns: dict[str, NDArray[Any]] = {
        "score": answers.score,
        "trusted": answers.trusted,
        "by_pde": answers.by_pde,
        "lower": answers.observables - answers.half_width,
        "upper": answers.observables + answers.half_width,
        "lower_simultaneous": answers.observables - answers.half_width_simultaneous,
        "upper_simultaneous": answers.observables + answers.half_width_simultaneous,
    }
    bands = model.trust.bands
    about = {
        "bands": {"level": level, **bands.about()},
        "n_not_trusted": int((~answers.trusted).sum()),
        "n_by_pde": int(answers.by_pde.sum()),
        "n_pde_failed": int(answers.failed.sum()),
        "n_appended": answers.n_appended,
    }
    said = bands.shortage(level) or f"{level:.0%} of each observable, and of all together"
    rows = [("error bands", said), ("not to be trusted", str(about["n_not_trusted"]))]
    if fallback is not None:
        failed = f", {about['n_pde_failed']} more could not be solved" * bool(about["n_pde_failed"])
        rows.append(("answered by the PDE", f"{about['n_by_pde']}{failed}"))
    return Predictions(answers.observables, columns, about, rows)


def expected_error(model: Surrogate | Classifier) -> float | None:
    """What was found on data that neither trained nor chose the model, if there were any."""
    stated = model.errors if isinstance(model, Surrogate) else {k: 1 - v for k, v in model.accuracy.items()}
    return stated.get("test", stated.get("validation"))


def write_csv(path: Path, space: Space, predictions: Predictions) -> None:
    """Observables and flags; then a column `NAME lower` for every observable, and so on; of a classifier the class."""
    header, blocks = list(space.names), [predictions.observables.tolist()]
    for name, values in predictions.columns.items():
        if name == "labels":
            header.append("class")
            blocks.append([[space.names[label]] for label in values])
        elif values.ndim == 2:
            header += [f"{observable} {name.replace('_', ' ')}" for observable in space.names]
            blocks.append(values.tolist())
        else:
            header.append(name)
            blocks.append([[int(value) if values.dtype == bool else float(value)] for value in values])
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([item for part in row for item in part] for row in zip(*blocks, strict=True))


def write_npz(path: Path, parameters: Array, predictions: Predictions, settings: str) -> None:
    """Parameters, observables, all columns, and the settings as JSON."""
    columns: dict[str, Any] = predictions.columns
    np.savez(path, parameters=parameters, observables=predictions.observables, settings=settings, **columns)
