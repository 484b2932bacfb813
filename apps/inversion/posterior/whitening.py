"""The normal approximation of a posterior in the normal variables behind the parameters: what samplers start from."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import least_squares

from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.surrogate.spaces import Array

# A parameter on its bound is infinitely far in its normal variable; the search for the mode begins this near.
_NEAR = 2.0
_MOST_EVALUATIONS = 50


@dataclass(frozen=True)
class Whitening:
    """z = centre + factor x makes the posterior of x about standard normal.

    Attributes
    ----------
    centre : (n,)
        The mode.
    factor : (n, n)
        Lower triangular; times its transpose it is the covariance by the Gauss-Newton Hessian at the mode.
    """

    centre: Array
    factor: Array

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Normal variables (n, n_in) by the approximation."""
        return self.centre + rng.standard_normal((n, len(self.centre))) @ self.factor.T

    @classmethod
    def at_mode(cls, posterior: Posterior, start: Array) -> Whitening:
        """Around the mode nearest to parameters (n_in,).

        Raises
        ------
        ArithmeticError
            The forward model could not be solved on the way.
        """
        prior, n = posterior.prior, posterior.prior.size

        def linearized(z: Array) -> tuple[Array, Array]:
            y = prior.parameters(z[None])
            observables, jacobian = posterior.solves.linearize(y)
            if not (np.isfinite(observables).all() and np.isfinite(jacobian).all()):
                raise ArithmeticError(f"the forward model could not be solved at {y[0].tolist()}")
            slopes = prior.pull_back(np.tile(z, (n, 1)), np.eye(n))
            derivative = posterior.sensitivity(jacobian[0]) @ slopes
            residuals = posterior.residuals(observables)[0]
            return np.concatenate([residuals, z]), np.concatenate([derivative, np.eye(n)])

        # least_squares wants residuals and derivative at the same point one after the other.
        at = functools.lru_cache(1)(lambda z: linearized(np.frombuffer(z)))
        first = np.clip(prior.latent(start[None])[0], -_NEAR, _NEAR)
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
