"""The posterior of parameters given noisy observations, the law of the model's own error, and a normal approximation."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import least_squares

from gnvpro.apps.inversion.posterior.noise import Noise
from gnvpro.apps.inversion.posterior.observations import observations_of
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.inversion.posterior.stated_noise import noise_of
from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Array

# Fewer differences of two models than this say nothing of their spread.
LEAST = 4
# Directions of the error that are kept: those that matter beside noise of variance one.
_MOST_DIRECTIONS, _LEAST_SIZE = 32, 1e-3
# A parameter on its bound is infinitely far in its normal variable; the search for the mode begins this near.
_NEAR = 2.0
_MOST_EVALUATIONS = 50
# Residuals where the model cannot be solved, in those of the first point.
_REFUSED = 1e6


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Normal law of accurate less cheap observables in units of the noise, learned where both models were evaluated.

    The mean is a bias, the covariance widens the noise: the cheap posterior is then no narrower than it may be (Kaipio and
    Somersalo 2007; Cui, Fox and O'Sullivan 2011). `directions` (m, k) are orthonormal, `sizes` (k,) the standard deviations
    along them.
    """

    mean: Array
    directions: Array
    sizes: Array

    @classmethod
    def learned(cls, differences: Array) -> ErrorModel:
        """From whitened differences (n, m); of fewer than `LEAST`, the mean is used alone."""
        n, mean = len(differences), differences.mean(axis=0)
        if n < LEAST:
            return cls(mean, np.zeros((len(mean), 0)), np.zeros(0))
        _, values, rows = np.linalg.svd((differences - mean) / np.sqrt(n - 1), full_matrices=False)
        kept = (values > _LEAST_SIZE) & (np.arange(len(values)) < _MOST_DIRECTIONS)
        return cls(mean, rows[kept].T, values[kept])

    def whiten(self, residuals: Array) -> Array:
        """(I + covariance)^(-1/2) applied to residuals (n, m) in units of the noise; symmetric."""
        shrink = 1 - 1 / np.sqrt(1 + self.sizes**2)
        return residuals - ((residuals @ self.directions) * shrink) @ self.directions.T

    def size(self) -> float:
        """Root mean square, over the observations, of the bias and the spread together."""
        return float(np.sqrt(((self.mean**2).sum() + (self.sizes**2).sum()) / len(self.mean)))


