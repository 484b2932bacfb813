"""Delayed acceptance: a cheap chain on the surrogate proposes, the PDE accepts (Christen and Fox 2005).

Whatever the surrogate's error, the draws are of the PDE's posterior; the error costs acceptance only. While the chains warm
up, the difference of the two models is learned and taken into the cheap posterior; then it stays as it is, since a chain
whose transitions went on changing would need another proof.
"""

from __future__ import annotations

import numpy as np

from gnvpro.apps.inversion.posterior.error_model import ErrorModel
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.sampling.chains import Chains, Cost
from gnvpro.apps.inversion.sampling.metropolis import RandomWalk
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array

# Steps of the cheap chain from proposal to proposal, per parameter: then it has about forgotten where it began.
STEPS_PER_PARAMETER = 10
# Differences of the two models that their error is learned from, the latest.
_LATEST = 512


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
    report: Report | None = None,
) -> Chains:
    """Draw from the accurate posterior by proposals of the cheap one.

    Parameters
    ----------
    cheap, accurate
        Two forward models, the same observations, noise and prior.
    draws, tune
        Accurate solves of every chain; what is drawn while tuning is thrown away.
    start : (n_chains, n)
        Normal variables where the chains begin; draws of the cheap posterior are good.
    factor : (n, n)
        Of the covariance of the posterior, about.
    steps
        Of the cheap chain between two accurate solves; `STEPS_PER_PARAMETER` per parameter without.
    learn
        Whether the cheap posterior learns the model error while tuning.

    Raises
    ------
    ArithmeticError
        One of the models could not be solved where a chain begins.
    """
    rng, walk, prior = np.random.default_rng(seed), RandomWalk(factor), cheap.prior
    steps = steps or STEPS_PER_PARAMETER * prior.size
    cost = Cost(cheap.solves, accurate.solves)
    z, learned = start.copy(), _Differences(cheap, accurate)
    solved = learned.solve(z)
    high = _log_density(accurate, solved, z)
    if not np.isfinite(high).all():
        raise ArithmeticError("the PDE could not be solved where a chain begins")
    low = cheap.log_density(z)
    if not np.isfinite(low).all():  # a proposal would never lead back, and so none be accepted
        raise ArithmeticError("the surrogate could not be evaluated where a chain begins")
    if learn:
        cheap = cheap.with_error(learned.error())
        low = cheap.log_density(z)
    latent, accepted, cheap_rates = np.empty((len(z), draws, prior.size)), np.zeros((len(z), draws), bool), []
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
        elif learn and _learns_after(k + 1, tune):
            cheap = cheap.with_error(learned.error())
            low = cheap.log_density(z)
        if report is not None:
            report(k + 1, tune + draws, f"{k + 1} of {tune + draws} PDE solves a chain")
    about = {
        "acceptance": float(accepted.mean()), "acceptance_of_cheap_chain": float(np.mean(cheap_rates)), "tune": tune,
        "cheap_steps": steps, "model_error_learned": learn, "model_error_in_noise": learned.error().size(),
        "pde_failed": learned.failed,
    }  # fmt: skip
    return Chains.of(prior, latent, "delayed acceptance by the PDE", cost, about, accepted=accepted)


def _log_density(accurate: Posterior, observables: Array, z: Array) -> Array:
    return -accurate.misfit(observables) - 0.5 * (z**2).sum(axis=1)


def _learns_after(done: int, tune: int) -> bool:
    """After 1, 2, 4, … rounds, and at the end of tuning."""
    return done == tune or done & (done - 1) == 0


class _Differences:
    """Accurate less cheap observables in units of the noise, wherever the accurate model was solved."""

    def __init__(self, cheap: Posterior, accurate: Posterior) -> None:
        self._cheap, self._accurate, self._differences, self.failed = cheap, accurate, [], 0

    def solve(self, z: Array) -> Array:
        """Accurate observables (n, n_out) at normal variables (n, n_in), the differences kept."""
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
