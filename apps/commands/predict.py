"""`gnvpro predict`: observables at given parameters, their error bands, and which of them are not to be trusted."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Gt
from typer import Argument, Option

from gnvpro.apps.console import Outcome, progress, stderr, table
from gnvpro.apps.settings import to_dict
from gnvpro.surrogate.errors import UsageError

if TYPE_CHECKING:
    from gnvpro.apps.trust.fallback import Fallback
    from gnvpro.surrogate.model.surrogate import Surrogate

EXAMPLE = "predict runs/model --parameters points.csv --out observables.csv"
WRITTEN = (".npz", ".csv")


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


def run(given: PredictOptions) -> Outcome:
    """Evaluate a surrogate at given parameters, with error bands; points not to be trusted are flagged."""
    _require_place(given.out)

    import numpy as np

    from gnvpro.apps.trust.predictions import classes_at, expected_error, observables_at, write_csv, write_npz
    from gnvpro.pde_data.storage.tables import read_parameters
    from gnvpro.surrogate.model.classifier import Classifier
    from gnvpro.surrogate.model.load import load_model

    model = load_model(given.model)
    parameters = model.parameters.rows(read_parameters(given.parameters, given.transpose, model.parameters.names))
    if not np.isfinite(parameters).all():
        row = int(np.argmin(np.isfinite(parameters).all(axis=1)))
        raise UsageError(f"{given.parameters}: row {row} is not finite; leave such rows out")
    if isinstance(model, Classifier):
        if given.fallback == "pde":
            raise UsageError(f"{given.model} is a classifier, there is no PDE behind it; leave out --fallback")
        found = classes_at(model, parameters)
    else:
        found = observables_at(model, parameters, given.level, _fallback(model, given))
    inside = model.inside(parameters)
    found = dataclasses.replace(found, columns={"inside_training_range": inside, **found.columns})
    given.out.parent.mkdir(parents=True, exist_ok=True)
    if given.out.suffix == ".csv":
        write_csv(given.out, model.observables, found)
    else:
        write_npz(given.out, parameters, found, json.dumps(to_dict(given)))
    outside = int((~inside).sum())
    numbers = {
        "out": str(given.out),
        "n_samples": len(parameters),
        "n_outside_training_range": outside,
        "expected_error": expected_error(model),
        **found.about,
    }
    flagged = f"{outside}; the error stated for the model does not hold there" if outside else "none"
    rows = [("samples", str(len(parameters))), ("outside the training range", flagged), *found.rows]
    return Outcome(numbers, table(f"Predictions in {given.out}", rows))


def _require_place(out: Path) -> None:
    """Before anything is solved."""
    if out.exists():
        raise FileExistsError(f"{out} is there already; choose another name")
    if out.suffix not in WRITTEN:
        raise UsageError(f"expected an output that ends in {' or '.join(WRITTEN)}, got {out}")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir():
        raise UsageError(f"{above} is a file, so that {out} cannot be in it; choose another place")


def _fallback(model: Surrogate, given: PredictOptions) -> Fallback | None:
    if given.fallback == "pde":
        from gnvpro.apps.trust.fallback import Fallback

        return Fallback(model, given.tolerance, given.append, given.problem, watch=progress, say=_say)
    if given.tolerance is not None or given.append is not None or given.problem is not None:
        raise UsageError("--tolerance, --append and --problem belong to --fallback pde; add it, or leave them out")
    return None


def _say(text: str) -> None:
    stderr.print(f"fallback: {text}", markup=False, soft_wrap=True)
