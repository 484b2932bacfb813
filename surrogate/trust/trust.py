"""What a surrogate knows of its own errors: bands around its predictions, and where it is at home."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import with_unit
from gnvpro.surrogate.spaces import Space
from gnvpro.surrogate.trust.bands import Bands
from gnvpro.surrogate.trust.domain import THRESHOLD_LEVEL, Domain

# Sets of a split that calibrate, in order of preference: the first two chose nothing.
SETS = ("calibration", "test", "validation")
# Or samples that folds left out in turn, in trainings that cross-validate.
SOURCES = (*SETS, "cross-validation")
# The level that is shown where one has to do.
LEVEL = 0.9
_SOURCES_IN_WORDS = {
    "calibration": "calibration samples",
    "test": "test samples",
    "cross-validation": "samples left out in turn",
    "validation": "validation samples, which also chose the network",
}
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
            raise UsageError("expected bands in float64 and the whitening in float32")
        if scale.shape != (n_out,) or len(whitening) != n_features + 1:
            raise UsageError(
                f"expected bands of {n_out} observables and a whitening of {n_features + 1} rows, got "
                f"{scale.shape} and {len(whitening)}"
            )
        about = given["bands"]
        if about["source"] not in SOURCES:
            raise UsageError(f"expected bands from {' or '.join(SOURCES)} samples, got {about['source']!r}")
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


def trust_rows(trust: Trust | None, observables: Space, *, all_levels: bool = False) -> list[tuple[str, str]]:
    """What a model promises of its errors, at the level `LEVEL` and if asked at those above."""
    if trust is None:
        return [("error bands", "none; gnvpro.calibrate makes them")]
    bands = trust.bands
    source = _SOURCES_IN_WORDS[bands.source]
    law = ", placed by a design and weighted for the law: rather wide" if bands.weight_ahead > 1 else ""
    rows = [("error bands", f"from {bands.n_samples} {source}{law}")]
    for level in bands.levels:
        if level < LEVEL or (level > LEVEL and not all_levels):
            continue
        alone, together = (_widths(bands, level, simultaneous, observables) for simultaneous in (False, True))
        widths = bands.shortage(level) or f"± {alone}; together ± {together}"
        rows.append((f"{level:.0%} of each observable", widths))
    return rows


def _widths(bands: Bands, level: float, simultaneous: bool, observables: Space) -> str:
    widths = bands.half_width(level, simultaneous=simultaneous)
    unit = observables.units[0] if len(observables.units) == 1 else "unknown"
    low, high = float(widths.min()), float(widths.max())
    return f"{with_unit(f'{np.median(widths):.2g}', unit)} ({low:.2g} to {high:.2g})"
