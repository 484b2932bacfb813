"""Normal variables to parameters of many laws at once, and the coordinates in which a law is flat or normal.

Uniform and normal laws, cut off at bounds or not, of a parameter or of its logarithm, are computed together as arrays; every
other law by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from gnvpro.surrogate.laws.law import FAR, LEAST, Array, Law, normal_density, normal_of_tails


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Independent laws of coordinates x (d,) that are flat between bounds, or normal and cut off there.

    Attributes
    ----------
    lower, upper
        Infinite where there is no bound; where they meet, x is fixed.
    mean, standard_deviation
        Of the normal law that is cut off; NaN where x is flat.
    logarithmic
        Whether the parameter is exp(x), not x.
    """

    lower: Array
    upper: Array
    mean: Array
    standard_deviation: Array
    logarithmic: NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: Sequence[Coordinates]) -> Coordinates:
        """Of several parameters, in their order."""
        names = ("lower", "upper", "mean", "standard_deviation", "logarithmic")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @classmethod
    def one(cls, lower: float, upper: float, normal: tuple[float, float] | None, logarithmic: bool) -> Coordinates:
        """Of one parameter; `normal` its mean and standard deviation, None where it is flat."""
        mean, deviation = normal or (np.nan, np.nan)
        numbers = np.array([[lower], [upper], [mean], [deviation]], dtype=np.float64)
        return cls(numbers[0], numbers[1], numbers[2], numbers[3], np.array([logarithmic]))

    @cached_property
    def normal(self) -> NDArray[np.bool_]:
        """Which have a normal law."""
        return ~np.isnan(self.standard_deviation)

    @cached_property
    def possible(self) -> NDArray[np.bool_]:
        """Which have any mass between their bounds."""
        return self.normal & (self.cut[-1] > 0) | ~self.normal & np.isfinite(self.upper - self.lower)

    def of_normal(self, z: Array) -> tuple[Array, Array]:
        """Coordinates (n, d) of normal variables, and their derivatives by these."""
        x, slopes = np.empty_like(z), np.empty_like(z)
        flat, cut = ~self.normal, self.normal
        width = (self.upper - self.lower)[flat]
        x[:, flat] = self.lower[flat] + width * ndtr(z[:, flat])
        slopes[:, flat] = width * normal_density(z[:, flat])
        if cut.any():
            mean, deviation, below, above, between = (part[cut] for part in self.cut)
            of_law = z[:, cut]
            inside = normal_of_tails(below + between * ndtr(of_law), above + between * ndtr(-of_law))
            uncut = between == 1
            inside[:, uncut] = of_law[:, uncut]
            x[:, cut] = mean + deviation * inside
            slopes[:, cut] = deviation * (between * np.exp(0.5 * (inside**2 - of_law**2)))
        return np.clip(x, self.lower, self.upper), slopes  # rounding may leave them

    def to_normal(self, x: Array) -> Array:
        """Normal variables behind coordinates; 0 of fixed ones."""
        z = np.zeros_like(x)
        flat, cut = ~self.normal & (self.upper > self.lower), self.normal
        u = (x - self.lower)[:, flat] / (self.upper - self.lower)[flat]
        z[:, flat] = ndtri(np.clip(u, 0, 1))
        if cut.any():
            mean, deviation, below, above, between = (part[cut] for part in self.cut)
            inside = (x[:, cut] - mean) / deviation
            of_law = normal_of_tails((ndtr(inside) - below) / between, (ndtr(-inside) - above) / between)
            z[:, cut] = np.where(between == 1, inside, of_law)
        return np.clip(z, -FAR, FAR)

    def of_uniform(self, u: Array) -> Array:
        """Coordinates (n, d) of uniform variables."""
        x = self.lower + (self.upper - self.lower) * u if not self.normal.any() else np.empty_like(u)
        if self.normal.any():
            flat = ~self.normal
            x[:, flat] = self.lower[flat] + (self.upper - self.lower)[flat] * u[:, flat]
            x[:, ~flat] = self.of_normal(ndtri(np.maximum(u, LEAST)))[0][:, ~flat]
        return np.clip(x, self.lower, self.upper)

    @cached_property
    def cut(self) -> tuple[Array, Array, Array, Array, Array]:
        """Mean and deviation of the normal laws, and their probabilities below, above and between the bounds.

        The last without cancellation where both bounds are on one side of the mean.
        """
        mean, deviation = self.mean, self.standard_deviation
        low, high = ((bound - mean) / deviation for bound in (self.lower, self.upper))
        between = np.where(low > 0, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
        return mean, deviation, ndtr(low), ndtr(-high), between


@dataclass(frozen=True, eq=False)
class Transport:
    """Parameters (n, d) of independent laws from normal variables (n, d), one behind each, and from coordinates x (n, d).

    The coordinates of a law that has none are its normal variables. A fixed parameter depends on no variable.
    """

    laws: tuple[Law, ...]

    @cached_property
    def coordinates(self) -> Coordinates:
        """Of all parameters."""
        standard = Coordinates.one(-np.inf, np.inf, (0.0, 1.0), False)
        return Coordinates.joined([part for law in self.laws for part in _coordinates(law) or [standard] * law.size])

    @cached_property
    def discrete(self) -> NDArray[np.bool_]:
        """Which parameters (d,) have single values."""
        return np.array([law.discrete for law in self.laws for _ in range(law.size)])

    @cached_property
    def straight(self) -> NDArray[np.bool_]:
        """Which parameters (d,), or their logarithms, are normal, without bounds."""
        return np.array([law.straight for law in self.laws for _ in range(law.size)])

    def of_normal(self, z: Array) -> Array:
        """Parameters of normal variables."""
        return self.of_coordinates(self.coordinates.of_normal(z)[0])

    def of_uniform(self, u: Array) -> Array:
        """Parameters of uniform variables in [0, 1)."""
        y = self._exponential(self.coordinates.of_uniform(u))
        for columns, law in self._others:
            y[:, columns] = law.from_uniform(u[:, columns])
        return y

    def to_normal(self, y: Array) -> Array:
        """Normal variables behind parameters."""
        return self.coordinates.to_normal(self.to_coordinates(y))

    def pull_back(self, z: Array, gradient: Array) -> Array:
        """Gradient by the normal variables of a function from its gradient by the parameters."""
        x, slopes = self.coordinates.of_normal(z)
        return self.by_coordinates(x, gradient) * slopes

    def of_coordinates(self, x: Array) -> Array:
        """Parameters of coordinates."""
        y = self._exponential(x)
        for columns, law in self._others:
            y[:, columns] = law.from_normal(x[:, columns])
        return y

    def to_coordinates(self, y: Array) -> Array:
        """Coordinates of parameters."""
        x, logarithmic = np.array(y, float), self.coordinates.logarithmic
        with np.errstate(divide="ignore", invalid="ignore"):
            x[:, logarithmic] = np.log(x[:, logarithmic])
        for columns, law in self._others:
            x[:, columns] = law.to_normal(y[:, columns])
        return np.clip(x, self.coordinates.lower, self.coordinates.upper)

    def by_coordinates(self, x: Array, gradient: Array) -> Array:
        """Gradient (n, d) by the coordinates at x (n, d), from that by the parameters."""
        by_x, logarithmic = np.array(gradient, float), self.coordinates.logarithmic
        by_x[:, logarithmic] *= np.exp(x[:, logarithmic])
        for columns, law in self._others:
            by_x[:, columns] = law.pull_back(x[:, columns], gradient[:, columns])
        return by_x

    @cached_property
    def columns(self) -> list[tuple[slice, Law]]:
        """Every law, and the columns that are its parameters."""
        ends = np.cumsum([law.size for law in self.laws]).tolist()
        return [(slice(end - law.size, end), law) for end, law in zip(ends, self.laws, strict=True)]

    @cached_property
    def _others(self) -> list[tuple[slice, Law]]:
        """Of laws without coordinates of their own."""
        return [(of, law) for of, law in self.columns if _coordinates(law) is None]

    def _exponential(self, x: Array) -> Array:
        y, logarithmic = np.array(x, float), self.coordinates.logarithmic
        if logarithmic.any():
            lower, upper = self.support
            y[:, logarithmic] = np.clip(np.exp(y[:, logarithmic]), lower[logarithmic], upper[logarithmic])
        return y

    @cached_property
    def support(self) -> tuple[Array, Array]:
        """Lower and upper bounds (d,) of the parameters."""
        supports = [law.support for law in self.laws]
        return np.concatenate([low for low, _ in supports]), np.concatenate([high for _, high in supports])


def _coordinates(law: Law) -> list[Coordinates] | None:
    own = getattr(law, "coordinates", None)
    return None if own is None else [own]