@dataclass(frozen=True, eq=False)
class Posterior:
    """The law of the parameters given observations and their noise.

    Attributes
    ----------
    data : (m,)
        Observed values, NaN where there is none: one for every observable, in their order.
    noise
        Of all m; what it says where nothing was observed does not matter.
    error
        Law of the forward model's own error; without it the model counts as exact.
    which : (m,)
        The observable that each value is of, where they are not one for each: several of some, none of others.
    """

    solves: Solves
    data: Array
    noise: Noise
    prior: Prior
    error: ErrorModel | None = None
    which: NDArray[np.intp] | None = None

    def __post_init__(self) -> None:
        m = self.solves.observables.size if self.which is None else len(self.which)
        if self.data.shape != (m,) or self.noise.size != m:
            raise UsageError(f"expected {m} observations and their noise, got {self.data.shape} and {self.noise.size}")
        if not self.measured.any():
            raise UsageError("there is no observation: all values are missing")

    @classmethod
    def of(
        cls,
        model: ForwardModel | Solves,
        observations: object,
        noise: object = "2%",
        prior: Prior | Mapping[str, Sequence[float]] | None = None,
    ) -> Posterior:
        """From what `gnvpro.invert` takes: a forward model, and observations, noise and prior in any of their forms."""
        law = prior if isinstance(prior, Prior) else Prior.of(model.parameters, prior)
        solves = model if isinstance(model, Solves) else Solves(model, scale=law.scale)
        data, deviations, which = observations_of(observations, solves.observables)
        return cls(solves, data, noise_of(noise, data, deviations, solves.observables, which), law, which=which)

    @cached_property
    def measured(self) -> np.ndarray:
        """Which of `data` are observations (m,)."""
        return np.isfinite(self.data)

    @cached_property
    def places(self) -> NDArray[np.intp]:
        """The observable that each observation is of (n_data,)."""
        return np.flatnonzero(self.measured) if self.which is None else self.which[self.measured]

    @cached_property
    def values(self) -> Array:
        """The observations (n_data,): `data` without what is missing."""
        return self.data[self.measured]

    @cached_property
    def noise_of_data(self) -> Noise:
        """The noise of the observations, n_data of them."""
        return self.noise.of(self.measured)

    @property
    def n_data(self) -> int:
        """Number of observations."""
        return int(self.measured.sum())

    @cached_property
    def repeated(self) -> bool:
        """Whether an observable was measured more than once."""
        return len(np.unique(self.places)) < self.n_data

    @cached_property
    def by_observable(self) -> tuple[Array, Array]:
        """Observed values and sizes of their noise (n_out,), NaN where there is none; repeats averaged, for pictures."""
        scales, n_out = self.noise_of_data.scales, self.solves.observables.size
        precision = np.bincount(self.places, 1 / scales**2, n_out)
        total = np.bincount(self.places, self.values / scales**2, n_out)
        with np.errstate(divide="ignore", invalid="ignore"):
            return total / precision, np.where(precision > 0, 1 / np.sqrt(precision), np.nan)

    def with_error(self, error: ErrorModel) -> Posterior:
        """The same with another law of the forward model's error."""
        return replace(self, error=error)

    def predicted(self, observables: Array) -> Array:
        """What the model says of every observation: (n, n_out) -> (n, n_data)."""
        return observables[:, self.places]

    def whitened(self, observables: Array) -> Array:
        """Observables less observations in units of the noise: (n, n_out) -> (n, n_data)."""
        return self.noise_of_data.whiten(self.predicted(observables) - self.values)

    def residuals(self, observables: Array) -> Array:
        """The same, the model's error taken out and added to the noise; half their square is the misfit.

        Of Student's law those that `Noise.robust` makes of them.
        """
        return self.noise.robust(self._apart(observables))

    def _apart(self, observables: Array) -> Array:
        """Whitened, the model's error taken out and added to the noise (n, n_data)."""
        residuals = self.whitened(observables)
        return residuals if self.error is None else self.error.whiten(residuals + self.error.mean)

    def misfit(self, observables: Array) -> Array:
        """Minus the logarithm of the likelihood up to a constant: (n, n_out) -> (n,); infinite where a solve failed."""
        misfit = 0.5 * (self.residuals(observables) ** 2).sum(axis=1)
        return np.where(np.isfinite(misfit), misfit, np.inf)

    def weights(self, observables: Array) -> Array:
        """Derivative of the misfit by the observables (n, n_out)."""
        apart = self._apart(observables)
        residuals = self.noise.robust(apart) * self.noise.robust_slopes(apart)
        if self.error is not None:
            residuals = self.error.whiten(residuals)  # it is its own transpose
        weights, by_datum = np.zeros_like(observables), self.noise_of_data.whiten_transposed(residuals)
        if self.repeated:
            np.add.at(weights.T, self.places, by_datum.T)
        else:
            weights[:, self.places] = by_datum
        return weights

    def sensitivity(self, jacobian: Array, observables: Array | None = None) -> Array:
        """Derivative of `residuals` from the Jacobian of the observables: (n_out, n_in) -> (n_data, n_in).

        Of Student's law it depends on the `observables` (n_out,) there.
        """
        columns = self._whitened_columns(jacobian)
        if not self.noise.heavy_tailed:
            return columns
        return columns * self.noise.robust_slopes(self._apart_at(observables))[:, None]

    def curvature_root(self, jacobian: Array, observables: Array) -> Array:
        """A root R (n_data, n_in) of the misfit's Hessian R^T R by the parameters, the model's own curvature left out.

        `sensitivity` where the noise is normal. Of Student's law outliers, whose curvature is negative, count nothing.
        """
        columns = self._whitened_columns(jacobian)
        if not self.noise.heavy_tailed:
            return columns
        return columns * np.sqrt(self.noise.curvatures(self._apart_at(observables)))[:, None]

    def _whitened_columns(self, jacobian: Array) -> Array:
        columns = self.noise_of_data.whiten(jacobian[self.places].T)
        return (columns if self.error is None else self.error.whiten(columns)).T

    def _apart_at(self, observables: Array | None) -> Array:
        if observables is None:
            raise UsageError("the derivative of residuals of Student's law depends on the observables; give these too")
        return self._apart(observables[None])[0]

    def log_density(self, z: Array) -> Array:
        """Of the normal variables behind the parameters, up to a constant: (n, n_free) -> (n,)."""
        return -self.misfit(self.solves.evaluate(self.prior.parameters(z))) - 0.5 * (z**2).sum(axis=1)

    def log_density_and_gradient(self, z: Array) -> tuple[Array, Array]:
        """The same, and its gradient (n, n_free)."""
        observables, gradient = self.solves.pulled_back(self.prior.parameters(z), self.weights)
        return (-self.misfit(observables) - 0.5 * (z**2).sum(axis=1), -self.prior.pull_back(z, gradient) - z)


