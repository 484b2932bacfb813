"""Which directions of the parameters the observations inform: the likelihood-informed subspace.

In the normal variables behind the parameters the prior is standard normal, so the Gauss-Newton Hessian H of the misfit
there is in units of the prior. Its eigenvalue along a direction is how much more the observations know of it than the
prior; the posterior variance is 1 / (1 + eigenvalue) of the prior's, were the model linear. H is averaged over draws from
the posterior (Cui, Martin, Marzouk, Solonen and Spantini 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import subspace_angles

from apps.inversion.chains import Chains
from apps.inversion.posterior import Posterior
from surrogate.forward_model import Array


@dataclass(frozen=True)
class Informed:
    """Directions in the normal variables, from the best informed.

    Attributes
    ----------
    eigenvalues : (n_in,)
        Of the mean Gauss-Newton Hessian of the misfit, falling.
    directions : (n_in, n_in)
        Its eigenvectors, one a column.
    parameters : (n_in, n_in)
        What a unit step along every direction does to the parameters, a column each, on average.
    response : (n_data, n_in)
        And to the observables, in units of the noise.
    """

    eigenvalues: Array
    directions: Array
    parameters: Array
    response: Array

    @property
    def count(self) -> int:
        """Directions that the observations know more of than the prior."""
        return int((self.eigenvalues > 1).sum())

    @property
    def nats(self) -> float:
        """Information that the observations bring, of a linear model with these eigenvalues."""
        return float(0.5 * np.log1p(self.eigenvalues).sum())

    def variance_ratios(self, chains: Chains) -> Array:
        """Posterior variance (n_in,) of draws along every direction; the prior's is one."""
        latent = chains.latent.reshape(-1, chains.latent.shape[-1])
        return (latent @ self.directions).var(axis=0, ddof=1)


def informed(posterior: Posterior, z: Array) -> Informed:
    """From normal variables (n, n_in), such as draws from the posterior.

    Raises
    ------
    ArithmeticError
        The forward model could be solved at none of them.
    """
    prior, k = posterior.prior, posterior.prior.size
    observables, jacobians = posterior.solves.linearize(prior.parameters(z))
    ok = np.isfinite(observables).all(axis=1) & np.isfinite(jacobians).all(axis=(1, 2))
    if not ok.any():
        raise ArithmeticError(f"the forward model could be solved at none of {len(z)} draws from the posterior")
    slopes = [prior.pull_back(np.tile(row, (k, 1)), np.eye(k)) for row in z[ok]]
    derivatives = [posterior.sensitivity(j) @ s for j, s in zip(jacobians[ok], slopes, strict=True)]
    values, vectors = np.linalg.eigh(np.mean([d.T @ d for d in derivatives], axis=0))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    # The sign of an eigenvector is arbitrary: that in which most observables rise.
    response = np.mean(derivatives, axis=0) @ vectors
    sign = np.where(response.sum(axis=0) < 0, -1.0, 1.0)
    return Informed(values, vectors * sign, np.mean(slopes, axis=0) @ vectors * sign, response * sign)


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
