"""Any distribution of scipy.stats as a law of one parameter."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws.law import FAR, Array, Law, normal_density, normal_of_tails, tails

# Its moments are sums over single values.
_MOST_VALUES = 100_000


@dataclass(frozen=True)
class OfScipy(Law):
    """`scipy.stats.NAME(*arguments, **keywords)`, continuous or of integers.

    A name out of a file is looked up among the distributions of scipy.stats, and nothing else.
    """

    kind: ClassVar = "scipy"

    name: str
    arguments: tuple[float, ...] = ()
    keywords: tuple[tuple[str, float], ...] = field(default=())

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "arguments", tuple(map(float, self.arguments)))
            pairs = self.keywords.items() if isinstance(self.keywords, dict) else self.keywords
            object.__setattr__(self, "keywords", tuple(sorted((str(k), float(v)) for k, v in pairs)))
        except (TypeError, ValueError) as error:
            raise UsageError(f"scipy.stats.{self.name}: expected numbers as arguments ({error})") from None
        with np.errstate(all="ignore"):
            low, high = self._frozen.support()
            if self.discrete and low < high - _MOST_VALUES and np.isfinite(high - low):
                raise UsageError(
                    f"scipy.stats.{self.name}: expected at most {_MOST_VALUES} single values, got {high - low:g}"
                )
            deviation, (low, high) = float(self._frozen.std()), self._frozen.support()
        if np.isnan([low, high, deviation]).any() or not deviation > 0 or np.isinf(deviation):
            raise UsageError(
                f"expected a law with a positive, finite standard deviation, got {self.in_words()}: {deviation:g}"
            )

    @classmethod
    def of(cls, frozen: Any) -> OfScipy:
        """A frozen distribution, such as `scipy.stats.gamma(2)`.

        Raises UsageError: something else, arguments that are arrays, or a distribution that scipy.stats does not have.
        """
        name, arguments = getattr(getattr(frozen, "dist", None), "name", None), getattr(frozen, "args", ())
        if not isinstance(name, str):
            raise UsageError(f"expected a law, such as Normal(0, 1) or scipy.stats.gamma(2), got {frozen!r}")
        from scipy import stats  # takes a second to import

        if type(getattr(stats, name, None)) is not type(frozen.dist):
            raise UsageError(f"scipy.stats has no distribution like this {name!r}: give one of scipy.stats itself")
        return cls(name, tuple(arguments), tuple(dict(frozen.kwds).items()))

    @cached_property
    def _frozen(self) -> Any:
        from scipy import stats  # takes a second to import

        distribution = getattr(stats, self.name, None)
        if not isinstance(distribution, stats.rv_continuous | stats.rv_discrete):
            raise UsageError(f"scipy.stats has no distribution {self.name!r}")
        try:
            return distribution(*self.arguments, **dict(self.keywords))
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"scipy.stats.{self.name} does not take {self.arguments} {dict(self.keywords)}: {error}"
            ) from None

    @property
    def discrete(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See `Law`."""
        return not hasattr(self._frozen.dist, "pdf")

    @property
    def support(self) -> tuple[Array, Array]:
        """See `Law`."""
        low, high = self._frozen.support()
        return np.array([float(low)]), np.array([float(high)])

    @property
    def standard_deviations(self) -> Array:
        """See `Law`."""
        return np.array([float(self._frozen.std())])

    def from_normal(self, z: Array) -> Array:
        """See `Law`."""
        below, above = tails(np.clip(z, -FAR, FAR))
        return np.clip(np.where(z < 0, self._frozen.ppf(below), self._frozen.isf(above)), *self.support)

    def to_normal(self, y: Array) -> Array:
        """See `Law`."""
        below, above = self._frozen.cdf(y), self._frozen.sf(y)
        if self.discrete:
            half = self._frozen.pmf(y) / 2
            below, above = below - half, above + half
        return np.clip(normal_of_tails(below, above), -FAR, FAR)

    def pull_back(self, z: Array, gradient: Array) -> Array:
        """See `Law`."""
        if self.discrete:
            return np.zeros_like(gradient)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            slopes = normal_density(z) / self._frozen.pdf(self.from_normal(z))
        return gradient * np.where(np.isfinite(slopes) & (np.abs(z) < FAR), slopes, 0.0)

    def density(self, at: Array) -> Array:
        """See `Law`."""
        return self._frozen.pmf(at) if self.discrete else self._frozen.pdf(at)

    def contains(self, y: Array) -> NDArray[np.bool_]:
        """See `Law`."""
        inside = super().contains(y)
        return inside & (self._frozen.pmf(y) > 0).all(axis=1) if self.discrete else inside

    def to_dict(self) -> dict[str, Any]:
        """See `Law`."""
        return {"law": self.kind, "name": self.name, "arguments": list(self.arguments), "keywords": dict(self.keywords)}
