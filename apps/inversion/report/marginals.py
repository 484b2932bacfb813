"""What prior and posterior say of every parameter alone: the numbers behind table and figures of an inversion."""

from __future__ import annotations

import numpy as np
from scipy.stats import gaussian_kde, norm

from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.result import Inversion
from gnvpro.surrogate.spaces import Array, Space

# Draws of the prior that its quantiles are taken from, and their seed.
_PRIOR_DRAWS, _SEED = 1 << 14, 0
LEVEL = 0.95


def interval(inversion: Inversion) -> Array:
    """Credible interval (n_in, 2) of every parameter at `LEVEL`, by the answer's draws.

    Without draws it is that of the Laplace approximation, cut off at the bounds.
    """
    tail = (1 - LEVEL) / 2
    if inversion.answer is not None:
        return inversion.answer.quantiles(tail, 1 - tail).T
    best, prior = inversion.best, inversion.posterior.prior
    half = norm.ppf(1 - tail) * best.standard_deviations
    ends = np.stack([best.parameters - half, best.parameters + half], axis=1)
    return np.clip(ends, prior.lower[:, None], prior.upper[:, None])


def spread(inversion: Inversion) -> Array:
    """Posterior standard deviations (n_in,): of the draws.

    Where nothing was drawn, Laplace's or the prior's, whichever is smaller: Laplace's knows no bounds.
    """
    if inversion.answer is not None:
        return inversion.answer.standard_deviation
    return np.minimum(inversion.best.standard_deviations, prior_spread(inversion.posterior.prior))


def relative_spread(inversion: Inversion) -> Array:
    """Posterior over prior standard deviation (n_in,): near 0 the data tell a parameter, near 1 they say nothing of it."""
    return spread(inversion) / prior_spread(inversion.posterior.prior)


def best_informed(inversion: Inversion, most: int) -> list[int]:
    """Which parameters, at most so many, the data tell most of; in the order of the space."""
    return sorted(np.argsort(relative_spread(inversion), kind="stable")[:most].tolist())


def prior_spread(prior: Prior) -> Array:
    """Prior standard deviations (n_in,)."""
    return np.sqrt(np.diagonal(prior.moments[1]))


def prior_interval(prior: Prior) -> Array:
    """Of every parameter (n_in, 2): between its quantiles at `LEVEL`."""
    tail = (1 - LEVEL) / 2
    return np.quantile(_draws(prior), (tail, 1 - tail), axis=0).T


def prior_density(prior: Prior, parameter: int, at: Array) -> Array:
    """Density (n,) of one parameter under the prior; 0 outside its bounds.

    Exact, but on a simplex: there it is a kernel estimate from draws.
    """
    low, high = prior.lower[parameter], prior.upper[parameter]
    inside = (at >= low) & (at <= high)
    density = np.zeros(len(at))
    if prior.simplex:
        density[inside] = gaussian_kde(_draws(prior)[:, parameter])(at[inside])
        return density
    if prior.normal[parameter]:
        law = dict(loc=prior.mean[parameter], scale=prior.standard_deviation[parameter])
        density[inside] = norm.pdf(at[inside], **law) / (norm.cdf(high, **law) - norm.cdf(low, **law))
    else:
        density[inside] = 1 / (high - low)
    return density


def unit(space: Space, parameter: int) -> str:
    """Of one parameter; empty where there is none to show."""
    found = space.units[parameter if len(space.units) > 1 else 0]
    return "" if found in ("1", "unknown") else found


def labelled_parameter(space: Space, parameter: int) -> str:
    """Its name with its unit."""
    found = unit(space, parameter)
    return space.names[parameter] + (f" ({found})" if found else "")


def _draws(prior: Prior) -> Array:
    return prior.draw(np.random.default_rng(_SEED), _PRIOR_DRAWS)
