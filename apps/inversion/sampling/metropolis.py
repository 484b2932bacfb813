"""Random-walk Metropolis of several chains at once: on a posterior by itself, and proposing in delayed acceptance.

In delayed acceptance a cheap chain on the surrogate proposes and the PDE accepts (Christen and Fox 2005). Whatever the
surrogate's error, the draws are of the PDE's posterior; the error costs acceptance only. While the chains warm up, the
difference of the two models is learned and taken into the cheap posterior; then it stays as it is, since a chain whose
transitions went on changing would need another proof.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps.inversion.posterior.posterior import ErrorModel, Posterior
from gnvpro.apps.inversion.sampling.chains import Chains, Cost
from gnvpro.apps.inversion.sampling.mixture import Mixture
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array

# Best share of accepted proposals, between that of one dimension and of many (Gelman, Roberts and Gilks 1996).
_BEST_ACCEPTANCE = 0.3
# Of finding a point where a chain can begin.
_ATTEMPTS = 20
# Steps of the cheap chain from proposal to proposal, per parameter: then it has about forgotten where it began.
_STEPS_PER_PARAMETER = 10
# Of steps, where there are parameters with single values.
_SHARE_ANEW = 0.2
# Of steps, where there is a mixture to jump to.
_SHARE_OF_JUMPS = 0.3
# Differences of the two models that their error is learned from, the latest.
_LATEST = 512


@dataclass(eq=False)
class RandomWalk:
    """Normal steps, whose size adapts during warm-up: `scale` times a `factor` (n, n) of about the posterior's covariance.

    Variables that are `single` (n,), of parameters with single values, stay in such steps; some steps draw one of them anew
    from its prior instead, and leave the others. Where there is a mixture of about the posterior, some steps jump to a point
    of it: from mode to mode, which steps do not find.
    """

    factor: Array
    single: NDArray[np.bool_] | None = None
    scale: float = 0.0
    jumps: Mixture | None = None
    _adapted: int = 0

    def __post_init__(self) -> None:
        self._anew = np.zeros(0, dtype=np.intp) if self.single is None else np.flatnonzero(self.single)
        self.factor = self.factor.copy()
        self.factor[self._anew] = 0.0
        if self.scale == 0.0:
            self.scale = 2.38 / np.sqrt(max(1, len(self.factor) - len(self._anew)))

    def walk(
        self,
        log_density: Callable[[Array], Array],
        z: Array,
        density: Array,
        steps: int,
        rng: np.random.Generator,
        adapt: bool = False,
    ) -> tuple[Array, Array, float]:
        """So many steps of every chain, from z (n_chains, n) of log density (n_chains,).

        Returns z and its log density after them, and the share of (normal) steps that were accepted.
        """
        z, density, accepted = z.copy(), density.copy(), 0
        walked = 0
        for _ in range(steps):
            jump = self.jumps is not None and rng.random() < _SHARE_OF_JUMPS
            anew = (
                not jump and len(self._anew) > 0 and (len(self._anew) == len(self.factor) or rng.random() < _SHARE_ANEW)
            )
            prior_ratio: Array | float = 0.0  # of the density that is drawn from: it cancels that of the prior
            if jump and self.jumps is not None:
                proposed = self.jumps.draw(len(z), rng)
                prior_ratio = self.jumps.log_density(z) - self.jumps.log_density(proposed)
            elif anew:
                j, proposed = rng.choice(self._anew), z.copy()
                proposed[:, j] = rng.standard_normal(len(z))
                prior_ratio = 0.5 * (proposed[:, j] ** 2 - z[:, j] ** 2)
            else:
                proposed = z + self.scale * rng.standard_normal(z.shape) @ self.factor.T
            new = log_density(proposed)
            accept = np.log(rng.random(len(z))) < new - density + prior_ratio
            z[accept], density[accept] = proposed[accept], new[accept]
            if anew or jump:
                continue
            walked += 1
            accepted += int(accept.sum())
            if adapt:
                self._adapted += 1
                self.scale *= float(np.exp((accept.mean() - _BEST_ACCEPTANCE) / np.sqrt(self._adapted)))
        return z, density, accepted / (walked * len(z)) if walked else float("nan")


def sample_metropolis(
    posterior: Posterior,
    *,
    draws: int,
    tune: int,
    seed: int,
    start: Array,
    factor: Array,
    steps: int = 1,
    accurate: bool = False,
    jumps: Mixture | None = None,
    report: Report | None = None,
) -> Chains:
    """Draw from a posterior by a random walk, its step size tuned first.

    Parameters
    ----------
    start, factor : (n_chains, n), (n, n)
        Normal variables where the chains begin; a factor of about the covariance of the posterior.
    steps
        From draw to draw.
    accurate
        The forward model is the PDE, and is counted as that.
    jumps
        About the posterior, to go from mode to mode by.

    Raises
    ------
    NumericalFailure
        The density is not finite at a start, nor at any of the points near it that were tried.
    """
    rng, walk = np.random.default_rng(seed), RandomWalk(factor, posterior.prior.single, jumps=jumps)
    cost = Cost(accurate=posterior.solves) if accurate else Cost(cheap=posterior.solves)
    z, density = _begun(start, posterior.log_density, walk, seed)
    if not np.isfinite(density).all():
        raise NumericalFailure("the forward model could not be solved where a chain begins")
    latent, rates = np.empty((len(z), draws, z.shape[1])), []
    for k in range(tune + draws):
        z, density, rate = walk.walk(posterior.log_density, z, density, steps, rng, adapt=k < tune)
        if k >= tune:
            latent[:, k - tune] = z
            rates.append(rate)
        if report is not None:
            report(k + 1, tune + draws, f"{k + 1} of {tune + draws} draws a chain")
    about = {"acceptance": float(np.nanmean(rates)), "tune": tune, "steps": steps}
    return Chains.of(posterior.prior, latent, "random walk on the " + ("PDE" if accurate else "surrogate"), cost, about)


def sample_delayed(
    cheap: Posterior,
    accurate: Posterior,
    *,
    draws: int,
    tune: int,
    seed: int,
    start: Array,
    factor: Array,
    steps: int | None = None,
    learn: bool = True,
    jumps: Mixture | None = None,
    report: Report | None = None,
) -> Chains:
    """Draw from the accurate posterior by proposals of the cheap one, of the same observations, noise and prior.

    Parameters
    ----------
    draws, tune
        Accurate solves of every chain; what is drawn while tuning is thrown away.
    start, factor
        As for `sample_metropolis`; draws of the cheap posterior are good starts.
    steps
        Of the cheap chain between two accurate solves; ten per parameter without.
    learn
        Whether the cheap posterior learns the model error while tuning.
    jumps
        As for `sample_metropolis`.

    Raises
    ------
    NumericalFailure
        One of the models could not be solved where a chain begins, nor near it.
    """
    rng, prior = np.random.default_rng(seed), cheap.prior
    walk = RandomWalk(factor, prior.single, jumps=jumps)
    steps = steps or _STEPS_PER_PARAMETER * prior.n_free
    cost = Cost(cheap.solves, accurate.solves)
    learned = _Differences(cheap, accurate)

    def by_both(z: Array) -> Array:
        """That of the PDE, where the surrogate has one too: a proposal would never lead back, and so none be accepted."""
        high, ok = np.full(len(z), -np.inf), np.isfinite(cheap.log_density(z))
        if ok.any():
            high[ok] = _log_density(accurate, learned.solve(z[ok]), z[ok])
        return high

    z, high = _begun(start, by_both, walk, seed)
    low = cheap.log_density(z)
    if not np.isfinite(high).all():
        model = "PDE could not be solved" if np.isfinite(low).all() else "surrogate could not be evaluated"
        raise NumericalFailure(f"the {model} where a chain begins")
    if learn:
        cheap = cheap.with_error(learned.error())
        low = cheap.log_density(z)
    latent, accepted, cheap_rates = np.empty((len(z), draws, prior.n_free)), np.zeros((len(z), draws), bool), []
    for k in range(tune + draws):
        proposed, new_low, rate = walk.walk(cheap.log_density, z, low, steps, rng, adapt=k < tune)
        moved = (proposed != z).any(axis=1)
        new_high = high.copy()
        new_high[moved] = _log_density(accurate, learned.solve(proposed[moved]), proposed[moved])
        with np.errstate(invalid="ignore"):
            taken = moved & (np.log(rng.random(len(z))) < (new_high - high) - (new_low - low))
        z[taken], low[taken], high[taken] = proposed[taken], new_low[taken], new_high[taken]
        if k >= tune:
            latent[:, k - tune], accepted[:, k - tune] = z, taken
            cheap_rates.append(rate)
        elif learn and (k + 1 == tune or (k + 1).bit_count() == 1):  # after 1, 2, 4, … rounds, and at the end
            cheap = cheap.with_error(learned.error())
            low = cheap.log_density(z)
        if report is not None:
            report(k + 1, tune + draws, f"{k + 1} of {tune + draws} PDE solves a chain")
    about = {
        "acceptance": float(accepted.mean()), "acceptance_of_cheap_chain": float(np.nanmean(cheap_rates)), "tune": tune,
        "cheap_steps": steps, "model_error_learned": learn, "model_error_in_noise": learned.error().size(),
        "pde_failed": learned.failed,
    }  # fmt: skip
    return Chains.of(prior, latent, "delayed acceptance by the PDE", cost, about, accepted=accepted)


def _begun(start: Array, log_density: Callable[[Array], Array], walk: RandomWalk, seed: int) -> tuple[Array, Array]:
    """Where chains begin, and the log density there: a start at which the model fails is replaced by a point near another.

    The density of a chain for which none was found in so many attempts is not finite.
    """
    z, density = start.copy(), log_density(start)
    rng = np.random.default_rng([seed, 1])  # the draws are the same, whether or not a start fails
    for _ in range(_ATTEMPTS):
        failed = ~np.isfinite(density)
        if not failed.any():
            break
        near = z[rng.choice(np.flatnonzero(~failed) if not failed.all() else len(z), int(failed.sum()))]
        z[failed] = near + walk.scale * rng.standard_normal(near.shape) @ walk.factor.T
        density[failed] = log_density(z[failed])
    return z, density


def _log_density(accurate: Posterior, observables: Array, z: Array) -> Array:
    return -accurate.misfit(observables) - 0.5 * (z**2).sum(axis=1)


class _Differences:
    """Accurate less cheap observables in units of the noise, wherever the accurate model was solved."""

    def __init__(self, cheap: Posterior, accurate: Posterior) -> None:
        self._cheap, self._accurate, self._differences, self.failed = cheap, accurate, [], 0

    def solve(self, z: Array) -> Array:
        """Accurate observables (n, n_out) at normal variables (n, n_free), the differences kept."""
        if not len(z):
            return np.zeros((0, self._accurate.solves.observables.size))
        y = self._cheap.prior.parameters(z)
        solved = self._accurate.solves.evaluate(y)
        ok = np.isfinite(solved).all(axis=1)
        self.failed += int((~ok).sum())
        if ok.any():
            approximate = self._cheap.solves.evaluate(y[ok])
            self._differences.extend(self._accurate.whitened(solved[ok]) - self._cheap.whitened(approximate))
        return solved

    def error(self) -> ErrorModel:
        """What has been learned so far."""
        return ErrorModel.learned(np.array(self._differences[-_LATEST:]))
