"""Which models of the server a posterior is: the log densities of a surrogate, and of its PDE, under their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gnvpro.apps.inversion.adequacy import adequacy_from_bands
from gnvpro.apps.inversion.maximum_a_posteriori import Minimum, find_minima
from gnvpro.apps.inversion.posterior.posterior import Posterior, Whitening
from gnvpro.apps.serving.bounds import Bounds
from gnvpro.apps.serving.densities import (
    Function,
    Likelihood,
    from_normal,
    log_likelihood,
    log_posterior,
    log_posterior_of_normal,
    log_prior,
)
from gnvpro.apps.serving.request_log import RequestLog
from gnvpro.apps.serving.served import Otherwise, Policy, ServedModel
from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.laws.log_density import without_density
from gnvpro.surrogate.model.hessian import hessian_product
from gnvpro.surrogate.model.surrogate import Surrogate

# Of the search for the most probable point.
_STARTS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class PosteriorOptions:
    """Observations, noise and prior of a posterior, in any of the forms that `gnvpro.invert` takes."""

    observations: Any
    noise: Any
    prior: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, observations: Any, noise: Any, prior: Any) -> PosteriorOptions | None:
        """Of what `serve` takes; None without observations. Raises UsageError where one is given without the other."""
        if observations is None:
            if noise is not None or prior is not None:
                given = "noise" if noise is not None else "prior"
                raise UsageError(f"`{given}` belongs to a posterior: give its observations as `posterior`")
            return None
        if noise is None:
            raise UsageError("a posterior needs the noise of its observations: give `noise`, such as 2% or 2%+0.001")
        if prior is not None and not isinstance(prior, Mapping):
            raise UsageError(f"expected prior a mean and a standard deviation by name, got {prior!r}")
        return cls(observations=observations, noise=noise, prior=prior)


class Posteriors:
    """The densities of one surrogate, and of its PDE.

    Attributes
    ----------
    missing
        Names of densities that are not served, and why.
    """

    def __init__(self, name: str, surrogate: Surrogate, options: PosteriorOptions, policy: Policy | None) -> None:
        """Raises UsageError, FileNotFoundError: observations, noise or a prior that do not fit the model."""
        self._name, self._surrogate = name, surrogate
        self.posterior = Posterior.of(surrogate, options.observations, options.noise, options.prior)
        self._prior = self.posterior.prior
        if not self._prior.n_free:
            raise UsageError(f"{name} has no parameter that varies, so there is no posterior to sample")
        # There is no density at the nearest point that is one here; the likelihood is a function, and has a value there.
        self._otherwise = Otherwise.of_density("refuse" if policy == "refuse" else "nan")
        self._of_likelihood = Otherwise.of_density(policy or "nan")
        self.missing = self._missing()

    def _missing(self) -> dict[str, str]:
        for of, law in self._prior.transport.columns:
            if (why := without_density(law)) is not None and self._prior.free[of].all():
                names = ", ".join(self._prior.space.names[of])
                instead = f"{names} {why}; {self._name}-posterior-normal is served instead"
                return {f"{self._name}-log-prior": instead, f"{self._name}-posterior": instead}
        return {}

    def of_surrogate(self) -> dict[str, ServedModel]:
        """Likelihood, prior and posterior of the surrogate, and the map from normal variables to parameters."""
        model, prior = self._surrogate, self._prior
        exact = partial(hessian_product, model)
        operations = {"Evaluate": model.evaluate, "Gradient": model.vjp, "ApplyJacobian": model.jvp}
        likelihood = Likelihood(self.posterior, operations, model.pullback, exact)
        served = self._densities(self._name, likelihood, log_prior if not self.missing else None)
        name, of_normal = f"{self._name}-from-normal", from_normal(prior)
        served[name] = ServedModel(name, of_normal, operations=of_normal.operations)
        for each in served.values():
            each.warm_up()
        return served

    def of_pde(self, pde: ServedModel, most_waiting: int) -> dict[str, ServedModel]:
        """Likelihood and posterior of the PDE, computed where it is solved."""
        return self._densities(
            pde.name, Likelihood(self.posterior, pde.operations), None, executor=pde.executor, most_waiting=most_waiting
        )

    def _densities(
        self, name: str, likelihood: Likelihood, prior: Callable[..., Function] | None, **options: Any
    ) -> dict[str, ServedModel]:
        found: list[tuple[str, Function, Otherwise]] = [
            ("log-likelihood", log_likelihood(likelihood), self._of_likelihood),
        ]
        if prior is not None:
            found.append(("log-prior", prior(self._prior), self._otherwise))
        if not self.missing:
            found.append(("posterior", log_posterior(likelihood), self._otherwise))
        found.append(("posterior-normal", log_posterior_of_normal(likelihood), self._otherwise))
        return {
            f"{name}-{kind}": ServedModel(
                f"{name}-{kind}", density, bounds=Bounds.of(density), otherwise=otherwise, operations=density.operations,
                **options,
            )
            for kind, density, otherwise in found
        }  # fmt: skip

    def describe(self, served: Mapping[str, ServedModel], log: RequestLog) -> None:
        """Put the most probable point by the surrogate, and the normal approximation there, into what clients are told.

        The log is told which densities there are not, and warned where `gnvpro.invert` would be: the surrogate's error is not
        small beside the noise.
        """
        for name, why in self.missing.items():
            log.event("warning", model=name, message=f"it is not served: {why}")
        try:
            minimum = find_minima(self.posterior, _STARTS, 0)[0]
            normal = Whitening.at_mode(self.posterior, minimum.parameters)
        except NumericalFailure as failure:
            log.event("warning", model=f"{self._name}-posterior", message=f"no most probable point: {failure}")
            return
        self._warn(minimum, log)
        free = self._prior.free
        # What the data leave open is as wide as the prior, not as nothing at all.
        inverse = np.linalg.pinv(minimum.covariance[np.ix_(free, free)])
        inverse += np.linalg.pinv(self._prior.moments[1][np.ix_(free, free)])
        for kind, point, covariance in (
            ("posterior", minimum.parameters[free], np.linalg.pinv(inverse)),
            ("posterior-normal", normal.centre, normal.factor @ normal.factor.T),
        ):
            about = {"most_probable": point.tolist(), "covariance": covariance.tolist()}
            for name in (f"{self._name}-{kind}", f"{self._name}-pde-{kind}"):
                if name in served:
                    served[name].about |= about

    def _warn(self, minimum: Minimum, log: RequestLog) -> None:
        adequacy = adequacy_from_bands(self.posterior, self._surrogate, minimum.parameters[None], minimum.covariance)
        if adequacy is not None and not adequacy.adequate:
            log.event(
                "warning",
                model=f"{self._name}-posterior",
                message=f"the surrogate may be too rough for this noise: {adequacy}",
            )


def require_one(models: Sequence[str]) -> None:
    """Raises UsageError: observations of several models."""
    if len(models) != 1:
        raise UsageError(f"`posterior` holds the observations of one model, got {len(models)}: {', '.join(models)}")
