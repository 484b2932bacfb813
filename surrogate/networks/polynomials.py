"""Polynomial features of few parameters: an anisotropic Chebyshev basis of total degree, and an amplitude of it.

A term is the product over parameters of T_k(x_j), x_j a power of parameter j mapped to [-1, 1] (a volume may call for
its root, a distance for its inverse); the terms kept are those of weighted degree sum_j weight_j k_j <= degree. They
do not depend on theta: variable projection solves for their coefficients exactly, and projects them out of the
network's features by a factorisation made once (`gnvpro.surrogate.elimination.least_squares`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnvpro.surrogate.errors import UsageError

# Far above any basis that samples can determine; a file that asks for more is not believed.
MAX_TERMS, MAX_PARAMETERS = 20_000, 100
# Weighted degrees are sums of products: equal ones may differ in rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class PolynomialBasis:
    """Chebyshev terms of weighted degree in (0, degree]; the constant is left to the bias.

    Terms stand in the order of their weighted degree, so a smaller degree is a prefix of a larger one.

    Attributes
    ----------
    lower, upper
        Per parameter, what is mapped to -1 and 1. Beyond them the terms grow like powers.
    weights
        Per parameter, positive: a larger weight allows fewer degrees of it.
    powers
        Per parameter, not zero: the terms are polynomials of y^power. Another power than one asks for positive bounds,
        and gives NaN at negative parameters.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    weights: tuple[float, ...]
    degree: float
    powers: tuple[float, ...]

    def __post_init__(self) -> None:
        sizes = [len(part) for part in (self.lower, self.upper, self.weights, self.powers)]
        if sizes[0] > MAX_PARAMETERS:
            raise UsageError(f"expected a polynomial basis of at most {MAX_PARAMETERS} parameters, got {sizes[0]}")
        if not sizes[0] or len(set(sizes)) > 1:
            raise UsageError(f"expected as many lower and upper bounds, weights and powers as parameters, got {sizes}")
        if not all(math.isfinite(b - a) and b > a for a, b in zip(self.lower, self.upper, strict=True)):
            raise UsageError(f"expected finite lower bounds below the upper ones, got {self.lower} and {self.upper}")
        if not all(0 < weight < math.inf for weight in self.weights) or not 0 <= self.degree < math.inf:
            raise UsageError(f"expected positive weights and a degree >= 0, got {self.weights} and {self.degree}")
        for low, power in zip(self.lower, self.powers, strict=True):
            if not math.isfinite(power) or power == 0 or (power != 1 and low <= 0):
                raise UsageError(f"expected a power that is not zero, and one where the bound {low} <= 0; got {power}")
        _ = self.exponents

    @cached_property
    def exponents(self) -> NDArray[np.int64]:
        """Degree of every term in every parameter, (n_terms, n_parameters)."""
        return _exponents(self.weights, self.degree)

    @property
    def n_terms(self) -> int:
        """Number of terms, the constant not counted."""
        return len(self.exponents)

    def bind(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64
    ) -> Callable[[Tensor], Tensor]:
        """The map parameters (n, n_parameters) -> terms (n, n_terms) in float64, its constants on the device.

        Differentiable by autograd and by `torch.func`, also at and beyond the bounds.
        """
        lower, upper, powers = (
            torch.tensor(part, dtype=torch.float64, device=device) for part in (self.lower, self.upper, self.powers)
        )
        lower, upper, plain = lower**powers, upper**powers, all(power == 1 for power in self.powers)
        scale = 2 / (upper - lower)
        offset = (-1 - lower * scale).to(dtype)
        scale, powers = scale.to(dtype), powers.to(dtype)
        n, exponents = len(self.weights), self.exponents
        highest = int(exponents.max(initial=0))
        # A parameter without a degree anywhere needs no factor.
        places = [
            torch.as_tensor(exponents[:, j] * n + j, device=device)
            for j in range(n)
            if exponents[:, j].any() or (j == 0 and not exponents.any())
        ]

        def terms(y: Tensor) -> Tensor:
            x = torch.addcmul(offset, y if plain else torch.pow(y, powers), scale)
            table = chebyshev(x, highest).flatten(1)
            product = table.index_select(1, places[0])
            for place in places[1:]:
                product = product * table.index_select(1, place)
            return product

        return terms

    def __call__(self, y: Tensor) -> Tensor:
        """Terms at parameters: (n, n_parameters) -> (n, n_terms)."""
        return self.bind(y.device)(y)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, read back by `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> PolynomialBasis:
        """Inverse of `to_dict`, also after a round trip through JSON.

        Raises
        ------
        UsageError
            Bounds, weights, a degree or powers that make no basis.
        """
        parts = {name: tuple(map(float, description[name])) for name in ("lower", "upper", "weights", "powers")}
        return cls(degree=float(description["degree"]), **parts)


@lru_cache(maxsize=4096)
def _exponents(weights: tuple[float, ...], degree: float) -> NDArray[np.int64]:
    """Kept between bases: a search makes thousands that differ in their bounds only."""
    terms: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    for weight in weights:
        degrees = [1 + int(min((degree - spent + _ROUNDING) / weight, MAX_TERMS)) for _, spent in terms]
        # Counted before any is made: two parameters of degree 20,000 have 200 million.
        if sum(degrees) > MAX_TERMS:
            raise UsageError(f"a polynomial basis of degree {degree:g} has more than {MAX_TERMS} terms")
        terms = [
            ((*row, k), spent + k * weight) for (row, spent), n in zip(terms, degrees, strict=True) for k in range(n)
        ]
    terms.sort(key=lambda term: (round(term[1], 6), term[0]))
    rows = np.array([row for row, _ in terms[1:]], dtype=np.int64).reshape(-1, len(weights))
    rows.flags.writeable = False
    return rows


def chebyshev(x: Tensor, degree: int) -> Tensor:
    """Chebyshev polynomials T_0, T_1, … at x: (n, d) -> (n, at least degree + 1, d).

    By T_{m+j} = 2 T_m T_j - T_{m-j}, which doubles the degree at every step: for one point the number of calls is
    the cost. cos(k arccos x) would have no derivative at the bounds and no value beyond.
    """
    table = torch.stack([torch.ones_like(x), x], 1)
    while table.shape[1] <= degree:
        doubled = (2 * table[:, -1:]) * table[:, 1:] - table[:, :-1].flip(1)
        table = torch.cat([table, doubled], 1)
    return table


@dataclass(frozen=True)
class Amplitude:
    """A positive function of the parameters that the observables' size follows: exp(polynomial).

    Attributes
    ----------
    coefficients : (n_terms + 1,)
        Of the constant, then of the terms of the basis.
    """

    basis: PolynomialBasis
    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.coefficients) != self.basis.n_terms + 1 or not all(map(math.isfinite, self.coefficients)):
            raise UsageError(
                f"expected {self.basis.n_terms + 1} finite coefficients of the amplitude, got {len(self.coefficients)}"
            )

    def bind(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64
    ) -> Callable[[Tensor], Tensor]:
        """The map parameters (n, n_parameters) -> amplitudes (n, 1), differentiable like the basis."""
        terms, values = self.basis.bind(device, dtype), torch.tensor(self.coefficients, dtype=dtype, device=device)
        constant, slopes = values[:1], values[1:].unsqueeze(1)
        return lambda y: torch.exp(torch.addmm(constant, terms(y), slopes))

    def __call__(self, y: Tensor) -> Tensor:
        """Amplitudes at parameters: (n, n_parameters) -> (n, 1)."""
        return self.bind(y.device)(y)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, read back by `from_dict`."""
        return {"basis": self.basis.to_dict(), "coefficients": list(self.coefficients)}

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> Amplitude:
        """Inverse of `to_dict`; ValueError where the parts do not fit."""
        return cls(PolynomialBasis.from_dict(description["basis"]), tuple(map(float, description["coefficients"])))
