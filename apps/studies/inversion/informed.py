"""Which directions of the parameters the observations inform: the likelihood-informed subspace.

In units of the prior, parameters being prior mean plus root x with root root^T the prior's covariance, the eigenvalue of
the Gauss-Newton Hessian of the misfit along a direction is how much more the observations know of it than the prior; the
posterior variance is 1 / (1 + eigenvalue) of the prior's, were model and prior normal. The Hessian is averaged over draws
from the posterior (Cui, Martin, Marzouk, Solonen and Spantini 2014). Not the normal variables that samplers see: on the
simplex these have one more direction, which moves nothing but is another one at every point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import subspace_angles

from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.sampling.chains import Chains
from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True)
class Informed:
    """Directions in units of the prior, from the best informed; on a simplex k = n_in - 1 of them, else n_in.

    Attributes
    ----------
    eigenvalues : (k,)
        Of the mean Gauss-Newton Hessian of the misfit, falling.
    directions : (k, k)
        Its eigenvectors, one a column.
    parameters : (n_in, k)
        What a unit step along every direction does to the parameters, a column each.
    response : (n_data, k)
        And to the observables, in units of the noise, on average.
    coordinates : (k, n_in)
        Takes differences of parameters to steps along the directions.
    """

    eigenvalues: Array
    directions: Array
    parameters: Array
    response: Array
    coordinates: Array

    @property
    def count(self) -> int:
        """Directions that the observations know more of than the prior."""
        return int((self.eigenvalues > 1).sum())

    @property
    def nats(self) -> float:
        """Information that the observations bring, of a linear model with these eigenvalues."""
        return float(0.5 * np.log1p(self.eigenvalues).sum())

    def variance_ratios(self, chains: Chains) -> Array:
        """Posterior variance (k,) of draws along every direction; the prior's is one."""
        return (chains.pooled @ self.coordinates.T).var(axis=0, ddof=1)


def informed(posterior: Posterior, y: Array) -> Informed:
    """From parameters (n, n_in), such as draws from the posterior.

    Raises
    ------
    ArithmeticError
        The forward model could be solved at none of them.
    """
    observables, jacobians = posterior.solves.linearize(y)
    ok = np.isfinite(observables).all(axis=1) & np.isfinite(jacobians).all(axis=(1, 2))
    if not ok.any():
        raise ArithmeticError(f"the forward model could be solved at none of {len(y)} draws from the posterior")
    variances, axes = np.linalg.eigh(posterior.prior.moments[1])
    kept = variances > 1e-10 * variances.max()  # not across a simplex
    root, inverse = axes[:, kept] * np.sqrt(variances[kept]), (axes[:, kept] / np.sqrt(variances[kept])).T
    derivatives = [posterior.sensitivity(j) @ root for j in jacobians[ok]]
    values, vectors = np.linalg.eigh(np.mean([d.T @ d for d in derivatives], axis=0))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    # The sign of an eigenvector is arbitrary: that in which most observables rise.
    response = np.mean(derivatives, axis=0) @ vectors
    sign = np.where(response.sum(axis=0) < 0, -1.0, 1.0)
    vectors = vectors * sign
    return Informed(values, vectors, root @ vectors, response * sign, vectors.T @ inverse)


def agreement(one: Informed, other: Informed) -> dict[str, Any]:
    """JSON-able: how the informed directions by two models differ.

    `eigenvalues_max`: largest relative difference of an eigenvalue above 1 by the second; `angle`: largest angle (degrees)
    between the subspaces of as many directions as it has of these.
    """
    n = other.count
    if n == 0:
        return {"eigenvalues_max": 0.0, "angle": 0.0}
    apart = np.abs(one.eigenvalues[:n] / other.eigenvalues[:n] - 1)
    angles = subspace_angles(one.directions[:, :n], other.directions[:, :n])
    return {"eigenvalues_max": float(apart.max()), "angle": float(np.degrees(angles.max()))}
