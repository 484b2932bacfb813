"""The coverage of error bands of fresh solves, in numbers and words."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from gnvpro.surrogate.trust.bands import Bands, Coverage
from gnvpro.surrogate.trust.trust import LEVEL


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
