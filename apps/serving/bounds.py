"""Where a model of the server answers, and the nearest of these points to one outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.laws.discrete import DiscreteLaw
from gnvpro.surrogate.model.inputs import training_range
from gnvpro.surrogate.spaces import Array, Space


@dataclass(frozen=True, eq=False)
class Bounds:
    """Where a model answers, the same points as `Surrogate.inside` has; made once, as every request is checked.

    Attributes
    ----------
    lower, upper : (n_in,)
        Of the space; infinite where it has none.
    low, high : (n_in,)
        The same, narrowed to the range of the training samples with its margin, where that is known.
    """

    space: Space
    lower: Array
    upper: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, model: ForwardModel) -> Bounds:
        """Of any forward model; of a surrogate narrowed to its training range."""
        space = model.parameters
        lower, upper = space.lower_bounds, space.upper_bounds
        trained = training_range(
            getattr(model, "training", None) or {}, logarithmic=getattr(model, "logarithmic", None)
        )
        if trained is None:
            return cls(space, lower, upper, lower, upper)
        return cls(space, lower, upper, np.maximum(lower, trained[0]), np.minimum(upper, trained[1]))

    def violations(self, point: Array) -> list[str]:
        """What is wrong with a point (n_in,), a few words for every component; empty where nothing is."""
        off = (point < self.low) | (point > self.high)
        if off.any():
            return [self._violation(int(j), point[j]) for j in np.flatnonzero(off)]
        beyond = self.space.beyond_bounds(point)
        return [] if beyond is None else [beyond]

    def nearest(self, point: Array) -> Nearest:
        """The nearest point at which the model answers: in a box, on a simplex, at single values."""
        at, moves = np.clip(point, self.low, self.high), (point > self.low) & (point < self.high)
        sums: list[slice] = []
        for of in self.space.simplexes:
            at[of] = _on_simplex(point[of], self.low[of], self.high[of])
            moves[of] = (at[of] > self.low[of]) & (at[of] < self.high[of])
            sums.append(of)
        for of, law in self.space.own_laws.columns if self.space.laws else ():
            if law.discrete:
                values = law.values_in_order if isinstance(law, DiscreteLaw) else np.round(at[of])
                at[of], moves[of] = values[np.abs(values - point[of]).argmin()], False
            elif law.open:
                at[of] = np.maximum(at[of], np.finfo(np.float64).tiny)
        return Nearest(at, moves, tuple(sums))

    def _violation(self, j: int, value: float) -> str:
        name = self.space.names[j]
        if not self.lower[j] <= value <= self.upper[j]:
            return f"{name} = {value:g}, expected {self.lower[j]:g} to {self.upper[j]:g}"
        return f"{name} = {value:g}, expected {self.low[j]:g} to {self.high[j]:g} (where it was trained)"


def shortened_list(violations: list[str], most: int) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(violations) - most
    return violations[:most] + ([f"{more} more are out of bounds"] if more > 0 else [])


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest point (n_in,) at which a model answers, and the derivative of the map from points to these.

    Attributes
    ----------
    moves : (n_in,)
        Which components move with those of the point outside; `sums` says which of them move along a simplex together.
    """

    point: Array
    moves: np.ndarray
    sums: tuple[slice, ...] = ()

    def along(self, direction: Array) -> Array:
        """How the nearest point moves along a direction (n_in,): a symmetric projection, so a gradient by it too."""
        moved = np.where(self.moves, direction, 0.0)
        for of in self.sums:
            moves = self.moves[of]
            if moves.any():
                moved[of] = np.where(moves, moved[of] - moved[of][moves].mean(), 0.0)
        return moved


def _on_simplex(point: Array, low: Array, high: Array) -> Array:
    """The nearest point of a box whose components sum to one: all of them less the same number, within the box."""
    low, high = np.where(np.isfinite(low), low, 0.0), np.minimum(high, 1.0)

    def excess(shift: float) -> float:
        return float(np.clip(point - shift, low, high).sum()) - 1

    ends = float((point - high).min()), float((point - low).max())
    return np.clip(point - brentq(excess, *ends, xtol=1e-16, rtol=1e-15), low, high)  # pyright: ignore
