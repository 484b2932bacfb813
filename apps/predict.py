"""`gnvpro predict`: observables at given parameters, their error bands, and which of them are not to be trusted."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from gnvpro.apps.console import Outcome, table
from gnvpro.apps.fallback import Fallback, predicted
from gnvpro.apps.options import PredictOptions
from gnvpro.apps.settings import to_dict
from gnvpro.pde_data.dataset import read_samples
from gnvpro.surrogate.classifier import Classifier
from gnvpro.surrogate.forward_model import Array, Space
from gnvpro.surrogate.load import load_model
from gnvpro.surrogate.saved import Surrogate

WRITTEN = (".npz", ".csv")
# Names under which files hold parameters; Y is that of the method's papers.
NAMES = ("parameters", "Y", "y")


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


def read_parameters(path: Path, transpose: bool = False, names: tuple[str, ...] = ()) -> Array:
    """Parameters (n, n_in) of a .npz, .npy, .csv or .mat file, or of a data set.

    Parameters
    ----------
    transpose
        Of a `.mat` whose rows are samples, or an `.npz` whose columns are.
    names
        Of the parameters, in order: the columns of a .csv whose header has them are put into it.

    Raises
    ------
    ValueError
        Another format, a header with some of the names and not all, or no table of numbers in it.
    FileNotFoundError
        Nothing there.
    """
    if not path.exists():
        raise FileNotFoundError(f"no parameters at {path}; check the name")
    suffix = path.suffix.lower()
    if transpose and suffix not in (".mat", ".npz"):
        raise ValueError(f"{path}: --transpose is for .mat and .npz; samples are rows here")
    try:
        if suffix == ".csv":
            return _read_csv(path, names)
        if suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False), float)
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                values = np.asarray(stored[_name(path, stored.files)], float)
                return values.T if transpose else values
        if suffix == ".mat":
            stored = loadmat(path)
            values = np.asarray(stored[_name(path, [n for n in stored if not n.startswith("__")])], float)
            return values if transpose else values.T
    except NotImplementedError as error:
        raise ValueError(f"{path} is a MATLAB 7.3 file; save it with -v7") from error
    except (BadZipFile, EOFError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}); is it complete?") from error
    return read_samples(path, allow_partial=True).parameters


def _name(path: Path, there: list[str]) -> str:
    found = [name for name in NAMES if name in there] or (there if len(there) == 1 else [])
    if not found:
        raise ValueError(f"{path}: expected an array named {' or '.join(NAMES)}, got {', '.join(there) or 'none'}")
    return found[0]


def _read_csv(path: Path, names: tuple[str, ...]) -> Array:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except csv.Error as error:
        raise ValueError(f"{path}: expected a table of numbers, one sample a line ({error})") from None
    header = bool(lines) and not _is_number(lines[0][0])
    try:
        table = np.array(lines[header:], dtype=float)
    except ValueError as error:
        raise ValueError(f"{path}: expected a table of numbers, one sample a line ({error})") from None
    columns = [text.strip() for text in lines[0]] if header else []
    if not set(columns) & set(names):  # no header, or one in words of its own: the order of the columns counts
        return table
    if sorted(columns) != sorted(names):
        raise ValueError(f"{path}: expected columns {', '.join(names)}, got {', '.join(columns)}")
    return table[:, [columns.index(name) for name in names]]


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


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
