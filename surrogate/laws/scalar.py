"""Laws of one parameter that are uniform or normal, of the parameter or of its logarithm."""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws.law import FAR, Array, Law
from gnvpro.surrogate.laws.transport import Coordinates


class ScalarLaw(Law):
    """A law of one parameter with `coordinates` in which it is flat or normal."""

    @cached_property
    def coordinates(self) -> Coordinates:
        """In which it is flat, or normal."""
        return self._coordinates()

    @abstractmethod
    def _coordinates(self) -> Coordinates: ...

    @property
    def support(self) -> tuple[Array, Array]:
        """See `Law`."""
        x = self.coordinates
        return (np.exp(x.lower), np.exp(x.upper)) if self.logarithmic else (x.lower, x.upper)

    def from_normal(self, z: Array) -> Array:
        """See `Law`."""
        return self._parameters(self.coordinates.of_normal(z)[0])

    def from_uniform(self, u: Array) -> Array:
        """See `Law`."""
        return self._parameters(self.coordinates.of_uniform(u))

    def to_normal(self, y: Array) -> Array:
        """See `Law`."""
        return self.coordinates.to_normal(_log(y) if self.logarithmic else y)

    def pull_back(self, z: Array, gradient: Array) -> Array:
        """See `Law`."""
        x, slopes = self.coordinates.of_normal(z)
        return gradient * slopes * (np.exp(x) if self.logarithmic else 1.0)

    def density(self, at: Array) -> Array:
        """See `Law`."""
        c = self.coordinates
        x = _log(at) if self.logarithmic else np.asarray(at, float)
        inside = (x >= c.lower) & (x <= c.upper)
        if c.normal[0]:
            mean, deviation, _, _, between = (float(part[0]) for part in c.cut)
            values = np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (math.sqrt(2 * math.pi) * deviation * between)
        else:
            values = np.full(x.shape, 1 / float(c.upper[0] - c.lower[0]))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(inside, values / at if self.logarithmic else values, 0.0)

    def _parameters(self, x: Array) -> Array:
        return np.clip(np.exp(x), *self.support) if self.logarithmic else x


def _log(y: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.asarray(y, float))


def _finite(law: object, **numbers: float) -> None:
    for name, number in numbers.items():
        real = isinstance(number, Real) and not isinstance(number, bool)
        if not real or not math.isfinite(_as_float(number)):
            raise UsageError(f"{type(law).__name__}: expected {name.replace('_', ' ')} a finite number, got {number!r}")
        object.__setattr__(law, name, int(number) if isinstance(number, Integral) else float(number))


def _as_float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _positive(law: object, **numbers: float) -> None:
    _finite(law, **numbers)
    for name in numbers:
        if (number := getattr(law, name)) <= 0:
            raise UsageError(f"{type(law).__name__}: expected a positive {name.replace('_', ' ')}, got {number!r}")


def _ordered(law: object, lower: float, upper: float) -> None:
    if lower > upper:
        raise UsageError(f"{type(law).__name__}: lower bound {lower:g} exceeds upper bound {upper:g}")


@dataclass(frozen=True)
class Uniform(ScalarLaw):
    """Every value between the bounds is as likely; where they meet, the parameter is fixed."""

    kind: ClassVar = "uniform"

    lower: float
    upper: float

    def __post_init__(self) -> None:
        _finite(self, lower=self.lower, upper=self.upper)
        _ordered(self, self.lower, self.upper)

    def _coordinates(self) -> Coordinates:
        return Coordinates.one(self.lower, self.upper, None, False)

    @property
    def standard_deviations(self) -> Array:
        """See `Law`."""
        return np.array([(self.upper - self.lower) / np.sqrt(12)])


@dataclass(frozen=True)
class LogUniform(ScalarLaw):
    """The logarithm is uniform: every decade between the bounds is as likely."""

    kind: ClassVar = "log-uniform"
    logarithmic: ClassVar = True

    lower: float
    upper: float

    def __post_init__(self) -> None:
        _positive(self, lower=self.lower, upper=self.upper)
        _ordered(self, self.lower, self.upper)

    @property
    def support(self) -> tuple[Array, Array]:
        """See `Law`."""
        return np.array([float(self.lower)]), np.array([float(self.upper)])

    def _coordinates(self) -> Coordinates:
        return Coordinates.one(math.log(self.lower), math.log(self.upper), None, True)

    @property
    def standard_deviations(self) -> Array:
        """See `Law`."""
        return log_uniform_deviations(*self.support)


