"""What a surrogate knows of its own errors: bands around its predictions, and where it is at home."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gnvpro.surrogate.conformal import Bands, law_weights, spread
from gnvpro.surrogate.domain import THRESHOLD_LEVEL, Domain
from gnvpro.surrogate.forward_model import Array
from gnvpro.surrogate.samples import Samples, Split

if TYPE_CHECKING:
    from gnvpro.surrogate.saved import Surrogate

# In order of preference: the first two chose nothing.
SOURCES = ("calibration", "test", "validation")
# A second-moment matrix needs no more samples than this.
_MOST_FITTED = 8192
TENSORS = ("band_marginal", "band_scale", "band_factors", "domain_whitening")


@dataclass(frozen=True)
class Trust:
    """Error bands and in-domain score of one surrogate."""

    bands: Bands
    domain: Domain

    def to_dict(self) -> dict[str, Any]:
        """JSON-able part; the arrays are `tensors`."""
        bands = {name: getattr(self.bands, name) for name in ("n_samples", "source", "weight_ahead")}
        return {"bands": {**bands, "levels": list(self.bands.levels)}, "threshold": self.domain.threshold}

    def tensors(self) -> dict[str, Tensor]:
        """Arrays by the names in `TENSORS`."""
        arrays = self.bands.marginal, self.bands.scale, self.bands.factors, self.domain.whitening
        return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in zip(TENSORS, arrays, strict=True)}

    @classmethod
    def from_saved(cls, given: dict[str, Any], tensors: dict[str, Tensor], n_out: int, n_features: int) -> Trust:
        """Inverse of `to_dict` and `tensors`; everything is checked against the sizes of the model.

        Raises
        ------
        ValueError, KeyError, TypeError
            Shapes, dtypes or values that no calibration gives.
        """
        marginal, scale, factors, whitening = (tensors[name].numpy() for name in TENSORS)
        if any(a.dtype != np.float64 for a in (marginal, scale, factors)) or whitening.dtype != np.float32:
            raise ValueError("expected bands in float64 and the whitening in float32")
        if scale.shape != (n_out,) or len(whitening) != n_features + 1:
            raise ValueError(
                f"expected bands of {n_out} observables and a whitening of {n_features + 1} rows, got "
                f"{scale.shape} and {len(whitening)}"
            )
        about = given["bands"]
        if about["source"] not in SOURCES:
            raise ValueError(f"expected bands from {' or '.join(SOURCES)} samples, got {about['source']!r}")
        levels = tuple(about["levels"])
        bands = Bands(levels, marginal, scale, factors, about["n_samples"], about["source"], about["weight_ahead"])
        return cls(bands, Domain(whitening, given["threshold"]))

    def about(self) -> dict[str, Any]:
        """JSON-able, for people and programs: how it was calibrated, and the widths in short."""
        bands = self.bands
        return {
            **bands.about(),
            "median_half_width": {
                f"{level:g}": {
                    "marginal": float(np.median(bands.half_width(level))),
                    "simultaneous": float(np.median(bands.half_width(level, simultaneous=True))),
                }
                for level in bands.levels
            },
            "domain": {"threshold_level": THRESHOLD_LEVEL, "threshold": self.domain.threshold},
        }


def calibrated_by_split(surrogate: Surrogate, split: Split, before_refit: Surrogate | None = None) -> Surrogate:
    """The surrogate with trust from the samples of its own split that chose nothing.

    These are the calibration samples; else the test samples; else, where there is nothing else, the validation
    samples, and the bands say so.

    Parameters
    ----------
    before_refit
        The same surrogate before its last layer was solved again on training and validation samples together. Its
        residuals at the validation samples are those of samples that were not fitted.
    """
    source = next(name for name in SOURCES if len(getattr(split, name)))
    of_validation = before_refit or surrogate
    judged = of_validation if source == "validation" else surrogate
    scale = residuals(surrogate, split.train) if source == "validation" else residuals(of_validation, split.validation)
    if not np.isfinite(scale).all() or not np.isfinite(residuals(judged, getattr(split, source))).all():
        return surrogate  # a training that ended in infinite numbers: there is nothing to calibrate
    return calibrated(surrogate, split.train.parameters, getattr(split, source), source, spread(scale), judged)


def calibrated(
    surrogate: Surrogate,
    fitted: Array | None,
    samples: Samples,
    source: str,
    scale: Array,
    judged: Surrogate | None = None,
) -> Surrogate:
    """The surrogate with bands and score from `samples`, which did not fit it.

    Parameters
    ----------
    fitted : (m, n_in)
        Parameters of the training samples, for the in-domain score; None keeps the score that is there.
    scale : (n_out,)
        Shape of the simultaneous band, from other samples.
    judged
        Whose residuals calibrate, where it is not the surrogate itself.
    """
    weighting = law_weights(surrogate.parameters, samples.provenance.get("design"), samples.parameters)
    bands = Bands.calibrated(residuals(judged or surrogate, samples), scale, source, weighting)
    if fitted is not None:
        features = surrogate.features(fitted[:_MOST_FITTED]), surrogate.features(samples.parameters)
        domain = Domain.of(*features, weighting)
    elif surrogate.trust is not None:
        domain = surrogate.trust.domain
    else:
        raise ValueError("the in-domain score needs the training samples")
    return replace(surrogate, trust=Trust(bands, domain))


def residuals(surrogate: Surrogate, samples: Samples) -> Array:
    """Prediction less observables, (n, n_out)."""
    return surrogate.evaluate(samples.parameters) - samples.observables
