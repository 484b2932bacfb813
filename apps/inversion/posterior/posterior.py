"""The posterior of parameters given observations with normal noise: misfit, density and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gnvpro.apps.inversion.posterior.error_model import ErrorModel
from gnvpro.apps.inversion.posterior.noise import Noise, noise_of
from gnvpro.apps.inversion.posterior.observations import observations_of
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True)
class Posterior:
    """The law of the parameters given the observations.

    Attributes
    ----------
    solves
        The forward model.
    data : (n_out,)
        Observations; NaN where there is none.
    noise
        Of all n_out observables; what it says where nothing was observed does not matter.
    prior
        The law of the parameters before the observation.
    error
        Of the model's own error, in units of the noise; None where it counts as exact.
    """

    solves: Solves
    data: Array
    noise: Noise
    prior: Prior
    error: ErrorModel | None = None

    def __post_init__(self) -> None:
        m = self.solves.observables.size
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
        solves = model if isinstance(model, Solves) else Solves(model)
        data, standard_deviations = observations_of(observations, solves.observables)
        law = prior if isinstance(prior, Prior) else Prior.of(solves.parameters, prior)
        return cls(solves, data, noise_of(noise, data, standard_deviations), law)

    def by(self, solves: Solves) -> Posterior:
        """The same observations, noise and prior with another forward model."""
        return replace(self, solves=solves)

    @cached_property
    def measured(self) -> np.ndarray:
        """Where there is an observation (n_out,)."""
        return np.isfinite(self.data)

    @cached_property
    def _noise(self) -> Noise:
        return self.noise.of(self.measured)

    @property
    def n_data(self) -> int:
        """Number of observations."""
        return int(self.measured.sum())

    def with_error(self, error: ErrorModel | None) -> Posterior:
        """The same with another model of the model's error."""
        return replace(self, error=error)

    def whitened(self, observables: Array) -> Array:
        """Observables less observations in units of the noise: (n, n_out) -> (n, n_data)."""
        return self._noise.whiten(observables[:, self.measured] - self.data[self.measured])

    def residuals(self, observables: Array) -> Array:
        """The same, the model's error taken out and added to the noise; half their square is the misfit."""
        residuals = self.whitened(observables)
        return residuals if self.error is None else self.error.whiten(residuals + self.error.mean)

    def misfit(self, observables: Array) -> Array:
        """Minus the logarithm of the likelihood up to a constant: (n, n_out) -> (n,); infinite where a solve failed."""
        misfit = 0.5 * (self.residuals(observables) ** 2).sum(axis=1)
        return np.where(np.isfinite(misfit), misfit, np.inf)

    def weights(self, observables: Array) -> Array:
        """Derivative of the misfit by the observables (n, n_out)."""
        residuals = self.residuals(observables)
        if self.error is not None:
            residuals = self.error.whiten(residuals)  # it is its own transpose
        weights = np.zeros_like(observables)
        weights[:, self.measured] = self._noise.whiten_transposed(residuals)
        return weights

    def sensitivity(self, jacobian: Array) -> Array:
        """Derivative of `residuals` from the Jacobian of the observables: (n_out, n_in) -> (n_data, n_in)."""
        columns = self._noise.whiten(jacobian[self.measured].T)
        return (columns if self.error is None else self.error.whiten(columns)).T

    def log_density(self, z: Array) -> Array:
        """Of the normal variables behind the parameters, up to a constant: (n, n_in) -> (n,)."""
        return -self.misfit(self.solves.evaluate(self.prior.parameters(z))) - 0.5 * (z**2).sum(axis=1)

    def log_density_and_gradient(self, z: Array) -> tuple[Array, Array]:
        """The same, and its gradient (n, n_in)."""
        observables, gradient = self.solves.pulled_back(self.prior.parameters(z), self.weights)
        return (-self.misfit(observables) - 0.5 * (z**2).sum(axis=1), -self.prior.pull_back(z, gradient) - z)
