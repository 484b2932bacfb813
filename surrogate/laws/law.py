"""What a law of parameters is: a map from independent standard normal variables, one behind every parameter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Array = NDArray[np.float64]

# Normal variables beyond this are on the bound in double precision.
FAR = 8.0
# Of a uniform draw, which may be zero: half the distance between two of them.
LEAST = 2.0**-54


class Law(ABC):
    """A law of one parameter, or of several together; a frozen dataclass of plain numbers.

    Arrays have a row for every point and a column for every parameter of the law.

    Attributes
    ----------
    kind
        What it is called in files.
    logarithmic
        Whether a surrogate does better with the logarithm of the parameter.
    discrete
        Whether it has single values, between which there is nothing.
    straight
        Whether it, or its logarithm, is linear in normal variables: its orthogonal polynomials are then Hermite's.
    open
        Whether a finite bound is no possible value.
    """

    kind: ClassVar[str]
    logarithmic: ClassVar[bool] = False
    discrete: ClassVar[bool] = False
    straight: ClassVar[bool] = False
    open: ClassVar[bool] = False

    @property
    def size(self) -> int:
        """Number of parameters."""
        return 1

    @property
    @abstractmethod
    def support(self) -> tuple[Array, Array]:
        """Lower and upper bounds (size,), infinite where there are none."""

    @property
    @abstractmethod
    def standard_deviations(self) -> Array:
        """(size,); 0 of what has one value."""

    @property
    def usual_changes(self) -> Array:
        """How large changes (size,) are that a model is to be differentiated by: standard deviations, or less."""
        return self.standard_deviations

    @abstractmethod
    def from_normal(self, z: Array) -> Array:
        """Parameters (n, size) of normal variables (n, size)."""

    @abstractmethod
    def to_normal(self, y: Array) -> Array:
        """Normal variables behind parameters, one of those where there are several; within `FAR`."""

    @abstractmethod
    def pull_back(self, z: Array, gradient: Array) -> Array:
        """Gradient by the normal variables of a function from its gradient by the parameters, both (n, size)."""

    @abstractmethod
    def density(self, at: Array) -> Array:
        """Of one parameter, at values (n,); of discrete laws the probability. Several parameters together have none."""

    def from_uniform(self, u: Array) -> Array:
        """Parameters of uniform variables (n, size) in [0, 1)."""
        return self.from_normal(ndtri(np.maximum(u, LEAST)))

    def contains(self, y: Array) -> NDArray[np.bool_]:
        """Which points (n,) are possible."""
        lower, upper = self.support
        return ((y >= lower) & (y <= upper)).all(axis=1)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `gnvpro.surrogate.laws.law_of` makes the law again."""
        return {"law": self.kind} | asdict(self)  # pyright: ignore[reportArgumentType]

    def in_words(self) -> str:
        """Its kind and its numbers."""
        numbers = ", ".join(
            f"{name.replace('_', ' ')} {value}" for name, value in self.to_dict().items() if name != "law"
        )
        return f"{self.kind} ({numbers})"


def normal_of_tails(below: Array, above: Array) -> Array:
    """Normal variables by the probabilities below and above a value: the smaller one is accurate."""
    least = np.clip(np.minimum(below, above), 1e-300, 0.5)
    return np.where(below < above, 1, -1) * ndtri(least)


def normal_density(z: Array) -> Array:
    """Of the standard normal law."""
    return np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)


def tails(z: Array) -> tuple[Array, Array]:
    """Probabilities of the standard normal law below and above."""
    return ndtr(z), ndtr(-z)
