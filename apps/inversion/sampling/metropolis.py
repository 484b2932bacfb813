"""Random-walk Metropolis, several chains at once: on a posterior by itself, and as the cheap part of delayed acceptance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.sampling.chains import Chains, Cost
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array

# Best share of accepted proposals, between that of one dimension and of many (Gelman, Roberts and Gilks 1996).
_BEST_ACCEPTANCE = 0.3


@dataclass
class RandomWalk:
    """Normal steps of a given shape, whose size adapts during warm-up.

    Attributes
    ----------
    factor : (n, n)
        Of the covariance of the posterior, about.
    scale
        Of the steps, in units of it.
    """

    factor: Array
    scale: float = 0.0
    _adapted: int = 0

    def __post_init__(self) -> None:
        if self.scale == 0.0:
            self.scale = 2.38 / np.sqrt(len(self.factor))

    def walk(
        self,
        log_density: Callable[[Array], Array],
        z: Array,
        density: Array,
        steps: int,
        rng: np.random.Generator,
        adapt: bool = False,
    ) -> tuple[Array, Array, float]:
        """Some steps of every chain.

        Parameters
        ----------
        z, density : (n_chains, n), (n_chains,)
            Where the chains are, and its log density.

        Returns
        -------
        z, density, acceptance
            Where they are then, and the share of steps that were accepted.
        """
        z, density, accepted = z.copy(), density.copy(), 0
        for _ in range(steps):
            proposed = z + self.scale * rng.standard_normal(z.shape) @ self.factor.T
            new = log_density(proposed)
            accept = np.log(rng.random(len(z))) < new - density
            z[accept], density[accept] = proposed[accept], new[accept]
            accepted += int(accept.sum())
            if adapt:
                self._adapted += 1
                self.scale *= float(np.exp((accept.mean() - _BEST_ACCEPTANCE) / np.sqrt(self._adapted)))
        return z, density, accepted / (steps * len(z))


def sample_metropolis(
    posterior: Posterior,
    *,
    draws: int,
    tune: int,
    seed: int,
    start: Array,
    factor: Array,
    accurate: bool = False,
    report: Report | None = None,
) -> Chains:
    """Draw from a posterior by a random walk, its step size tuned first.

    Parameters
    ----------
    draws, tune
        Of every chain; `tune` are thrown away.
    start : (n_chains, n)
        Normal variables where the chains begin.
    factor : (n, n)
        Of the covariance of the posterior, about.
    accurate
        The forward model is the PDE, and is counted as that.

    Raises
    ------
    ArithmeticError
        The density is not finite at a start.
    """
    rng, walk = np.random.default_rng(seed), RandomWalk(factor)
    cost = Cost(accurate=posterior.solves) if accurate else Cost(cheap=posterior.solves)
    z, density = start.copy(), posterior.log_density(start)
    if not np.isfinite(density).all():
        raise ArithmeticError("the forward model could not be solved where a chain begins")
    latent, rates = np.empty((len(z), draws, z.shape[1])), []
    for k in range(tune + draws):
        z, density, rate = walk.walk(posterior.log_density, z, density, 1, rng, adapt=k < tune)
        if k >= tune:
            latent[:, k - tune] = z
            rates.append(rate)
        if report is not None:
            report(k + 1, tune + draws, f"{k + 1} of {tune + draws} steps")
    about = {"acceptance": float(np.mean(rates)), "tune": tune}
    return Chains.of(posterior.prior, latent, "random walk on the " + ("PDE" if accurate else "surrogate"), cost, about)
