"""Where a model answers: in its parameter space, and for a surrogate around its training samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.model.surrogate import training_range
from gnvpro.surrogate.spaces import SIMPLEX_TOLERANCE, Array, Space


@dataclass(frozen=True)
class Bounds:
    """A box, and the simplex where the space is one; the same points as `Surrogate.inside` has.

    One point is checked for every request, so the bounds are made once.

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
        lower = np.full(space.size, -np.inf) if space.lower is None else np.array(space.lower, float)
        upper = np.full(space.size, np.inf) if space.upper is None else np.array(space.upper, float)
        trained = training_range(getattr(model, "training", None) or {})
        if trained is None:
            return cls(space, lower, upper, lower, upper)
        return cls(space, lower, upper, np.maximum(lower, trained[0]), np.minimum(upper, trained[1]))

    def violations(self, point: Array) -> list[str]:
        """What is wrong with a point (n_in,), a few words for every component; empty where nothing is."""
        off = (point < self.low) | (point > self.high)
        if off.any():
            return [self._violation(int(j), point[j]) for j in np.flatnonzero(off)]
        if self.space.constraint == "simplex" and abs(point.sum() - 1) > SIMPLEX_TOLERANCE:
            return [f"the components sum to {point.sum():.8g}, expected 1 within {SIMPLEX_TOLERANCE:g}"]
        return []

    def _violation(self, j: int, value: float) -> str:
        name = self.space.names[j]
        if not self.lower[j] <= value <= self.upper[j]:
            return f"{name} = {value:g}, expected {self.lower[j]:g} to {self.upper[j]:g}"
        return f"{name} = {value:g}, expected {self.low[j]:g} to {self.high[j]:g} (where it was trained)"


def shortened_list(violations: list[str], most: int) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(violations) - most
    return violations[:most] + ([f"{more} more are out of bounds"] if more > 0 else [])
