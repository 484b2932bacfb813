"""Which sampler a posterior is for: a cheap look at it, the sampler, a look at its draws, and another sampler if need be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gnvpro.apps.inversion import Sampler
from gnvpro.apps.inversion.posterior.posterior import Posterior, Whitening
from gnvpro.apps.inversion.sampling.chains import Chains
from gnvpro.apps.inversion.sampling.importance import sample_importance
from gnvpro.apps.inversion.sampling.metropolis import sample_metropolis
from gnvpro.apps.inversion.sampling.mixture import Mixture
from gnvpro.apps.inversion.sampling.nuts import sample_nuts
from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.progress import Report

# Parameters up to which a mixture can be fitted to draws.
_MOST_PARAMETERS = 12
# Points by Laplace's approximation, and their effective share below which a posterior counts as far from normal.
_LOOK, _NEARLY_NORMAL = 256, 0.9
# Of a random walk on the surrogate from draw to draw, per parameter.
_STEPS_PER_PARAMETER = 3


def sample_surrogate(
    posterior: Posterior,
    modes: list[Whitening],
    sampler: Sampler = "auto",
    *,
    chains: int,
    draws: int,
    tune: int,
    seed: int,
    report: Report | None = None,
) -> tuple[Chains, Mixture | None]:
    """Draw from a posterior of a model that costs little; and what was drawn from, where that was a mixture.

    Parameters
    ----------
    modes
        Normal approximations at every mode that holds a part of the posterior, the lowest first.
    sampler
        `auto`: NUTS, where there is one mode and the posterior is about normal there; importance sampling where it is not,
        or where NUTS did not converge, of up to twelve parameters; a random walk where there are more and some have
        single values. The draws that converged are taken, or those with most effective samples, and say that they have not.

    Raises
    ------
    NumericalFailure
        The model could not be solved where the sampler begins.
    """
    if sampler == "nuts" and posterior.prior.single.any():
        raise UsageError("nuts follows derivatives, and some parameters have single values; take importance or walk")
    smooth, few = not posterior.prior.single.any(), posterior.prior.n_free <= _MOST_PARAMETERS
    order: list[Sampler] = [sampler]
    if sampler == "auto":
        by_chains: Sampler = "nuts" if smooth else "walk"
        easy = smooth and len(modes) == 1 and nearly_normal(posterior, modes[0], seed)
        order = [by_chains] if not few else [by_chains, "importance"] if easy else ["importance", by_chains]
    lengths: dict[str, Any] = dict(draws=draws, seed=seed, report=report)
    found: list[tuple[Chains, Mixture | None]] = []
    failure: NumericalFailure | None = None
    for one in order:
        try:
            if one == "importance":
                found.append(sample_importance(posterior, modes, chains=chains, **lengths))
            elif one == "nuts":
                found.append((sample_nuts(posterior, chains=chains, tune=tune, whitening=modes[0], **lengths), None))
            else:
                steps = _STEPS_PER_PARAMETER * posterior.prior.n_free
                start = starts_among(modes, chains, posterior, seed)
                walk = dict(start=start, factor=modes[0].factor, steps=steps, tune=tune)
                found.append((sample_metropolis(posterior, **walk, **lengths), None))
        except NumericalFailure as failed:
            failure = failed
            continue
        if found[-1][0].converged:
            break
    if not found:
        raise failure or NumericalFailure("no sampler could begin")
    best, mixture = max(found, key=lambda one: (one[0].converged, float(np.min(one[0].effective))))
    tried = [chains.route for chains, _ in found if chains is not best]
    return (replace(best, about=best.about | {"instead_of": tried}) if tried else best), mixture


def nearly_normal(posterior: Posterior, mode: Whitening, seed: int) -> bool:
    """Whether points by a normal approximation have about even weights, and the model can be solved at most of them."""
    rng = np.random.default_rng([seed, 5])
    x = rng.standard_normal((_LOOK, len(mode.centre)))
    log_weights = posterior.log_density(mode.centre + x @ mode.factor.T) + 0.5 * (x**2).sum(axis=1)
    if not np.isfinite(log_weights).any():
        return False
    weights = np.exp(log_weights - log_weights.max())
    return bool(weights.sum() ** 2 > _NEARLY_NORMAL * _LOOK * (weights**2).sum())


def starts_among(modes: list[Whitening], chains: int, posterior: Posterior, seed: int) -> np.ndarray:
    """Normal variables (n_chains, n_free) where chains begin: at the modes in turn, single values as they are there."""
    rng, single = np.random.default_rng(seed), posterior.prior.single
    starts = np.array([modes[chain % len(modes)].draw(rng, 1)[0] for chain in range(chains)])
    starts[:, single] = modes[0].centre[single]
    return starts
