"""Error bands in words, and their coverage of fresh solves in numbers and words."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from gnvpro.surrogate.spaces import Space
from gnvpro.surrogate.trust.bands import Bands, Coverage
from gnvpro.surrogate.trust.trust import Trust

# The level that is shown where one has to do.
LEVEL = 0.9
_SOURCES = {
    "calibration": "calibration samples",
    "test": "test samples",
    "validation": "validation samples, which also chose the network",
}


def trust_rows(trust: Trust | None, observables: Space, *, all_levels: bool = False) -> list[tuple[str, str]]:
    """What a model promises of its errors, at the level `LEVEL` and if asked at those above."""
    if trust is None:
        return [("error bands", "none; gnvpro.calibrate makes them")]
    bands = trust.bands
    source = _SOURCES[bands.source]
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
    unit = f" {observables.units[0]}" if len(observables.units) == 1 and observables.units[0] != "unknown" else ""
    unit = "" if unit == " 1" else unit
    low, high = float(widths.min()), float(widths.max())
    return f"{np.median(widths):.2g}{unit} ({low:.2g} to {high:.2g})"


def coverage_numbers(bands: Bands, residuals: np.ndarray) -> list[dict[str, Any]]:
    """`Coverage` of fresh residuals (n, n_out) at every level that has finite bands; JSON-able."""
    finite = [level for level in bands.levels if bands.shortage(level) is None]
    return [asdict(bands.coverage(residuals, level)) for level in finite]


def coverage_rows(by_level: list[dict[str, Any]] | None) -> list[tuple[str, str]]:
    """`coverage_numbers` of the level nearest to `LEVEL`, in words."""
    if not by_level:
        return []
    shown = Coverage(**min(by_level, key=lambda coverage: abs(coverage["level"] - LEVEL)))
    shares = f"{shown.marginal:.1%} of observables, {shown.simultaneous:.1%} of whole samples"
    return [(f"in their {shown.level:.0%} bands", shares)]
