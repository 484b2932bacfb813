"""`gnvpro calibrate`: error bands and in-domain score for a surrogate that is there already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_doc import Doc
from annotated_types import Ge
from typer import Argument

from gnvpro.apps.console import Outcome

EXAMPLE = "calibrate runs/model runs/more.zarr --out runs/calibrated"


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions:
    """Settings of `gnvpro calibrate`."""

    model: Annotated[Path, Argument(help="Folder of a saved surrogate.")]
    data: Annotated[Path, Argument(help="Its own data set, or another one that it has not seen.")]
    out: Annotated[Path, Doc("Folder to save the calibrated surrogate in.")]
    overwrite: Annotated[bool, Doc("Replace a surrogate that stands at --out.")] = False
    transpose: Annotated[bool, Doc("Samples are rows of the .mat, or columns of the .npz.")] = False
    seed: Annotated[int, Doc("Seed of the samples that set the scales."), Ge(0)] = 0


def run(options: CalibrateOptions) -> Outcome:
    """Give a surrogate error bands and an in-domain score from samples that did not train it."""
    from gnvpro.apps.trust.calibrate import calibrate

    calibration = calibrate(**vars(options))
    return Outcome.of(calibration, saved=options.out, out=str(options.out))
