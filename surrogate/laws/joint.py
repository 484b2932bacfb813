"""Laws of several parameters together: joint normal, and positive parts divided by their sum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import gammaincc, gammainccinv, gammaincinv, gammaln, log_ndtr, ndtr, ndtri

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws.law import FAR, Array, Law, normal_density, normal_of_tails

# As far as points on the simplex may be from a sum of one.
SIMPLEX_TOLERANCE = 1e-5


@dataclass(frozen=True)
class JointNormal(Law):
    """Normal, with a covariance matrix that is positive definite."""

    kind: ClassVar = "joint-normal"
    straight: ClassVar = True

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        try:
            mean, covariance = np.asarray(self.mean, float), np.asarray(self.covariance, float)
        except (TypeError, ValueError) as error:
            raise UsageError(f"JointNormal: expected a vector and a matrix of numbers ({error})") from None
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)) or not len(mean):
            raise UsageError(
                f"JointNormal: expected a mean (d,) and a covariance (d, d), got {mean.shape} and {covariance.shape}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise UsageError("JointNormal: expected finite numbers as mean and covariance")
        size = np.sqrt(np.abs(np.diag(covariance)))
        if not np.allclose(covariance, covariance.T, rtol=0, atol=1e-9 * float(np.outer(size, size).max(initial=0))):
            raise UsageError("JointNormal: expected a symmetric covariance")
        object.__setattr__(self, "mean", tuple(mean.tolist()))
        object.__setattr__(self, "covariance", tuple(map(tuple, covariance.tolist())))
        try:
            np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            raise UsageError(
                "JointNormal: expected a positive definite covariance; leave out parameters that others determine"
            ) from None

    @property
    def size(self) -> int:
        """See `Law`."""
        return len(self.mean)

    @property
    def support(self) -> tuple[Array, Array]:
        """See `Law`."""
        return np.full(self.size, -np.inf), np.full(self.size, np.inf)

    @property
    def standard_deviations(self) -> Array:
        """See `Law`."""
        return np.sqrt(np.diag(np.array(self.covariance)))

    @cached_property
    def factor(self) -> Array:
        """Lower triangular L (d, d) with L L' the covariance: parameters are mean + L z."""
        return np.linalg.cholesky(np.array(self.covariance))

    def from_normal(self, z: Array) -> Array:
        """See `Law`."""
        # Row by row as every other law: a product by BLAS has other bits beside other rows.
        return np.array(self.mean) + np.einsum("ij,nj->ni", self.factor, z)

    def to_normal(self, y: Array) -> Array:
        """See `Law`."""
        return np.clip(solve_triangular(self.factor, (y - np.array(self.mean)).T, lower=True).T, -FAR, FAR)

    def pull_back(self, z: Array, gradient: Array) -> Array:
        """See `Law`."""
        return np.einsum("ij,ni->nj", self.factor, gradient)

    def density(self, at: Array) -> Array:
        """See `Law`."""
        raise NotImplementedError("parameters that have a law together")

    def contains(self, y: Array) -> NDArray[np.bool_]:
        """See `Law`."""
        return np.isfinite(y).all(axis=1)


class Parts(Law):
    """Independent positive parts of one kind each, divided by their sum: points on the simplex."""

    @property
    def support(self) -> tuple[Array, Array]:
        """See `Law`."""
        return np.zeros(self.size), np.ones(self.size)

    def parts(self, z: Array) -> tuple[Array, Array]:
        """Positive parts (n, size) of normal variables, and their derivatives by these."""
        raise NotImplementedError

    def normal_of_parts(self, y: Array) -> Array:
        """Normal variables of parts whose sum is a likely one."""
        raise NotImplementedError

    def from_normal(self, z: Array) -> Array:
        """See `Law`."""
        parts, _ = self.parts(z)
        return parts / parts.sum(axis=1, keepdims=True)

    def to_normal(self, y: Array) -> Array:
        """See `Law`."""
        return np.clip(self.normal_of_parts(y), -FAR, FAR)

    def pull_back(self, z: Array, gradient: Array) -> Array:
        """See `Law`."""
        parts, slopes = self.parts(z)
        total = parts.sum(axis=1, keepdims=True)
        along = (gradient * parts).sum(axis=1, keepdims=True) / total
        return slopes * (gradient - along) / total

    def density(self, at: Array) -> Array:
        """See `Law`."""
        raise NotImplementedError("parameters that have a law together")

    def contains(self, y: Array) -> NDArray[np.bool_]:
        """See `Law`."""
        return super().contains(y) & (np.abs(y.sum(axis=1) - 1) <= SIMPLEX_TOLERANCE)


