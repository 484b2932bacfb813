"""Measurements that were made, with their errors: what a file of them holds, and what reciprocals say of the errors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.resistivity.surveys.electrodes import (
    Numbers,
    geometric_factors,
    oriented,
    reciprocal_pairs,
    require_measurable,
)
from gnvpro.pde_data.problems.resistivity.surveys.four_electrode_survey import FourElectrodeSurvey
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.spaces import Array

# Half of normal draws lie within this many standard deviations.
_MEDIAN = 0.6744897501960817


@dataclass(frozen=True, eq=False, repr=False)
class MeasuredSurvey(Result):
    """Electrodes on flat ground, measurements with four of them, and what was measured.

    Attributes
    ----------
    positions : (n, 2)
        Of electrodes 1 to n, in m.
    abmn : (k, 4)
        Electrodes A, B, M, N of each measurement, 0 for one that is far away.
    resistance : (k,)
        Potential at M less that at N over the current, in Ω; NaN where nothing was measured.
    valid : (k,)
        Which measurements count.
    standard_deviation : (k,)
        Of the noise of `resistance`, in Ω; None where nothing is said of it.
    lines : (k,)
        Where each stands in its file; None without one.
    source
        The file, or another name, for messages.

    Raises UsageError: arrays that do not fit each other, or a valid measurement that cannot be made, which is named.
    """

    positions: Array
    abmn: Numbers
    resistance: Array
    valid: NDArray[np.bool_]
    standard_deviation: Array | None = None
    lines: NDArray[np.intp] | None = None
    source: str = "measurements"

    def __post_init__(self) -> None:
        k = len(self.abmn)
        for name in ("resistance", "standard_deviation", "valid", "lines"):
            column = getattr(self, name)
            if column is not None and np.shape(column) != (k,):
                raise UsageError(f"{self.source}: expected {name} of {k} measurements, got {np.shape(column)}")
        where = [self.where(i) for i in self.counting.tolist()]
        require_measurable(self.positions, self.abmn[self.counting], where)

    @classmethod
    def of(
        cls, survey: FourElectrodeSurvey, resistance: Array, relative_error: float | Array | None = None
    ) -> MeasuredSurvey:
        """Resistances (k,) in Ω of a survey, such as a forward response; their noise as a fraction of their size."""
        resistance = np.asarray(resistance, dtype=float)
        deviation = None if relative_error is None else np.abs(resistance) * relative_error
        return cls(survey.positions, survey.abmn, resistance, np.ones(len(survey.abmn), dtype=bool), deviation)

    def where(self, i: int) -> str:
        """How a message names measurement i."""
        return f"{self.source}: measurement {i + 1}" if self.lines is None else f"{self.source}, line {self.lines[i]}:"

    @cached_property
    def counting(self) -> NDArray[np.intp]:
        """Places of the valid measurements, from 0."""
        return np.flatnonzero(self.valid)

    @cached_property
    def survey(self) -> FourElectrodeSurvey:
        """The valid measurements, each once.

        Raises UsageError: there are none.
        """
        rows = dict.fromkeys(map(tuple, self.abmn[self.counting].tolist()))
        if not rows:
            raise UsageError(f"{self.source}: expected measurements, there is no valid one")
        return FourElectrodeSurvey(tuple(map(tuple, self.positions.tolist())), tuple(rows))

    @cached_property
    def geometric_factors(self) -> Array:
        """Of the half-space (k,) in m; infinite where homogeneous ground gives no signal, NaN where it is not valid."""
        factors = np.full(len(self.abmn), np.nan)
        factors[self.counting] = geometric_factors(self.positions, self.abmn[self.counting])
        return factors

    @property
    def apparent_resistivity(self) -> Array:
        """In Ω·m (k,); NaN where nothing was measured, or where the geometric factor is infinite."""
        factors = self.geometric_factors
        return np.where(np.isfinite(factors), self.resistance * np.where(np.isfinite(factors), factors, 1.0), np.nan)

    @cached_property
    def reciprocals(self) -> Numbers:
        """Places (p, 2), from 0, of valid measurements that are each other's reciprocals."""
        return self.counting[reciprocal_pairs(self.abmn[self.counting])]

    @cached_property
    def reciprocal_error(self) -> float | None:
        """Standard deviation of one measurement as a fraction of its size, estimated from reciprocals; None without any.

        The two of a pair measure the same, so their difference has twice the variance of one. From the median over pairs,
        which outliers do not spoil.
        """
        _, sign = oriented(self.abmn)
        normal, reciprocal = (self.resistance * sign)[self.reciprocals.T]
        mean = np.abs(normal + reciprocal) / 2
        known = np.isfinite(mean) & (mean > 0)
        if not known.any():
            return None
        return float(np.median(np.abs(normal - reciprocal)[known] / mean[known]) / np.sqrt(2) / _MEDIAN)

    @property
    def title(self) -> str:
        """The file."""
        return f"Survey {self.source}"

    def rows(self) -> list[tuple[str, str]]:
        """What it holds."""
        numbers = self.numbers()
        rows = [
            ("electrodes", str(numbers["electrodes"])),
            (
                "measurements",
                f"{numbers['measurements']}, {numbers['valid']} valid, {numbers['measured']} with a resistance",
            ),
        ]
        if numbers["apparent_resistivity"]:
            rows.append(("apparent resistivity", "{:.4g} to {:.4g} Ω·m".format(*numbers["apparent_resistivity"])))
        if numbers["relative_deviation"] is not None:
            rows.append(("noise, median", percent(numbers["relative_deviation"])))
        if numbers["reciprocal_pairs"]:
            said = "" if self.reciprocal_error is None else f": noise of {percent(self.reciprocal_error)}"
            rows.append(("reciprocal pairs", f"{numbers['reciprocal_pairs']}{said}"))
        return rows

    def numbers(self) -> dict[str, Any]:
        """The same for programs."""
        valid = self.counting
        apparent = self.apparent_resistivity[valid]
        apparent = apparent[np.isfinite(apparent)]
        relative = None
        if self.standard_deviation is not None and len(valid):
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = self.standard_deviation[valid] / np.abs(self.resistance[valid])
            relative = float(np.median(ratio[np.isfinite(ratio)])) if np.isfinite(ratio).any() else None
        return {
            "electrodes": len(self.positions),
            "measurements": len(self.abmn),
            "valid": len(valid),
            "measured": int(np.isfinite(self.resistance[valid]).sum()),
            "apparent_resistivity": [float(apparent.min()), float(apparent.max())] if len(apparent) else None,
            "relative_deviation": relative,
            "reciprocal_pairs": len(self.reciprocals),
            "reciprocal_error": self.reciprocal_error,
        }
