"""Features of spectra: what a classifier's network sees of the raw bands.

Three choices, each on or off: every spectrum normalised by itself (its shape without its brightness), every feature
standardised over the training pixels, and the brightness given back as two features. The original study normalises
spectra and nothing else; all three together are the better default (docs/segmentation.md has the evidence).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.spectral_steps import SpectralSteps
from gnvpro.surrogate.rounding import varies
from gnvpro.surrogate.spaces import Array

# Of a spectrum's largest value: a spread below this is rounding, the spectrum flat.
FLAT = 64 * float(np.finfo(np.float64).eps)
# Of the size of a feature: normalised spectra have lost digits where their mean is many times their spread.
_ROUNDING_OF_NORMALISED = 1e-9


@dataclass(frozen=True, eq=False)
class SpectralFeatures(ComparedByValue):
    """A differentiable map of raw spectra (n, n_bands) to features (n, n_features), both float64.

    Attributes
    ----------
    per_pixel
        Each spectrum less its mean, over its standard deviation.
    per_band
        Features of zero mean and unit variance over the samples given to `fitted`.
    brightness
        Logarithms of mean and standard deviation of the raw spectrum as two more features, always standardised.
    shift, scale : (n_features,)
        Fitted.
    absolute_floor
        The spread of a spectrum is at least n_bands^-1/2 in the unit of the cube, as in the original study's code and in
        models saved before schema version 5. Otherwise a spectrum is flat by `FLAT`, in any unit.
    """

    n_bands: int
    per_pixel: bool = True
    per_band: bool = True
    brightness: bool = True
    shift: Array | None = None
    scale: Array | None = None
    absolute_floor: bool = False

    def __post_init__(self) -> None:
        if self.n_bands < 1:
            raise UsageError(f"expected at least one band, got {self.n_bands}")
        for name in ("shift", "scale"):
            value = getattr(self, name)
            if value is not None and (np.shape(value) != (self.n_features,) or not np.isfinite(value).all()):
                raise UsageError(f"expected {self.n_features} finite values of {name}, got shape {np.shape(value)}")

    @classmethod
    def paper(cls, n_bands: int) -> SpectralFeatures:
        """The original study's: spectra normalised one by one, no more."""
        return cls(n_bands, per_band=False, brightness=False)

    @classmethod
    def named(cls, name: str, n_bands: int) -> SpectralFeatures:
        """The features of a name, such as `scaled`; see `gnvpro.surrogate.model.spectral_steps.SpectralSteps.named`."""
        return cls(n_bands, *SpectralSteps.named(name))

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.n_bands + 2 * self.brightness

    def fitted(self, spectra: Array) -> SpectralFeatures:
        """These features with shift and scale of the training spectra (n, n_bands).

        A band that does not vary is shifted, and scaled by its own size.

        Raises
        ------
        UsageError
            Another number of bands, or brightness of spectra whose mean is not positive.
        """
        if spectra.ndim != 2 or spectra.shape[1] != self.n_bands:
            raise UsageError(f"expected spectra (n, {self.n_bands}), got {spectra.shape}")
        dark = np.flatnonzero(spectra.mean(1) <= 0)
        if self.brightness and len(dark):
            raise UsageError(
                f"the mean of spectrum {dark[0]} is not positive ({len(dark)} of {len(spectra)}), so it has no "
                "logarithm; leave brightness out"
            )
        raw = replace(self, shift=None, scale=None)(torch.as_tensor(spectra)).numpy()
        centre, spread = raw.mean(0), raw.std(0)
        is_constant = ~varies(raw)
        if self.per_pixel:
            is_constant[: self.n_bands] |= (spread <= _ROUNDING_OF_NORMALISED * np.abs(raw).max(0))[: self.n_bands]
        size = np.abs(raw).max(0)
        size[self.n_bands :] = 1.0  # logarithms have no unit
        spread = np.where(is_constant, np.where(size > 0, size, 1.0), spread)
        left = np.arange(self.n_features) < (0 if self.per_band else self.n_bands)
        return replace(self, shift=np.where(left, 0.0, centre), scale=np.where(left, 1.0, 1 / spread))

    def bind(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """The map with its constants on a device."""
        shift, scale = (None if v is None else torch.as_tensor(v, device=device) for v in (self.shift, self.scale))

        def features(spectra: Tensor) -> Tensor:
            found = self._unscaled(spectra)
            return found if shift is None or scale is None else (found - shift) * scale

        return features

    def __call__(self, spectra: Tensor) -> Tensor:
        """Features (n, n_features) of raw spectra."""
        return self.bind(spectra.device)(spectra)

    def _unscaled(self, spectra: Tensor) -> Tensor:
        mean = spectra.mean(1, keepdim=True)
        centred, tiny = spectra - mean, torch.finfo(spectra.dtype).tiny
        if self.n_bands == 1:
            spread = torch.ones_like(mean)
        elif self.absolute_floor:
            spread = spectra.std(1, keepdim=True).clamp_min(self.n_bands**-0.5)
        else:
            deviation, floor = spectra.std(1, keepdim=True), FLAT * spectra.abs().amax(1, keepdim=True)
            spread = torch.maximum(deviation, floor).clamp_min(tiny)
            centred = torch.where(deviation <= floor, 0.0, centred)  # rounding of a flat spectrum has no shape
        parts = [centred / spread if self.per_pixel else spectra]
        if self.brightness:
            parts.append(torch.log(torch.cat([mean.clamp_min(tiny), spread], 1)))
        return torch.cat(parts, 1)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description."""
        numbers = {name: None if (v := getattr(self, name)) is None else v.tolist() for name in ("shift", "scale")}
        names = ("n_bands", *SpectralSteps._fields, "absolute_floor")
        return {**{name: getattr(self, name) for name in names}, **numbers}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> SpectralFeatures:
        """Read back what `to_dict` gave."""
        numbers = {n: None if given[n] is None else np.asarray(given[n], float) for n in ("shift", "scale")}
        per_pixel, per_band, brightness = (bool(given[name]) for name in SpectralSteps._fields)
        floor = bool(given["absolute_floor"])
        return cls(given["n_bands"], per_pixel, per_band, brightness, absolute_floor=floor, **numbers)
