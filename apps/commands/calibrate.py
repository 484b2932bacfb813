"""`gnvpro calibrate`: error bands and in-domain score for a surrogate that is there already."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from typer import Argument, Option

from gnvpro.apps.console import Outcome, table
from gnvpro.surrogate.errors import UsageError

EXAMPLE = "calibrate runs/model runs/more.zarr --out runs/calibrated"


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions:
    """Settings of `gnvpro calibrate`."""

    model: Annotated[Path, Argument(help="Folder of a saved surrogate.")]
    data: Annotated[Path, Argument(help="Its own data set, or another one that it has not seen.")]
    out: Annotated[Path, Option("--out", "-o", help="Folder to save the calibrated surrogate in.")]
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a surrogate that stands at --out.")] = False
    transpose: Annotated[bool, Option("--transpose", help="Samples are rows of the .mat, or columns of the .npz.")] = (
        False
    )
    seed: Annotated[int, Option("--seed", "-s", help="Seed of the samples that set the scales."), Ge(0)] = 0


def run(given: CalibrateOptions) -> Outcome:
    """Give a surrogate error bands and an in-domain score from samples that did not train it."""
    import numpy as np

    from gnvpro.apps.trust.held_out import held_out_samples
    from gnvpro.apps.trust.words import trust_rows
    from gnvpro.pde_data.storage.dataset import read_samples
    from gnvpro.surrogate.errors import SavedModelError
    from gnvpro.surrogate.model.calibration import calibrated, residuals
    from gnvpro.surrogate.model.folder import require_place
    from gnvpro.surrogate.model.surrogate import Surrogate
    from gnvpro.surrogate.trust.bands import spread

    require_place(given.out, given.overwrite)
    surrogate = Surrogate.load(given.model)
    samples = read_samples(given.data, transpose=given.transpose)
    try:
        held_out = held_out_samples(surrogate, samples, given.seed)
    except (KeyError, TypeError, AttributeError) as error:
        raise SavedModelError(f"{given.model} does not say how it was trained ({error!r}); train it again") from error
    fitted, samples = held_out.fitted, held_out.calibration
    if not all(np.isfinite(residuals(surrogate, part)).all() for part in (samples, held_out.scale)):
        raise UsageError(f"{given.model} predicts numbers that are not finite; train it again")
    surrogate = calibrated(surrogate, fitted, samples, held_out.source, spread(residuals(surrogate, held_out.scale)))
    surrogate.save(given.out, overwrite=given.overwrite, extra=_documents(given.model))
    assert surrogate.trust is not None
    numbers = {"out": str(given.out), "trust": surrogate.trust.about()}
    rows = [*trust_rows(surrogate.trust, surrogate.observables), ("saved", str(given.out))]
    return Outcome(numbers, table(f"Surrogate {given.model}, calibrated on {given.data}", rows))


def _documents(model: Path) -> dict[str, Any]:
    """What stands beside the model, to stand beside its copy."""
    names = [name for name in ("history.json", "settings.json") if (model / name).is_file()]
    try:
        return {name: json.loads((model / name).read_text()) for name in names}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"a document beside the model {model} is damaged ({error}); copy the model again") from error
