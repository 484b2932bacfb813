"""The noise of observations: normal, independent or with a covariance, or independent of Student's law."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.special import ndtri, stdtr
from scipy.stats import norm, t

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# Of Student's law: the variance is finite above.
_FEWEST_DEGREES = 2.0


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise of m observations, of median zero.

    Attributes
    ----------
    factor
        Standard deviations (m,) of independent noise, or the lower Cholesky factor (m, m) of a covariance. Of Student's law
        scales (m,): what the standard deviations of observations without outliers about are.
    degrees_of_freedom
        Above two, of Student's law; infinite where the noise is normal.
    notes
        What was made of the noise that was stated, in sentences for people.
    """

    factor: Array
    degrees_of_freedom: float = np.inf
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        diagonal = self.factor if self.factor.ndim == 1 else np.diagonal(self.factor)
        if not (np.isfinite(self.factor).all() and (diagonal > 0).all()):
            i = int(np.argmin(np.isfinite(diagonal) & (diagonal > 0)))
            raise UsageError(
                f"expected positive standard deviations of the noise, got {diagonal[i]:g} for observation {i}; an "
                "observation near zero has no relative noise of use: to such noise add an absolute part, such as 2%+0.001"
            )
        if not self.degrees_of_freedom > _FEWEST_DEGREES:
            raise UsageError(
                f"expected more than two degrees of freedom of Student's law, such as student-t(4): 2%, got "
                f"{self.degrees_of_freedom:g}; with two or fewer its variance is infinite"
            )
        if self.heavy_tailed and self.correlated:
            raise UsageError(
                "expected standard deviations beside Student's law, got a covariance: it is of independent observations, "
                "each of which may be an outlier; leave the covariance or student-t out"
            )

    @property
    def size(self) -> int:
        """Number of observations."""
        return len(self.factor)

    @property
    def correlated(self) -> bool:
        """Whether it has a covariance."""
        return self.factor.ndim == 2

    @property
    def heavy_tailed(self) -> bool:
        """Whether it is of Student's law."""
        return bool(np.isfinite(self.degrees_of_freedom))

    @property
    def law(self) -> str:
        """In words."""
        if self.heavy_tailed:
            return f"Student's t with {self.degrees_of_freedom:g} degrees of freedom"
        return "normal, correlated" if self.correlated else "normal"

    @cached_property
    def scales(self) -> Array:
        """Size of the noise of every observation (m,): its standard deviation, or its scale of Student's law."""
        return self.factor if self.factor.ndim == 1 else np.linalg.norm(self.factor, axis=1)

    @property
    def standard_deviations(self) -> Array:
        """Of every observation (m,); of Student's law they are larger than its scales."""
        nu = self.degrees_of_freedom
        return self.scales * np.sqrt(nu / (nu - 2)) if self.heavy_tailed else self.scales

    def whiten(self, residuals: Array) -> Array:
        """Residuals (n, m) in units of the noise: independent and, of normal noise, of variance one, if they are noise."""
        return self._solved(residuals, transposed=False)

    def whiten_transposed(self, weights: Array) -> Array:
        """The transpose of `whiten`, (n, m) -> (n, m): takes a gradient by whitened residuals back."""
        return self._solved(weights, transposed=True)

    def _solved(self, rows: Array, transposed: bool) -> Array:
        if self.factor.ndim == 1:
            return rows / self.factor
        # A row of a failed solve is NaN.
        return solve_triangular(self.factor, rows.T, lower=True, trans=int(transposed), check_finite=False).T

    def robust(self, whitened: Array) -> Array:
        """Residuals half of whose square is minus their log density, up to a constant: the same ones of normal noise.

        Student's -log p(r) = (nu + 1)/2 log(1 + r²/nu): outliers shrink to the root of a logarithm.
        """
        return whitened * self._shrinkage(whitened) if self.heavy_tailed else whitened

    def robust_slopes(self, whitened: Array) -> Array:
        """Derivative of `robust` by each residual."""
        if not self.heavy_tailed:
            return np.ones_like(whitened)
        nu = self.degrees_of_freedom
        return (nu + 1) / (nu + whitened**2) / self._shrinkage(whitened)

    def curvatures(self, whitened: Array) -> Array:
        """Second derivative of minus the log density by each residual; 0 of outliers, where Student's is negative."""
        if not self.heavy_tailed:
            return np.ones_like(whitened)
        nu, squared = self.degrees_of_freedom, whitened**2
        return np.maximum((nu + 1) * (nu - squared) / (nu + squared) ** 2, 0.0)

    def _shrinkage(self, whitened: Array) -> Array:
        """What `robust` multiplies a residual by."""
        nu = self.degrees_of_freedom
        ratio = whitened**2 / nu
        safe = np.where(ratio == 0, 1.0, ratio)
        return np.sqrt((nu + 1) / nu * np.where(ratio == 0, 1.0, np.log1p(safe) / safe))

    def normal_scores(self, whitened: Array) -> Array:
        """Residuals in units of the noise as standard normal ones of the same tail probabilities."""
        if not self.heavy_tailed:
            return whitened
        return -np.sign(whitened) * ndtri(stdtr(self.degrees_of_freedom, -np.abs(whitened)))

    def log_densities(self, residuals: Array) -> Array:
        """Log density of every observation (n, m) by its residual, constants included.

        Of correlated noise that of each given all others (Bürkner, Gabry and Vehtari 2021), which is what leaving one
        out means there.
        """
        if self.factor.ndim == 2:
            inverse = solve_triangular(self.factor, np.eye(self.size), lower=True)
            precision = inverse.T @ inverse
            conditional = 1 / np.sqrt(np.diagonal(precision))
            return norm.logpdf((residuals @ precision) * conditional) - np.log(conditional)
        whitened = self.whiten(residuals)
        densities = t.logpdf(whitened, self.degrees_of_freedom) if self.heavy_tailed else norm.logpdf(whitened)
        return densities - np.log(self.factor)

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Realisations (n, m)."""
        if self.heavy_tailed:
            return rng.standard_t(self.degrees_of_freedom, (n, self.size)) * self.factor
        normal = rng.standard_normal((n, self.size))
        return normal * self.factor if self.factor.ndim == 1 else normal @ self.factor.T

    def of(self, chosen: np.ndarray) -> Noise:
        """The noise of some of the observations: a mask (m,) or indices."""
        if self.factor.ndim == 1:
            return replace(self, factor=self.factor[chosen])
        covariance = self.factor @ self.factor.T
        return replace(self, factor=cholesky(covariance[np.ix_(chosen, chosen)], lower=True))
