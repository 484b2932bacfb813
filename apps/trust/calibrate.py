"""Error bands and in-domain score for a surrogate that is there already: the verb `calibrate`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.apps.arguments import Data, Folder, name_of, samples_of, surrogate_of
from gnvpro.apps.trust.held_out import held_out_samples
from gnvpro.surrogate.errors import SavedModelError, UsageError
from gnvpro.surrogate.model.calibration import calibrated, residuals
from gnvpro.surrogate.model.folder import require_place
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.trust.bands import spread
from gnvpro.surrogate.trust.trust import trust_rows


@dataclass(frozen=True, repr=False)
class Calibration(Result):
    """A surrogate with error bands and in-domain score.

    Attributes
    ----------
    model, data
        What was calibrated, and on what, in words.
    documents
        What stood beside the saved model, to stand beside its copy.
    """

    surrogate: Surrogate
    model: str
    data: str
    documents: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What was calibrated on what."""
        return f"Surrogate {self.model}, calibrated on {self.data}"

    def rows(self) -> list[tuple[str, str]]:
        """The bands in words."""
        return trust_rows(self.surrogate.trust, self.surrogate.observables)

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        return {"trust": None if self.surrogate.trust is None else self.surrogate.trust.about()}

    def save(self, path: Folder, *, overwrite: bool = False) -> None:
        """Write the calibrated surrogate as `Surrogate.save` does."""
        self.surrogate.save(Path(path), overwrite=overwrite, extra=self.documents)


def calibrate(
    model: Folder | Surrogate,
    data: Data,
    *,
    seed: int = 0,
    transpose: bool = False,
    out: Folder | None = None,
    overwrite: bool = False,
) -> Calibration:
    """A copy of a surrogate with error bands and in-domain score from samples that did not train it.

    Parameters
    ----------
    data
        Its own data set, or one that it has not seen, see `gnvpro.apps.arguments.samples_of`.
    seed
        Of which samples set the scales of the bands.
    out, overwrite
        Folder to save the copy in, and whether to replace a model that stands there.

    Raises
    ------
    UsageError
        Samples of something else, placed by hand, or none that the model has not seen.
    """
    if out is not None:
        require_place(Path(out), overwrite)
    surrogate, samples = surrogate_of(model), samples_of(data, transpose)
    shown = name_of(model, "in memory")
    try:
        held_out = held_out_samples(surrogate, samples, seed)
    except (KeyError, TypeError, AttributeError) as error:
        raise SavedModelError(f"{shown} does not say how it was trained ({error!r}); train it again") from error
    if not all(np.isfinite(residuals(surrogate, part)).all() for part in (held_out.calibration, held_out.scale)):
        raise UsageError(f"{shown} predicts numbers that are not finite; train it again")
    scale = spread(residuals(surrogate, held_out.scale))
    surrogate = calibrated(surrogate, held_out.fitted, held_out.calibration, held_out.source, scale)
    documents = _documents(Path(model)) if isinstance(model, str | Path) else {}
    calibration = Calibration(surrogate, shown, name_of(data, "samples in memory"), documents)
    if out is not None:
        calibration.save(out, overwrite=overwrite)
    return calibration


def _documents(model: Path) -> dict[str, Any]:
    names = [name for name in ("history.json", "settings.json") if (model / name).is_file()]
    try:
        return {name: json.loads((model / name).read_text()) for name in names}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"a document beside the model {model} is damaged ({error}); copy the model again") from error
