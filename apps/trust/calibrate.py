"""Error bands and in-domain score for a surrogate that is there already: the function `gnvpro.calibrate`.

Bands are calibrated on samples that the surrogate has not seen; which those are is found here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gnvpro.apps.arguments import Data, Folder, name_of, samples_of, surrogate_of
from gnvpro.pde_data.sampling import DESIGNS, place
from gnvpro.pde_data.storage.append import GIVEN
from gnvpro.surrogate.checks import integer, path_of
from gnvpro.surrogate.errors import SavedModelError, UsageError
from gnvpro.surrogate.model.calibration import all_finite, calibrated, residuals
from gnvpro.surrogate.model.folder import HISTORY, SETTINGS, read_document, require_place
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.trust.bands import spread
from gnvpro.surrogate.trust.trust import SETS, trust_rows
from gnvpro.training.fitting.outcome import mean_relative_error

# Of samples the model has not seen, the share that sets the scales of the simultaneous band.
_SCALE_SHARE = 0.25
# The split is made again where its training error is the one stated, up to rounding on another machine.
_SAME = 1e-3


@dataclass(frozen=True, repr=False, eq=False)
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
        self.surrogate.save(path_of(path), overwrite=overwrite, extra=self.documents)


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
        Samples of something else, placed by hand, or none that the model has not seen; an observable that too few of these
        have.
    """
    if out is not None:
        require_place(path_of(out), overwrite)
    surrogate = surrogate_of(model)
    samples = samples_of(data, transpose, surrogate.parameters.names)
    shown = name_of(model, "in memory")
    held_out = held_out_samples(surrogate, samples, seed)
    if not all(all_finite(residuals(surrogate, part), part) for part in (held_out.calibration, held_out.scale)):
        raise UsageError(f"{shown} predicts numbers that are not finite; train it again")
    scale = spread(residuals(surrogate, held_out.scale))
    surrogate = calibrated(surrogate, held_out.fitted, held_out.calibration, held_out.source, scale)
    documents = _documents(path_of(model)) if isinstance(model, str | Path) else {}
    calibration = Calibration(surrogate, shown, name_of(data, "samples in memory"), documents)
    if out is not None:
        calibration.save(out, overwrite=overwrite)
    return calibration


def _documents(model: Path) -> dict[str, Any]:
    documents = {name: read_document(model, name) for name in (HISTORY, SETTINGS)}
    return {name: document for name, document in documents.items() if document is not None}


class HeldOut(NamedTuple):
    """Samples that calibrate, others that set the scales, and the parameters of those that were fitted, if known."""

    calibration: Samples
    scale: Samples
    source: str
    fitted: Array | None


def held_out_samples(surrogate: Surrogate, samples: Samples, seed: int) -> HeldOut:
    """What of a data set has not fitted the surrogate.

    Of its own data set the split is made again; of another one all samples are taken that are not among those of its
    own, which are known where a law or design placed them.

    Raises
    ------
    UsageError
        Samples of something else, placed by hand, or none left; an observable that too few of the others have.
    """
    samples = samples.in_order_of(surrogate.parameters, surrogate.observables)
    origin, now = surrogate.provenance, samples.provenance
    if "definition_hash" in origin.keys() & now.keys() and origin["definition_hash"] != now["definition_hash"]:
        raise UsageError(
            f"the data are of a problem with definition {str(now['definition_hash'])[:12]}, the model of one with "
            f"{str(origin['definition_hash'])[:12]}; calibrate on data of the same problem"
        )
    if now.get("design") == GIVEN and origin.get("design") != GIVEN:
        raise UsageError(
            "the samples of this data set were asked for one by one and follow no law, so that bands made from them "
            "would promise nothing for others; calibrate on data of the law"
        )
    if _is_own(origin, now):
        return _own_split(surrogate, samples)
    if now.get("design") == GIVEN:
        raise UsageError(
            "model and data set are both of samples that were given one by one: nothing tells which of them the model "
            "has seen; calibrate on the data set it was trained on, or on data of the law"
        )
    return _others(surrogate, samples, seed)


def own_parameters(surrogate: Surrogate) -> Array | None:
    """Parameters (n, n_in) of all samples of the data set a surrogate was trained on, placed again.

    None where nothing says how: files without metadata, points that were given one by one, an unknown law.
    """
    origin, space = surrogate.provenance, surrogate.parameters
    if not {"seed", "n_samples"} <= origin.keys() or space.law == "unknown":
        return None
    design = origin.get("design", "random")
    with _reading_record():
        seed, n = integer("seed", origin["seed"]), integer("n_samples", origin["n_samples"], least=0)
        placed = origin.get("placement")
        numbers = np.arange(n) if placed is None else np.array(placed["numbers"], dtype=np.intp)
    return place(space, design, seed, numbers) if design in DESIGNS else None


@contextmanager
def _reading_record() -> Iterator[None]:
    """SavedModelError where the record of a model, read here, is not as training writes it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SavedModelError(f"the model does not say how it was trained ({error!r}); train it again") from error


def _is_own(origin: dict[str, Any], now: dict[str, Any]) -> bool:
    if "sha256" in origin or "sha256" in now:
        return origin.get("sha256") == now.get("sha256")
    names = ("definition_hash", "seed", "design", "n_samples")
    return all(name in origin and origin[name] == now.get(name) for name in names)


def _own_split(surrogate: Surrogate, samples: Samples) -> HeldOut:
    with _reading_record():
        record, stated = surrogate.training, float(surrogate.errors["train"])
        seed, refitted = integer("seed", record["settings"]["seed"]), "refitted" in record["choice"]
        counts = {name: integer(name, record["samples"].get(name, 0)) for name in ("train", *SETS)}
    if counts["validation"]:
        split = samples.split(seed, **counts)
    else:
        split = samples.split_off(seed, calibration=counts["calibration"], test=counts["test"])
    error = mean_relative_error(surrogate, split.train)
    if abs(error - stated) > _SAME * stated + 1e-12:
        raise UsageError(
            f"the model's split of these data cannot be made again (training error {error:.3g}, stated {stated:.3g}): "
            "have samples been added or repaired? calibrate on data it has not seen"
        )
    source = next((name for name in SETS if len(getattr(split, name))), None)
    if source is None or (source == "validation" and refitted):
        raise UsageError(
            "all samples of this data set have fitted the model, those too that judged models like it: calibrate on data "
            "it has not seen, for example of another seed"
        )
    scale = split.train if source == "validation" or not len(split.validation) else split.validation
    return HeldOut(getattr(split, source), scale, source, split.train.parameters)


def _others(surrogate: Surrogate, samples: Samples, seed: int) -> HeldOut:
    own = own_parameters(surrogate)
    if own is not None:
        seen = {row.tobytes() for row in own}
        fresh = [i for i, row in enumerate(samples.parameters) if row.tobytes() not in seen]
        samples = samples.subset(np.array(fresh, dtype=np.intp))
    elif surrogate.trust is None:
        raise UsageError(
            "the in-domain score needs the samples the model was trained on, and nothing tells how they were placed: "
            "calibrate on the data set it was trained on"
        )
    if len(samples) < 2:
        raise UsageError(f"expected samples that the model has not seen, got {len(samples)}; generate more of them")
    samples.require_observed()
    order = np.random.default_rng(seed).permutation(len(samples))
    n_scale = max(1, int(_SCALE_SHARE * len(samples)))
    return HeldOut(samples.subset(order[n_scale:]), samples.subset(order[:n_scale]), "calibration", own)
