"""Where a model may be asked: the parameter space, and for a surrogate the surroundings of its training samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.model.surrogate import training_range
from gnvpro.surrogate.spaces import SIMPLEX_TOLERANCE, Array, Space


@dataclass(frozen=True)
class Domain:
    """A box, and the simplex where the space is one; the same points as `Surrogate.inside` has.

    One point is looked at for every request, so the bounds are made once.

    Attributes
    ----------
    lower, upper : (n_in,)
        Of the space; infinite where it has none.
    trained : two of (n_in,), or None
        Range of the training samples with its margin.
    """

    space: Space
    lower: Array
    upper: Array
    trained: tuple[Array, Array] | None

    @classmethod
    def of(cls, model: ForwardModel) -> Domain:
        """Of any forward model; of a surrogate narrowed to its training range."""
        space = model.parameters
        lower = np.full(space.size, -np.inf) if space.lower is None else np.array(space.lower, float)
        upper = np.full(space.size, np.inf) if space.upper is None else np.array(space.upper, float)
        return cls(space, lower, upper, training_range(getattr(model, "training", {})))

    def why_outside(self, point: Array) -> str | None:
        """What is wrong with a point (n_in,), or None where nothing is."""
        off = (point < self.lower) | (point > self.upper)
        if off.any():
            return self._out_of(point, off, self.lower, self.upper, "")
        if self.space.constraint == "simplex" and abs(point.sum() - 1) > SIMPLEX_TOLERANCE:
            return f"the parameters sum to {point.sum():.8g}, expected 1 within {SIMPLEX_TOLERANCE:g}"
        if self.trained is None:
            return None
        off = (point < self.trained[0]) | (point > self.trained[1])
        return (
            self._out_of(point, off, self.trained[0], self.trained[1], " (where it was trained)") if off.any() else None
        )

    def _out_of(self, point: Array, off: Any, lower: Array, upper: Array, what: str) -> str:
        j = int(np.argmax(off))
        others = f"; {int(off.sum()) - 1} more are out of bounds" if off.sum() > 1 else ""
        return f"{self.space.names[j]} = {point[j]:g}, expected {lower[j]:g} to {upper[j]:g}{what}{others}"
