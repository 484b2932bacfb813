"""Normal noise of observations: given as relative and absolute parts, as standard deviations, or as a covariance."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from gnvpro.pde_data.storage.files import listed, load_arrays, numbers, read_table
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

_PART = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(%?)")
# A plus sign that is not of an exponent.
_PLUS = re.compile(r"(?<![0-9.][eE])\+")
EXPECTED = "expected noise such as 2%, 0.001, 2%+0.001 (relative and absolute, added) or a .npy or .csv file"


@dataclass(frozen=True)
class Noise:
    """Normal noise of m observations, of mean zero.

    Attributes
    ----------
    factor : (m,) or (m, m)
        Standard deviations of independent noise, or the lower Cholesky factor of its covariance.
    """

    factor: Array

    def __post_init__(self) -> None:
        diagonal = self.factor if self.factor.ndim == 1 else np.diagonal(self.factor)
        if not (np.isfinite(self.factor).all() and (diagonal > 0).all()):
            i = int(np.argmin(np.isfinite(diagonal) & (diagonal > 0)))
            raise UsageError(
                f"expected positive standard deviations of the noise, got {diagonal[i]:g} for observation {i}; an "
                "observation near zero has no relative noise of use: add an absolute part, such as 2%+0.001"
            )

    @property
    def size(self) -> int:
        """Number of observations."""
        return len(self.factor)

    @property
    def correlated(self) -> bool:
        """Whether it has a covariance."""
        return self.factor.ndim == 2

    @cached_property
    def standard_deviations(self) -> Array:
        """Of every observation (m,)."""
        return self.factor if self.factor.ndim == 1 else np.linalg.norm(self.factor, axis=1)

    def whiten(self, residuals: Array) -> Array:
        """Residuals (n, m) in units of the noise: independent, of variance one, if they are noise."""
        if self.factor.ndim == 1:
            return residuals / self.factor
        return solve_triangular(self.factor, residuals.T, lower=True, check_finite=False).T  # a failed solve is NaN

    def whiten_transposed(self, weights: Array) -> Array:
        """The transpose of `whiten`, (n, m) -> (n, m): takes a gradient by whitened residuals back."""
        if self.factor.ndim == 1:
            return weights / self.factor
        return solve_triangular(self.factor, weights.T, lower=True, trans=1, check_finite=False).T

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Realisations (n, m)."""
        normal = rng.standard_normal((n, self.size))
        return normal * self.factor if self.factor.ndim == 1 else normal @ self.factor.T

    def of(self, measured: np.ndarray) -> Noise:
        """The noise of some of the observations: a mask or indices (m,)."""
        if self.factor.ndim == 1:
            return Noise(self.factor[measured])
        covariance = self.factor @ self.factor.T
        return Noise(cholesky(covariance[np.ix_(measured, measured)], lower=True))


def noise_of(noise: object, values: Array, standard_deviations: Array | None = None) -> Noise:
    """The noise of observations, as a user gives it.

    Parameters
    ----------
    noise
        `2%` of each value's size; `0.001` in the unit of the observations; `2%+0.001`, standard deviations added as is
        usual for field data; `data`: the standard deviations that came with the observations; a file, .npy or .csv; a
        number; or an array: standard deviations (m,) or a covariance (m, m).
    values : (m,)
        The observations; NaN where there is none.
    standard_deviations : (m,)
        That came with the observations.

    Raises
    ------
    UsageError
        Anything else, or noise that is not positive where there is an observation.
    FileNotFoundError
        No such file.
    """
    if isinstance(noise, Noise):
        return noise
    if isinstance(noise, str) and noise.strip() == "data":
        if standard_deviations is None:
            raise UsageError(f"the observations came without standard deviations; {EXPECTED}")
        return _checked(standard_deviations, values)
    if isinstance(noise, str | Path) and Path(noise).suffix in (".npy", ".csv"):
        return _checked(_read(Path(noise)), values)
    if isinstance(noise, str):
        relative, absolute = _parts(noise)
        return _checked(relative * np.abs(values) + absolute, values)
    try:
        array = np.asarray(noise, float)
    except (TypeError, ValueError):
        raise UsageError(f"{EXPECTED}, a number or an array; got {noise!r}") from None
    return _checked(np.full(len(values), array) if array.ndim == 0 else array, values)


def _parts(text: str) -> tuple[float, float]:
    """Relative and absolute standard deviation of a text such as `2%+0.001`."""
    relative = absolute = 0.0
    for part in _PLUS.split(text):
        match = _PART.fullmatch(part.strip())
        if match is None or not 0 < float(match[1]) < np.inf:
            raise UsageError(f"{EXPECTED}; got {text!r}")
        if match[2]:
            relative += float(match[1]) / 100
        else:
            absolute += float(match[1])
    return relative, absolute


def _checked(spread: Array, values: Array) -> Noise:
    m = len(values)
    if spread.shape not in ((m,), (m, m)):
        raise UsageError(
            f"expected noise of {m} observations: ({m},) standard deviations or a ({m}, {m}) covariance; got {spread.shape}"
        )
    measured = np.isfinite(values)
    if spread.ndim == 1:
        return Noise(np.where(measured, spread, 1.0))
    spread = np.where(np.outer(measured, measured), spread, np.eye(m))
    if not np.isfinite(spread).all():
        raise UsageError("the covariance of the noise is not finite where there are observations")
    size = np.sqrt(np.abs(np.diagonal(spread)))
    if not (np.abs(spread - spread.T) <= 1e-10 * np.outer(size, size)).all():
        raise UsageError("the covariance of the noise is not symmetric")
    try:
        return Noise(cholesky(spread, lower=True))
    except np.linalg.LinAlgError:
        raise UsageError("the covariance of the noise is not positive definite") from None


def _read(path: Path) -> Array:
    if not path.exists():
        raise FileNotFoundError(f"no noise at {path}; check the name")
    if path.suffix == ".npy":
        return np.atleast_1d(numbers(path, "the noise", load_arrays(path)[""]))
    table = read_table(path)
    if len(table.header) > 1:
        raise UsageError(
            f"{path}: expected numbers alone, standard deviations or a covariance, got {listed(table.header)}"
        )
    values = table.numbers()
    return values.ravel() if 1 in values.shape else values