@dataclass(frozen=True, eq=False)
class Whitening:
    """z = centre + factor x makes the posterior of x about standard normal: what samplers start from.

    The centre (n,) is the mode of the normal variables z; the lower triangular factor (n, n), times its transpose, is the
    covariance by the Gauss-Newton Hessian there.
    """

    centre: Array
    factor: Array

    @property
    def determined(self) -> float:
        """How many directions of z the observations determine: the sum of 1 - variance, that of the prior being one.

        A direction that they leave open counts nothing, whatever the parameters are that it is of.
        """
        return len(self.centre) - float((self.factor**2).sum())

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Normal variables (n, n_free) by the approximation."""
        return self.centre + rng.standard_normal((n, len(self.centre))) @ self.factor.T

    @classmethod
    def at_mode(cls, posterior: Posterior, start: Array) -> Whitening:
        """Around the mode nearest to parameters (n_in,).

        Raises
        ------
        NumericalFailure
            The forward model could not be solved there.
        """
        prior, n = posterior.prior, posterior.prior.n_free
        if not n:
            return cls(np.zeros(0), np.zeros((0, 0)))

        begun: list[Array] = []  # sizes of the residuals, at the first point first

        def linearized(z: Array) -> tuple[Array, Array]:
            y = prior.parameters(z[None])
            observables, jacobian = posterior.solves.linearize(y)
            if not (np.isfinite(observables).all() and np.isfinite(jacobian).all()):
                if not begun:
                    raise NumericalFailure(f"the forward model could not be solved at {y[0].tolist()}")
                return _REFUSED * begun[0], np.zeros((len(begun[0]), n))  # a step that the search takes back
            slopes = prior.pull_back(np.tile(z, (prior.size, 1)), np.eye(prior.size))
            derivative = posterior.sensitivity(jacobian[0], observables[0]) @ slopes
            residuals = np.concatenate([posterior.residuals(observables)[0], z - held])
            begun.append(np.abs(residuals) + 1)
            return residuals, np.concatenate([derivative, np.eye(n)])

        # least_squares wants residuals and derivative at the same point one after the other.
        at = functools.lru_cache(1)(lambda z: linearized(np.frombuffer(z)))
        first = np.clip(prior.latent(start[None])[0], -_NEAR, _NEAR)
        held = np.where(prior.single, first, 0.0)  # single values stay as they are
        mode = least_squares(
            lambda z: at(z.tobytes())[0], first,
            lambda z: at(z.tobytes())[1],  # pyright: ignore[reportArgumentType]
            method="lm", max_nfev=_MOST_EVALUATIONS,
        )  # fmt: skip
        derivative = at(mode.x.tobytes())[1]
        root = cholesky(derivative.T @ derivative, lower=True)
        # (R R^T)^-1 = R^-T R^-1: the transposed inverse is a factor, though an upper triangular one.
        covariance = solve_triangular(root, np.eye(n), lower=True)
        return cls(mode.x, cholesky(covariance.T @ covariance, lower=True))
