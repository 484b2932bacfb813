"""Laws of one parameter that has single values: integers, and choices among numbers."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws.law import Array, Law, normal_of_tails

# Shares of one that add up to one, as they are typed.
_SUM = 1e-6


class DiscreteLaw(Law):
    """Single `values` (k,) in ascending order with `shares` (k,) that sum to one."""

    discrete: ClassVar = True

    @cached_property
    def values_in_order(self) -> Array:
        """(k,)."""
        return self._table()[0]

    @cached_property
    def shares(self) -> Array:
        """Probabilities of these (k,)."""
        return self._table()[1]

    @abstractmethod
    def _table(self) -> tuple[Array, Array]:
        """Values in ascending order and their probabilities."""

    @property
    def support(self) -> tuple[Array, Array]:
        """See `Law`."""
        return self.values_in_order[:1], self.values_in_order[-1:]

    @property
    def standard_deviations(self) -> Array:
        """See `Law`."""
        mean = float(self.shares @ self.values_in_order)
        return np.array([math.sqrt(float(self.shares @ (self.values_in_order - mean) ** 2))])

    def from_uniform(self, u: Array) -> Array:
        """See `Law`."""
        return self.values_in_order[np.searchsorted(self._ends, u, side="right")]

    def from_normal(self, z: Array) -> Array:
        """See `Law`."""
        return self.from_uniform(np.minimum(ndtr(z), 1 - 2.0**-53))

    def to_normal(self, y: Array) -> Array:
        """See `Law`: the middle of those that give the value, which is the nearest there is."""
        values = self.values_in_order
        place = np.searchsorted((values[1:] + values[:-1]) / 2, y)
        below = np.concatenate([[0.0], self._ends])[place] + self.shares[place] / 2
        return normal_of_tails(below, 1 - below)

    def pull_back(self, z: Array, gradient: Array) -> Array:
        """See `Law`: zero, between values that are alone."""
        return np.zeros_like(gradient)

    def density(self, at: Array) -> Array:
        """See `Law`."""
        at = np.asarray(at, float)
        place = np.clip(np.searchsorted(self.values_in_order, at), 0, len(self.shares) - 1)
        return np.where(self.values_in_order[place] == at, self.shares[place], 0.0)

    def contains(self, y: Array) -> NDArray[np.bool_]:
        """See `Law`."""
        return np.isin(y, self.values_in_order).all(axis=1)

    @cached_property
    def _ends(self) -> Array:
        """Where the shares of all values but the last end in [0, 1]."""
        return np.cumsum(self.shares)[:-1]


@dataclass(frozen=True)
class Integers(DiscreteLaw):
    """Every integer from the lower to the upper bound, both included, is as likely."""

    kind: ClassVar = "integers"

    lower: int
    upper: int

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            bound = getattr(self, name)
            if isinstance(bound, bool) or not isinstance(bound, Integral) or abs(int(bound)) > _LARGEST:
                raise UsageError(f"Integers: expected whole numbers as bounds, got {bound!r}")
            object.__setattr__(self, name, int(bound))
        if not 0 <= self.upper - self.lower < _MOST_VALUES:
            raise UsageError(
                f"Integers: expected at most {_MOST_VALUES} values, the lower bound first, got {self.lower} to {self.upper}"
            )

    def _table(self) -> tuple[Array, Array]:
        values = np.arange(self.lower, self.upper + 1, dtype=np.float64)
        return values, np.full(len(values), 1 / len(values))


_MOST_VALUES = 1_000_000
# Whole numbers beyond are not all told apart in double precision.
_LARGEST = 2**53


@dataclass(frozen=True)
class Choices(DiscreteLaw):
    """One of several numbers, all as likely or with the probabilities given."""

    kind: ClassVar = "choices"

    values: tuple[float, ...]
    probabilities: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        given = np.asarray(self.values, dtype=object).ravel()
        if not len(given) or any(isinstance(v, bool) or not isinstance(v, Real) or not math.isfinite(v) for v in given):
            raise UsageError(f"Choices: expected finite numbers, got {self.values!r}; number what has names")
        if len(set(given)) < len(given):
            raise UsageError(f"Choices: expected numbers that differ, got {self.values!r}")
        object.__setattr__(self, "values", tuple(map(float, given)))
        if self.probabilities is not None:
            shares = np.asarray(self.probabilities, float)
            if shares.shape != given.shape or not (shares >= 0).all() or abs(shares.sum() - 1) > _SUM:
                raise UsageError(
                    f"Choices: expected {len(given)} probabilities that sum to one, got {self.probabilities!r}"
                )
            object.__setattr__(self, "probabilities", tuple(shares.tolist()))

    def _table(self) -> tuple[Array, Array]:
        values = np.array(self.values)
        shares = np.full(len(values), 1.0) if self.probabilities is None else np.array(self.probabilities)
        order = np.argsort(values)
        return values[order], shares[order] / shares.sum()
