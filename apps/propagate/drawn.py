"""One quantity by the surrogate at all draws, and how large its errors are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import stdtrit

from gnvpro.apps.propagate.counts import wilson
from gnvpro.surrogate.spaces import Array

# Values that stand for those of all draws where something is averaged over them.
_NODES = 512
# What is left of the errors beyond the last level of the bands: shares of them, and how many times its width they have. It
# guards probabilities, which count errors; in a mean square the largest would be all (`surrogate.trust.error_sizes`).
_BEYOND = ((0.5, 2.0), (0.4, 10.0), (0.09, 100.0))


@dataclass(frozen=True, eq=False)
class Drawn:
    """One quantity by the surrogate at all draws, in r parts of m that are independent of each other.

    Attributes
    ----------
    parts : (r, m)
        In ascending order within each.
    effective
        As many independent draws tell as much.
    """

    parts: Array
    effective: float

    @classmethod
    def of(cls, values: Array, effective: float | None = None) -> Drawn:
        """From values (r, m)."""
        return cls(np.sort(values, axis=1), float(values.size) if effective is None else effective)

    @cached_property
    def ordered(self) -> Array:
        """All draws (N,) in ascending order."""
        return np.sort(self.parts, axis=None)

    @cached_property
    def nodes(self) -> Array:
        """Values that stand for all draws, as many of them below one as above the next."""
        n = len(self.ordered)
        few = min(_NODES, n)
        return self.ordered[((np.arange(few) + 0.5) * n / few).astype(int)]

    @cached_property
    def negated(self) -> Drawn:
        """Of the quantity times -1."""
        mirrored = Drawn(-self.parts[:, ::-1], self.effective)
        mirrored.__dict__["ordered"] = -self.ordered[::-1]  # need not be sorted again
        return mirrored

    def above(self, thresholds: Array) -> Array:
        """Share of the draws of every part beyond thresholds (t,): (r, t)."""
        m = self.parts.shape[1]
        return np.array([1 - np.searchsorted(part, thresholds, side="right") / m for part in self.parts])

    def interval(self, shares: Array, level: float) -> tuple[Array, Array]:
        """Of the mean (t,) of shares (r, t) of the parts: never narrower than that of independent draws."""
        r, share = len(shares), shares.mean(axis=0)
        variance, binomial = shares.var(axis=0, ddof=1) / r, share * (1 - share)
        n = np.divide(binomial, variance, out=np.full_like(share, np.inf), where=variance > 0)
        return wilson(share, np.clip(n, r, self.effective), stdtrit(r - 1, (1 + level) / 2))


@dataclass(frozen=True, eq=False)
class Sizes:
    """How large errors of a quantity are: a share of them, (q,), is at most as large as the width beside it, (q,).

    Shares sum to less than one: of the rest nothing is known.
    """

    shares: Array
    widths: Array

    @classmethod
    def of_bands(cls, levels: Array, widths: Array) -> Sizes | None:
        """From half widths (n_levels,) of error bands; None where no level is finite."""
        finite = np.isfinite(widths)
        if not finite.any():
            return None
        levels, widths = np.asarray(levels)[finite], widths[finite]
        last = 1 - levels[-1]
        beyond = np.array(_BEYOND)
        shares = np.concatenate([np.diff(levels, prepend=0.0), last * beyond[:, 0]])
        return cls(shares, np.concatenate([widths, widths[-1] * beyond[:, 1]]))
