"""`gnvpro predict`: observables at given parameters, their error bands, and which of them are not to be trusted."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray
from typer import Argument, Option

from gnvpro.apps.console import Outcome, table
from gnvpro.apps.settings import to_dict
from gnvpro.apps.trust.fallback import Fallback, predicted
from gnvpro.pde_data.storage.tables import read_parameters
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.load import load_model
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array, Space


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Settings of `gnvpro predict`."""

    model: Annotated[Path, Argument(help="Folder of a saved surrogate.")]
    parameters: Annotated[Path, Option("--parameters", "-p", help="Parameters: .npz, .npy, .csv, .mat or a data set.")]
    out: Annotated[Path, Option("--out", "-o", help="File to write: .npz or .csv.")]
    transpose: Annotated[bool, Option("--transpose", help="Samples are rows of the .mat, or columns of the .npz.")] = (
        False
    )
    level: Annotated[float, Option("--level", help="Of the error bands: .5, .68, .8, .9, .95 or .99."), Gt(0)] = 0.9
    fallback: Annotated[
        Literal["none", "pde"], Option("--fallback", help="pde: solve the PDE at points that are not to be trusted.")
    ] = "none"
    tolerance: Annotated[
        float | None,
        Option("--tolerance", help="Fall back also where the band is wider, relative to the observables."),
        Gt(0),
    ] = None
    append: Annotated[
        Path | None, Option("--append", metavar="DATASET", help="Keep the solves of the fallback for training.")
    ] = None
    problem: Annotated[
        str | None, Option("--problem", help="package.module:factory of the PDE, where it is not a registered one.")
    ] = None


WRITTEN = (".npz", ".csv")


def run(given: PredictOptions) -> Outcome:
    """Read parameters, evaluate, write observables, bands and flags."""
    if given.out.exists():
        raise FileExistsError(f"{given.out} is there already; choose another name")
    if given.out.suffix not in WRITTEN:
        raise ValueError(f"expected an output that ends in {' or '.join(WRITTEN)}, got {given.out}")
    above = next(folder for folder in given.out.absolute().parents if folder.exists())
    if not above.is_dir():  # before anything is solved
        raise ValueError(f"{above} is a file, so that {given.out} cannot be in it; choose another place")
    model = load_model(given.model)
    parameters = model.parameters.rows(read_parameters(given.parameters, given.transpose, model.parameters.names))
    if not np.isfinite(parameters).all():
        row = int(np.argmin(np.isfinite(parameters).all(axis=1)))
        raise ValueError(f"{given.parameters}: row {row} is not finite; leave such rows out")
    if isinstance(model, Classifier):
        if given.fallback == "pde":
            raise ValueError(f"{given.model} is a classifier, there is no PDE behind it; leave out --fallback")
        observables, columns, about, rows = _classified(model, parameters)
    else:
        observables, columns, about, rows = _predicted(model, parameters, given)
    inside = model.inside(parameters)
    columns = {"inside_training_range": inside, **columns}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    if given.out.suffix == ".csv":
        _write_csv(given.out, model.observables, observables, columns)
    else:
        settings = json.dumps(to_dict(given))
        np.savez(given.out, parameters=parameters, observables=observables, settings=settings, **columns)
    outside = int((~inside).sum())
    numbers = {
        "out": str(given.out),
        "n_samples": len(parameters),
        "n_outside_training_range": outside,
        "expected_error": _expected_error(model),
        **about,
    }
    flagged = f"{outside}; the error stated for the model does not hold there" if outside else "none"
    rows = [("samples", str(len(parameters))), ("outside the training range", flagged), *rows]
    return Outcome(numbers, table(f"Predictions in {given.out}", rows))


# Observables, further arrays by name, numbers, and lines for people.
_Predictions = tuple[Array, dict[str, NDArray[Any]], dict[str, Any], list[tuple[str, str]]]


def _classified(model: Classifier, parameters: Array) -> _Predictions:
    labels = model.labels(parameters)
    return model.evaluate(parameters), {"labels": labels}, {}, []


def _predicted(model: Surrogate, parameters: Array, given: PredictOptions) -> _Predictions:
    fallback = None
    if given.fallback == "pde":
        fallback = Fallback(model, given.tolerance, given.append, given.problem)
    elif given.tolerance is not None or given.append is not None or given.problem is not None:
        raise ValueError("--tolerance, --append and --problem belong to --fallback pde; add it, or leave them out")
    answers = predicted(model, parameters, given.level)
    if model.trust is None:
        return answers.observables, {}, {"bands": None}, [("error bands", "none: see gnvpro calibrate")]
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
        "bands": {"level": given.level, **bands.about()},
        "n_not_trusted": int((~answers.trusted).sum()),
        "n_by_pde": int(answers.by_pde.sum()),
        "n_pde_failed": int(answers.failed.sum()),
        "n_appended": answers.n_appended,
    }
    said = bands.shortage(given.level) or f"{given.level:.0%} of each observable, and of all together"
    rows = [("error bands", said), ("not to be trusted", str(about["n_not_trusted"]))]
    if fallback is not None:
        failed = f", {about['n_pde_failed']} more could not be solved" * bool(about["n_pde_failed"])
        rows.append(("answered by the PDE", f"{about['n_by_pde']}{failed}"))
    return answers.observables, columns, about, rows


def _expected_error(model: Surrogate | Classifier) -> float | None:
    """What was found on data that neither trained nor chose the model, if there were any."""
    stated = model.errors if isinstance(model, Surrogate) else {k: 1 - v for k, v in model.accuracy.items()}
    return stated.get("test", stated.get("validation"))


def _write_csv(path: Path, space: Space, observables: Array, columns: dict[str, NDArray[Any]]) -> None:
    """Observables and flags; then a column `NAME lower` for every observable, and so on; of a classifier the class."""
    header, blocks = list(space.names), [observables.tolist()]
    for name, values in columns.items():
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
