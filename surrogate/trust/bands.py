"""Split-conformal error bands: how far the truth may lie from a prediction, from samples that neither fitted nor chose it.

Of n + 1 exchangeable scores, the last is at most the ceil((n + 1) level)-th smallest of the others with probability at
least `level` (Vovk et al. 2005; Lei et al. 2018). The probability is over the calibration samples and one new sample
drawn as they were: it is no statement at one fixed point. Calibration samples that were placed by another law than new
ones are weighted by the ratio of the densities (Tibshirani et al. 2019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.missing import mean, missing_in
from gnvpro.surrogate.modes import Fields, sizes_by_block
from gnvpro.surrogate.spaces import Array, Space

LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95, 0.99)
# What a level times a count may be off an integer by rounding: 0.9 * 10 has to be 9.
_ROUNDING = 1e-9
# Of an observable's largest residual; of the largest scale where all residuals are zero: an observable that validation
# finds exact does not decide the simultaneous band alone.
_LEAST_SCALE = 1e-6


def quantiles(scores: Array, levels: Sequence[float], weighting: tuple[Array, float] | None = None) -> Array:
    """The smallest q with P(new score <= q) >= level, for each level and column of scores: (n, ...) -> (n_levels, ...).

    Infinite where n samples cannot vouch for a level: fewer than `samples_needed(level)` of equal weight. NaN is no score: a
    column has those of the other samples.

    Parameters
    ----------
    weighting : (n,), number
        Density of new samples over that of these, at these and at the new one: there its largest value keeps the
        promise everywhere. Equal without.
    """
    if np.isnan(scores).any():
        return _quantiles_of_known(scores, levels, weighting)
    n = len(scores)
    if weighting is None:
        ordered = np.concatenate([np.sort(scores, axis=0), np.full((1, *scores.shape[1:]), np.inf)])
        ranks = [math.ceil((n + 1) * level - _ROUNDING) for level in levels]
        return ordered[[min(rank, n + 1) - 1 for rank in ranks]]
    weights, weight_ahead = weighting
    lanes = np.ascontiguousarray(np.moveaxis(scores, 0, -1))
    order = np.argsort(lanes, axis=-1)
    reached, total = np.cumsum(weights[order], axis=-1), weights.sum() + weight_ahead
    ordered = np.concatenate([np.take_along_axis(lanes, order, -1), np.full((*lanes.shape[:-1], 1), np.inf)], axis=-1)
    places = [(reached < level * total - _ROUNDING).sum(axis=-1) for level in levels]
    return np.stack([np.take_along_axis(ordered, place[..., None], -1)[..., 0] for place in places])


def _quantiles_of_known(scores: Array, levels: Sequence[float], weighting: tuple[Array, float] | None) -> Array:
    """`quantiles` of every column by itself."""
    columns = scores.reshape(len(scores), -1)
    found = np.empty((len(levels), columns.shape[1]))
    for j, known in enumerate(~np.isnan(columns).T):
        of_known = None if weighting is None else (weighting[0][known], weighting[1])
        found[:, j] = quantiles(columns[known, j], levels, of_known)
    return found.reshape(len(levels), *scores.shape[1:])


def quantile(scores: Array, level: float, weighting: tuple[Array, float] | None = None) -> Array:
    """`quantiles` of one level, (n, ...) -> (...)."""
    return quantiles(scores, [level], weighting)[0]


def samples_needed(level: float) -> int:
    """The fewest calibration samples, of equal weight, that give a finite band."""
    return math.ceil(level / (1 - level) - _ROUNDING)


def law_weights(space: Space, design: str | None, points: Array) -> tuple[Array, float] | None:
    """Density of the space's law over that of a design at points (n, n_in), and its largest value.

    None where samples are placed by the law itself. The design `sobol-arcsine` has the density
    prod_j 1 / (pi sqrt(u_j (1 - u_j))) in the box scaled to u in (0, 1); the law `uniform` has 1.
    """
    if design != "sobol-arcsine" or space.lower is None or space.upper is None:
        return None
    lower, upper = np.asarray(space.lower), np.asarray(space.upper)
    varies = upper > lower
    u = np.clip((points - lower)[:, varies] / (upper - lower)[varies], 0, 1)
    return np.prod(np.pi * np.sqrt(u * (1 - u)), axis=1), (np.pi / 2) ** int(varies.sum())


@dataclass(frozen=True)
class Coverage:
    """Which share of fresh observables and of whole fresh samples lay in their bands.

    Attributes
    ----------
    marginal
        Mean over observables and samples of: the residual is within the marginal band.
    marginal_least
        The lowest of the observables.
    simultaneous
        Share of samples all of whose observables are within the simultaneous band.
    """

    level: float
    n_samples: int
    marginal: float
    marginal_least: float
    simultaneous: float


@dataclass(frozen=True, eq=False)
class Bands(ComparedByValue):
    """Half widths of error bands in the units of the observables, at the levels that are stored.

    Attributes
    ----------
    marginal : (n_levels, n_out)
        For each observable by itself: it holds with the probability of the level, over parameters drawn by their law.
    scale : (n_out,)
        Spread of the residuals, from samples that do not calibrate: the shape of the simultaneous band. Infinite, as the band
        is then, where no sample has the observable.
    factors : (n_levels,)
        The simultaneous band is factor * scale: all observables of a sample lie in it with that probability.
    source
        The set that calibrated: `calibration` or `test` chose nothing, `validation` has also chosen the network.
    weight_ahead
        Of the new sample, where calibration samples were weighted for the law of the parameters; else 1.
    """

    levels: tuple[float, ...]
    marginal: Array
    scale: Array
    factors: Array
    n_samples: int
    source: str
    weight_ahead: float = 1.0

    def __post_init__(self) -> None:
        """Shapes and values that no calibration gives are refused: bands are read from files too."""
        n, n_out = len(self.levels), len(self.scale)
        if n == 0 or not all(isinstance(level, float) and 0 < level < 1 for level in self.levels):
            raise UsageError(f"expected levels between 0 and 1, got {self.levels}")
        if list(self.levels) != sorted(set(self.levels)):
            raise UsageError(f"expected levels that increase, got {self.levels}")
        if self.marginal.shape != (n, n_out) or self.factors.shape != (n,):
            found = f"{self.marginal.shape} and {self.factors.shape}"
            raise UsageError(f"expected bands of shape {(n, n_out)} and factors of {(n,)}, got {found}")
        widths = [self.marginal, self.factors[:, None]]
        if any(np.isnan(w).any() or (w < 0).any() or (w[1:] < w[:-1]).any() for w in widths):
            raise UsageError("the half widths of bands must be numbers >= 0 that increase with the level")
        if not (self.scale > 0).all():
            raise UsageError("the scales of the simultaneous band must be positive numbers")
        if not isinstance(self.n_samples, int) or self.n_samples < 0:
            raise UsageError(f"expected a number of calibration samples, got {self.n_samples!r}")
        if not isinstance(self.weight_ahead, float) or not 1 <= self.weight_ahead < np.inf:
            raise UsageError(f"expected a weight of the new sample from 1 on, got {self.weight_ahead!r}")

    @classmethod
    def calibrated(
        cls,
        residuals: Array | Fields,
        scale: Array,
        source: str,
        weighting: tuple[Array, float] | None = None,
    ) -> Bands:
        """From residuals (n, n_out) of samples that did not fit; `scale` (n_out,) from other samples.

        Where an observable of a sample is missing (NaN), its own band is that of the samples that have it, and the
        simultaneous one takes it to be as large, beside what the sample has, as in another sample. `n_samples` is then the
        number of samples that have the observable which the fewest have.

        Parameters
        ----------
        weighting
            What `law_weights` gives for these samples.
        """
        marginal, scores = np.empty((len(LEVELS), len(scale))), np.zeros(len(residuals))
        for columns, sizes in sizes_by_block(residuals):
            scores = np.maximum(scores, (sizes / scale[columns]).max(axis=1))
            marginal[:, columns] = quantiles(sizes, LEVELS, weighting)
        n = len(residuals)
        if isinstance(residuals, np.ndarray) and (missing := missing_in(residuals)) is not None:
            scale = np.where(missing.all(axis=0), np.inf, scale)
            scores, n = _largest_of_all(np.abs(residuals), scale), int((~missing).sum(axis=0).min())
        factors = quantiles(scores, LEVELS, weighting)
        return cls(LEVELS, marginal, scale, factors, n, source, 1.0 if weighting is None else weighting[1])

    def half_width(self, level: float, *, simultaneous: bool = False) -> Array:
        """Half widths of every observable (n_out,); infinite where there were too few calibration samples.

        Raises
        ------
        UsageError
            A level that is not stored.
        """
        row = self._row(level)
        if not simultaneous:
            return self.marginal[row]
        known = np.isfinite(self.scale)
        return np.where(known, self.factors[row] * np.where(known, self.scale, 1.0), np.inf)

    def finite_half_width(self, level: float, *, simultaneous: bool = False) -> Array | None:
        """What `half_width` gives, or None where too few samples calibrated to give every observable a band."""
        found = self.half_width(level, simultaneous=simultaneous)
        return found if np.isfinite(found).all() else None

    def coverage(self, residuals: Array, level: float) -> Coverage:
        """Coverage of the residuals (n, n_out) of fresh samples, of those there are: NaN where one is missing."""
        sizes, missing = np.abs(residuals), np.isnan(residuals)
        within = np.where(missing, np.nan, sizes <= self.half_width(level))[:, ~missing.all(axis=0)]
        everywhere = (missing | (sizes <= self.half_width(level, simultaneous=True))).all(axis=1)
        by_observable, together = mean(within), np.nanmean(within)
        return Coverage(level, len(residuals), float(together), float(by_observable.min()), float(everywhere.mean()))

    def _row(self, level: float) -> int:
        if not isinstance(level, Real):
            raise UsageError(f"expected level a number between 0 and 1 such as 0.9, got {level!r}")
        found = np.flatnonzero(np.abs(np.array(self.levels) - level) < _ROUNDING)
        if not len(found):
            known = ", ".join(f"{one:g}" for one in self.levels)
            raise UsageError(f"the model's error bands have the levels {known}; {level:g} is none of them")
        return int(found[0])

    def about(self) -> dict[str, Any]:
        """JSON-able, without the widths themselves."""
        return {
            "levels": list(self.levels),
            "n_samples": self.n_samples,
            "source": self.source,
            "also_chose_the_network": self.source == "validation",
            "weight_ahead": self.weight_ahead,
        }

    def shortage(self, level: float) -> str | None:
        """Why the band of this level is infinite, in words; None where it is not."""
        if all(self.finite_half_width(level, simultaneous=together) is not None for together in (False, True)):
            return None
        least = samples_needed(level) if self.weight_ahead == 1 else math.ceil(level / (1 - level) * self.weight_ahead)
        if self.n_samples >= least and (unknown := int(np.isinf(self.scale).sum())):
            return (
                f"infinite: {unknown} of {len(self.scale)} observables are in none of the samples that set the scales"
            )
        about = "" if self.weight_ahead == 1 else "about "
        return f"infinite: {self.n_samples} samples calibrated, {level:.0%} needs at least {about}{least}"


def spread(residuals: Array | Fields) -> Array:
    """Robust size of each observable's residuals: (n, n_out) -> (n_out,), positive.

    The median of the absolute values, in units of a standard deviation if they were normal; the largest of them where
    that is zero, infinite where there are none. Observables do not see each other's units.
    """
    scale = np.concatenate([_spread(sizes) for _, sizes in sizes_by_block(residuals)])
    largest = float(scale[np.isfinite(scale)].max(initial=0.0))
    return np.where(scale > 0, scale, _LEAST_SCALE * largest if largest > 0 else 1.0)


def _spread(sizes: Array) -> Array:
    if (missing := missing_in(sizes)) is not None:
        known = sizes[:, there := ~missing.all(axis=0)]
        found = np.full(sizes.shape[1], np.inf)
        median, most = 1.4826 * np.nanmedian(known, axis=0), np.fmax.reduce(known, axis=0)
        found[there] = np.where(median > 0, np.maximum(median, _LEAST_SCALE * most), most)
        return found
    median, most = 1.4826 * np.median(sizes, axis=0), sizes.max(axis=0)
    return np.where(median > 0, np.maximum(median, _LEAST_SCALE * most), most).astype(float)


def _largest_of_all(sizes: Array, scale: Array) -> Array:
    """The largest (n,) of every row of residuals' sizes (n, n_out) over their scales, of those that are missing (NaN) too.

    Of the observables that have a scale; NaN for rows with none of them. One that is missing is what the next sample that
    has it has, each relative to the root mean square of its row: the largest of fewer would make the simultaneous band too
    narrow.
    """
    columns = np.isfinite(scale)
    rows = ~np.isnan(sizes[:, columns]).all(axis=1)
    found = np.full(len(sizes), np.nan)
    if not rows.any():
        return found
    ratios = sizes[np.ix_(rows, columns)] / scale[columns]
    levels = np.sqrt(np.nanmean(ratios**2, axis=1))
    filled = ratios.copy()
    for j in np.flatnonzero(np.isnan(ratios).any(axis=0)):
        known, gaps = np.flatnonzero(~np.isnan(ratios[:, j])), np.flatnonzero(np.isnan(ratios[:, j]))
        donors = known[np.searchsorted(known, gaps) % len(known)]
        beside = np.divide(ratios[donors, j], levels[donors], out=np.zeros(len(gaps)), where=levels[donors] > 0)
        filled[gaps, j] = levels[gaps] * beside
    found[rows] = filled.max(axis=1)
    return found