@dataclass(frozen=True)
class NormalisedUniform(Parts):
    """Independent uniforms divided by their sum, as in the original CDR study; not uniform on the simplex."""

    kind: ClassVar = "normalised-uniform"

    n: int

    def __post_init__(self) -> None:
        if type(self.n) is not int or self.n < 1:
            raise UsageError(f"expected a whole number of parameters of at least 1, got {self.n!r}")

    @property
    def size(self) -> int:
        """See `Law`."""
        return self.n

    @property
    def standard_deviations(self) -> Array:
        """See `Law`."""
        return np.full(self.n, _normalised_deviation(self.n))

    def parts(self, z: Array) -> tuple[Array, Array]:
        """See `Parts`."""
        return ndtr(z), normal_density(z)

    def normal_of_parts(self, y: Array) -> Array:
        """See `Parts`: the most likely total that makes none exceed one."""
        total = np.minimum(self.n / 2, 0.98 / y.max(axis=1, keepdims=True))
        return ndtri(y * total)


@dataclass(frozen=True)
class Dirichlet(Parts):
    """Independent gamma variables of unit scale divided by their sum; concentrations of one are uniform on the simplex."""

    kind: ClassVar = "dirichlet"

    concentration: tuple[float, ...]

    def __post_init__(self) -> None:
        shapes = np.asarray(self.concentration, dtype=object).ravel()
        if len(shapes) < 2 or any(isinstance(a, bool) or not isinstance(a, int | float) for a in shapes):
            raise UsageError(f"Dirichlet: expected two concentrations or more, got {self.concentration!r}")
        numbers = shapes.astype(float)
        if not (np.isfinite(numbers) & (numbers >= _LEAST_SHAPE)).all():
            raise UsageError(
                f"Dirichlet: expected concentrations of at least {_LEAST_SHAPE}, got {self.concentration!r}"
            )
        object.__setattr__(self, "concentration", tuple(numbers.tolist()))

    @property
    def size(self) -> int:
        """See `Law`."""
        return len(self.concentration)

    @property
    def standard_deviations(self) -> Array:
        """See `Law`."""
        share = np.array(self.concentration) / sum(self.concentration)
        return np.sqrt(share * (1 - share) / (sum(self.concentration) + 1))

    def parts(self, z: Array) -> tuple[Array, Array]:
        """See `Parts`."""
        shapes = np.array(self.concentration)
        if (shapes == 1).all():  # exponential variables
            survival = log_ndtr(-z)
            return -survival, np.exp(-0.5 * z**2 - survival) / np.sqrt(2 * np.pi)
        z = np.clip(z, -37.0, 37.0)
        parts = np.where(z < 0, gammaincinv(shapes, ndtr(z)), gammainccinv(shapes, ndtr(-z)))
        parts = np.maximum(parts, 1e-280)
        log_density = (shapes - 1) * np.log(parts) - parts - gammaln(shapes)
        return parts, np.exp(-0.5 * z**2 - log_density) / np.sqrt(2 * np.pi)

    def normal_of_parts(self, y: Array) -> Array:
        """See `Parts`: those whose sum is its mean."""
        shapes = np.array(self.concentration)
        if (shapes == 1).all():
            return ndtri(-np.expm1(-y * self.size))
        above = gammaincc(shapes, y * shapes.sum())
        return normal_of_tails(1 - above, above)


# Smaller ones put nearly all mass where a share is 0 in double precision.
_LEAST_SHAPE = 0.05


def _normalised_deviation(size: int) -> float:
    """Standard deviation of u_1 / (u_1 + … + u_size), all uniform in [0, 1].

    With 1/s² = ∫ t exp(-ts) dt the mean square is ∫ t E[u² exp(-tu)] E[exp(-tu)]^(size - 1) dt.
    """
    if size == 1:
        return 0.0
    from scipy.integrate import quad
    from scipy.special import gammainc

    def integrand(t: float) -> float:
        return 2 * gammainc(3, t) / t**2 * (-np.expm1(-t) / t) ** (size - 1)

    mean_square = quad(integrand, 0, 1)[0] + quad(integrand, 1, np.inf)[0]
    return float(np.sqrt(mean_square - size**-2.0))
