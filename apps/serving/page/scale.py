"""The scale of a model's picture that holds at all of its points, and how much each parameter matters at one.

Both are measured at points by the law of the parameters, where the model is inside its training range.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from gnvpro.apps.inversion.posterior.solves import difference_jacobian
from gnvpro.apps.reports.raster import Raster
from gnvpro.surrogate.admissible import admissible_points
from gnvpro.surrogate.forward_model import ForwardModel, offers
from gnvpro.surrogate.spaces import Array

# Points that the scale is taken from, and those that a spread of parameters is.
_POINTS, _SPREAD = 48, 512
# Values whose largest is so many times their median size are seen on a logarithmic scale only.
_LOGARITHMIC = 10.0
# Smaller than the largest by this, a value of the other sign is rounding.
_NO_SIGN = 1e-4
# Numbers of derivatives that are held at once.
_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Scale:
    """How numbers become heights and colours.

    Attributes
    ----------
    kind
        `symlog` where values of both signs span decades; `log` where they have one sign.
    low, high
        Of the values, with their signs.
    """

    kind: Literal["linear", "log", "symlog"]
    low: float
    high: float

    @classmethod
    def of(cls, values: Array) -> Scale:
        """Of values (any shape); those that are not finite do not count."""
        values = values[np.isfinite(values)]
        if not values.size:
            return cls("linear", 0.0, 1.0)
        low, high, sizes = float(values.min()), float(values.max()), np.abs(values)
        if sizes.max() <= _LOGARITHMIC * np.median(sizes) or not sizes.max():
            return cls("linear", low, high)
        both = min(-low, high) > _NO_SIGN * sizes.max()
        return cls("symlog" if both else "log", low, high)


@dataclass(eq=False)
class Range:
    """What is known of a model over its range; computed when it is first asked for, by whoever may call the model."""

    model: ForwardModel
    raster: Raster | None = None

    @cached_property
    def scale(self) -> Scale:
        """Of what is drawn: the observables, images less their background."""
        y = admissible_points(self.model.parameters, _POINTS, 0)
        if (inside := getattr(self.model, "inside", None)) is not None and inside(y).any():
            y = y[inside(y)]
        observables = self.model.evaluate(y)
        if self.raster is not None:
            return Scale.of(self.raster(observables))
        background = getattr(self.model, "background", None)
        return Scale.of(observables if background is None else observables - np.asarray(background))

    @cached_property
    def spread(self) -> Array:
        """Standard deviations (n_in,) of the parameters by their law."""
        return admissible_points(self.model.parameters, _SPREAD, 0).std(axis=0)

    def matters(self, y: Array) -> Array:
        """How far the observables go when a parameter moves by a standard deviation, to first order: (n_in,) -> (n_in,).

        The root of their mean square. Of parameters that sum to one, the others make room, as the sliders do.
        """
        space, spread = self.model.parameters, self.spread
        directions = np.diag(spread)
        for of in space.simplexes:
            for j in range(of.start, of.stop):
                left = 1 - y[j]
                others = [i for i in range(of.start, of.stop) if i != j]
                directions[j, others] = -spread[j] * (y[others] / left if left > 0 else 1 / max(1, len(others)))
        return _sizes(self.model, y, directions)


def _sizes(model: ForwardModel, y: Array, directions: Array) -> Array:
    """Root mean squares (k,) of the derivatives along directions (k, n_in) at y (n_in,), the cheaper way round."""
    (k, _), n_out = directions.shape, model.observables.size
    tangents, adjoints = offers(model, "jvp"), offers(model, "vjp")
    if adjoints and (n_out < k or not tangents):
        jacobian = model.vjp(np.tile(y, (n_out, 1)), np.eye(n_out))
        return _root_mean_square(directions @ jacobian.T)
    if not tangents:
        (jacobian,) = difference_jacobian(model.evaluate, model.parameters, y[None])
        return _root_mean_square(directions @ jacobian.T)
    together = max(1, _AT_ONCE // n_out)
    parts = [directions[first : first + together] for first in range(0, k, together)]
    return np.concatenate([_root_mean_square(model.jvp(np.tile(y, (len(part), 1)), part)) for part in parts])


def _root_mean_square(rows: Array) -> Array:
    return np.sqrt(np.mean(rows**2, axis=1))
