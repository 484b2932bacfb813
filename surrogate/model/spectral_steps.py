"""The steps that features of spectra take, by name: plain words, so that settings are checked without torch."""

from __future__ import annotations

from typing import NamedTuple

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import did_you_mean

_PRESETS = {"scaled": ["per-pixel", "per-band", "brightness"], "paper": ["per-pixel"], "raw": []}


class SpectralSteps(NamedTuple):
    """Which steps are taken; `gnvpro.surrogate.model.spectra.SpectralFeatures` says what they are."""

    per_pixel: bool
    per_band: bool
    brightness: bool

    @classmethod
    def named(cls, name: str) -> SpectralSteps:
        """`scaled`: all three steps; `paper`: spectra normalised; `raw`: none; or a list such as `per-pixel,per-band`.

        Raises
        ------
        UsageError
            Another name; the message says which there are.
        """
        steps = _PRESETS.get(name, name.split(","))
        known = [step.replace("_", "-") for step in cls._fields]
        if unknown := [step for step in steps if step not in known]:
            raise UsageError(
                f"unknown features {unknown[0]!r}; {did_you_mean(unknown[0], [*_PRESETS, *known])}expected "
                f"{', '.join(_PRESETS)}, or some of {','.join(known)}"
            )
        return cls(*(step in steps for step in known))