def log_uniform_deviations(lower: Array, upper: Array) -> Array:
    """Standard deviations of log-uniform laws between positive bounds.

    y = m exp(s) with s uniform in [-a, a]: E y = m sinh(a) / a, E y² = m² sinh(2a) / 2a.
    """
    a, middle = np.log(upper / lower) / 2, np.sqrt(lower * upper)
    wide = np.maximum(a, 1e-3)  # of a narrow interval the law is uniform to rounding
    by_logarithm = middle * np.sqrt(np.sinh(2 * wide) / (2 * wide) - (np.sinh(wide) / wide) ** 2)
    return np.where(a > 1e-3, by_logarithm, (upper - lower) / np.sqrt(12))


@dataclass(frozen=True)
class Normal(ScalarLaw):
    """Normal, without bounds."""

    kind: ClassVar = "normal"
    straight: ClassVar = True

    mean: float = 0.0
    standard_deviation: float = 1.0

    def __post_init__(self) -> None:
        _finite(self, mean=self.mean)
        _positive(self, standard_deviation=self.standard_deviation)

    def _coordinates(self) -> Coordinates:
        return Coordinates.one(-np.inf, np.inf, (self.mean, self.standard_deviation), False)

    @property
    def standard_deviations(self) -> Array:
        """See `Law`."""
        return np.array([float(self.standard_deviation)])


@dataclass(frozen=True)
class Lognormal(ScalarLaw):
    """The (natural) logarithm is normal."""

    kind: ClassVar = "lognormal"
    logarithmic: ClassVar = True
    straight: ClassVar = True
    open: ClassVar = True

    mean_of_log: float = 0.0
    standard_deviation_of_log: float = 1.0

    def __post_init__(self) -> None:
        _finite(self, mean_of_log=self.mean_of_log)
        _positive(self, standard_deviation_of_log=self.standard_deviation_of_log)
        if abs(self.mean_of_log) + FAR * self.standard_deviation_of_log > math.log(sys.float_info.max):
            raise UsageError(f"Lognormal: values of {self} exceed the numbers there are; give it smaller numbers")

    @property
    def support(self) -> tuple[Array, Array]:
        """See `Law`."""
        return np.zeros(1), np.full(1, np.inf)

    def _coordinates(self) -> Coordinates:
        return Coordinates.one(-np.inf, np.inf, (self.mean_of_log, self.standard_deviation_of_log), True)

    @property
    def standard_deviations(self) -> Array:
        """See `Law`."""
        square = self.standard_deviation_of_log**2
        return np.array([math.exp(self.mean_of_log + square / 2) * math.sqrt(math.expm1(square))])

    def contains(self, y: Array) -> NDArray[np.bool_]:
        """See `Law`."""
        return ((y > 0) & np.isfinite(y)).all(axis=1)

    @property
    def usual_changes(self) -> Array:
        """See `Law`: of the median, since the standard deviation of a wide law is that of its largest values."""
        return np.array([math.exp(self.mean_of_log) * min(self.standard_deviation_of_log, 1.0)])


@dataclass(frozen=True)
class TruncatedNormal(ScalarLaw):
    """Normal, cut off at bounds; the numbers are those of the law before it is cut off. A bound may be infinite."""

    kind: ClassVar = "truncated-normal"

    mean: float
    standard_deviation: float
    lower: float = field(default=-math.inf)
    upper: float = field(default=math.inf)

    def __post_init__(self) -> None:
        _finite(self, mean=self.mean)
        _positive(self, standard_deviation=self.standard_deviation)
        _ordered(self, self.lower, self.upper)
        if not self.coordinates.possible[0] or self.lower == self.upper:
            raise UsageError("TruncatedNormal: the law has no mass between its bounds; widen it, or move its mean")

    def _coordinates(self) -> Coordinates:
        return Coordinates.one(self.lower, self.upper, (self.mean, self.standard_deviation), False)

    @property
    def standard_deviations(self) -> Array:
        """See `Law`."""
        from scipy.stats import truncnorm  # takes a second to import

        low, high = ((bound - self.mean) / self.standard_deviation for bound in (self.lower, self.upper))
        return np.array([truncnorm.std(low, high, scale=self.standard_deviation)])

    @property
    def usual_changes(self) -> Array:
        """See `Law`: the standard deviation before the law is cut off."""
        return np.array([float(self.standard_deviation)])
