"""`gnvpro train`: a surrogate from a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_doc import Doc
from annotated_types import Ge, Gt
from typer import Argument

from gnvpro.apps.console import Outcome, progress
from gnvpro.apps.settings import to_dict
from gnvpro.surrogate.checks import shown
from gnvpro.training.settings import TrainSettings

# Whether several processes may run it, started by torchrun.
TOGETHER = True
EXAMPLE = "train runs/cdr.zarr --out runs/model --seed 0"


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainSettings):
    """Settings of `gnvpro train`: where from, where to, which samples; how is inherited."""

    data: Annotated[
        Path,
        Argument(
            help="Data set: zarr, .zarr.zip, .nc, .mat (Y, C; columns are samples), .npz, .csv; or its address (https, s3)."
        ),
    ]
    coarse: Annotated[
        tuple[Path, ...] | None,
        Doc(
            "Data set of cheaper solves to learn features from; repeatable, cheapest first, such as --coarse coarse.zarr."
        ),
    ] = None
    out: Annotated[Path | None, Doc("Folder to save the surrogate in; numbers only without.")] = None
    overwrite: Annotated[bool, Doc("Replace a surrogate that stands at --out.")] = False
    parameters: Annotated[
        tuple[str, ...] | None,
        Doc("Columns of a .csv, or variables of NetCDF or zarr, that are parameters; the others are observables."),
    ] = None
    transpose: Annotated[bool, Doc("Samples are rows of the .mat, or columns of the .npz.")] = False
    checkpoint: Annotated[
        Path | None, Doc("Folder to save the state of the training in; the same command resumes it.")
    ] = None
    checkpoint_every: Annotated[float, Doc("Work units between two checkpoints."), Gt(0)] = 200.0
    train: Annotated[int | None, Doc("Samples to fit on; half of all."), Ge(1)] = None
    validation: Annotated[int | None, Doc("Samples to choose on; a quarter."), Ge(1)] = None
    calibration: Annotated[int | None, Doc("Samples kept for error bands; none."), Ge(0)] = None
    test: Annotated[int | None, Doc("Samples to report the error on; a quarter."), Ge(0)] = None

    METAVARS: ClassVar = {"widths": "9,24,24", "parameters": "a,b,c"}


def run(options: TrainOptions) -> Outcome:
    """Train a surrogate on a data set and save it with its errors."""
    from gnvpro.apps.reports.training import text
    from gnvpro.apps.train import train

    arguments = dict(vars(options))
    arguments["coarse"] = None if options.coarse is None else list(options.coarse)
    with progress("training") as report:
        training = train(**arguments, record=to_dict(options), progress=report)
    trust = training.surrogate.trust
    numbers = {
        **training.numbers(),
        "trust": None if trust is None else trust.about(),
        "out": None if options.out is None else str(options.out),
    }
    failure = None
    if training.surrogate.training["status"] == "nonfinite":
        failure = "the objective became infinite; the best weights before that were kept"
    saved = "no, only the numbers (--out FOLDER saves)" if options.out is None else str(options.out)
    return Outcome(numbers, text(training, f"Surrogate of {shown(options.data)}", saved), failure)
