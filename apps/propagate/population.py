"""The surrogate at all draws of the law: a finite population of which everything is known but what the PDE says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gnvpro.apps.propagate.drawn import Drawn, Sizes
from gnvpro.apps.propagate.draws import Draws
from gnvpro.apps.propagate.quantities import Quantities
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.trust.bands import Bands
from gnvpro.surrogate.trust.error_sizes import mean_errors, mean_square_errors

# The level of the bands that distances are measured by, and the one that errors are taken to reach at least.
_USUAL, _HIGH = 0.9, 0.99


@dataclass(frozen=True, eq=False)
class Population:
    """Quantities (r, m, k) by the surrogate at draws (r, m, n_in).

    Attributes
    ----------
    outside
        Share of the draws that are outside the training range.
    """

    quantities: Quantities
    draws: Draws
    values: Array
    bands: Bands | None
    outside: float

    @classmethod
    def of(cls, surrogate: Surrogate, quantities: Quantities, draws: Draws, progress: Report) -> Population:
        """Raises NumericalFailure: the surrogate is not finite at a draw."""
        values, inside = [], []
        for done, part in enumerate(draws.points):
            progress(done, len(draws.points), f"surrogate at {draws.count} draws")
            values.append(quantities.of(surrogate.evaluate(part)))
            inside.append(surrogate.inside(part).mean())
            if not np.isfinite(values[-1]).all():
                bad = int((~np.isfinite(values[-1]).all(axis=1)).sum())
                raise NumericalFailure(
                    f"the surrogate is not finite at {bad} of {len(part)} draws: does it take the logarithm of a parameter "
                    "that this law lets be zero or negative? give a law that does not"
                )
        bands = None if surrogate.trust is None else surrogate.trust.bands
        return cls(quantities, draws, np.array(values), bands, 1 - float(np.mean(inside)))

    @cached_property
    def flat(self) -> Array:
        """(N, k)."""
        return self.values.reshape(-1, self.values.shape[2])

    @cached_property
    def points(self) -> Array:
        """(N, n_in)."""
        return self.draws.points.reshape(-1, self.draws.points.shape[2])

    def drawn(self, column: int) -> Drawn:
        """One quantity."""
        return Drawn.of(self.values[:, :, column], self.draws.effective)

    def sizes(self, column: int) -> Sizes | None:
        """Of the errors of a quantity; None where no band tells them."""
        if self._widths is None or self.bands is None:
            return None
        return Sizes.of_bands(np.array(self.bands.levels), self._widths[:, column])

    def mean_errors(self) -> tuple[Array, Array]:
        """Mean and root mean square (k,) of the errors, in size; NaN where no band tells them."""
        if self._widths is None or self.bands is None:
            unknown = np.full(self.values.shape[2], np.nan)
            return unknown, unknown
        levels = self.bands.levels
        return mean_errors(levels, self._widths), np.sqrt(mean_square_errors(levels, self._widths))

    def usual_width(self, column: int) -> float:
        """Half width of the band by which distances are measured; NaN without."""
        return self._width(column, _USUAL)

    def high_width(self, column: int) -> float:
        """Half width of the highest band that is finite; 0 without."""
        width = self._width(column, _HIGH)
        return 0.0 if np.isnan(width) else width

    def _width(self, column: int, level: float) -> float:
        """Of the highest level up to this one that is finite."""
        if self._widths is None or self.bands is None:
            return np.nan
        widths = self._widths[np.array(self.bands.levels) <= level + 1e-9, column]
        finite = widths[np.isfinite(widths)]
        return float(finite[-1]) if len(finite) else np.nan

    @cached_property
    def _widths(self) -> Array | None:
        return None if self.bands is None else self.quantities.widths(self.bands)
