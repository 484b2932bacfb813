"""`gnvpro predict`: observables at given parameters, their error bands, and which of them are not to be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_doc import Doc
from annotated_types import Gt
from typer import Argument

from gnvpro.apps.console import Outcome, progress, say
from gnvpro.apps.settings import SolvingOptions, to_dict

EXAMPLE = "predict runs/model --parameters points.csv --out observables.csv"


@dataclass(frozen=True, kw_only=True)
class PredictOptions(SolvingOptions):
    """Settings of `gnvpro predict`."""

    model: Annotated[Path, Argument(help="Folder of a saved surrogate.")]
    parameters: Annotated[Path, Doc("Parameters: .npz, .npy, .csv, .mat or a data set; or their address.")]
    out: Annotated[Path, Doc("File to write: .npz or .csv; of a field also .vtu or .xdmf.")]
    transpose: Annotated[bool, Doc("Samples are rows of the .mat, or columns of the .npz.")] = False
    level: Annotated[float, Doc("Of the error bands: .5, .68, .8, .9, .95 or .99."), Gt(0)] = 0.9
    fallback: Annotated[Literal["none", "pde"], Doc("pde: solve the PDE at points that are not to be trusted.")] = (
        "none"
    )
    tolerance: Annotated[
        float | None, Doc("Fall back also where the band is wider, relative to the observables."), Gt(0)
    ] = None
    append: Annotated[Path | None, Doc("Keep the solves of the fallback for training.")] = None
    problem: Annotated[
        str | None, Doc("The PDE, if it is not registered: module:factory, a program's .toml, a URL.")
    ] = None

    METAVARS: ClassVar = {"append": "DATASET"}


def run(options: PredictOptions) -> Outcome:
    """Evaluate a surrogate at given parameters, with error bands; points not to be trusted are flagged."""
    from gnvpro.apps.trust.predict import predict

    with progress("predicting") as report:
        predictions = predict(**vars(options), record=to_dict(options), progress=report)
    for sentence in predictions.log or ():
        say(f"fallback: {sentence}")
    return Outcome.of(predictions, saved=options.out, out=str(options.out))
