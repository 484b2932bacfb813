"""What prior and posterior say of every parameter alone: the numbers behind table and figures of an inversion."""

from __future__ import annotations

import numpy as np
from scipy.stats import gaussian_kde, norm, truncnorm, uniform

from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.result import InversionResult
from gnvpro.surrogate.spaces import Array, Space

# Draws of the prior that its quantiles are taken from, and their seed.
_PRIOR_DRAWS, _SEED = 1 << 14, 0
LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def interval(inversion: InversionResult) -> Array:
    """Credible interval (n_in, 2) of every parameter at `LEVEL`, by the draws of the best route.

    Without draws it is that of the Laplace approximation, cut off at the bounds.
    """
    if inversion.best_chains is not None:
        return inversion.best_chains.quantiles(*TAILS).T
    best, prior = inversion.map, inversion.density.prior
    ends = best.parameters[:, None] + norm.ppf(TAILS) * best.standard_deviations[:, None]
    return np.clip(ends, prior.lower[:, None], prior.upper[:, None])


def spread(inversion: InversionResult) -> Array:
    """Posterior standard deviations (n_in,) of the draws; else Laplace's or the prior's: Laplace's knows no bounds."""
    if inversion.best_chains is not None:
        return inversion.best_chains.standard_deviation
    return np.minimum(inversion.map.standard_deviations, prior_spread(inversion.density.prior))


def relative_spread(inversion: InversionResult) -> Array:
    """Posterior over prior standard deviation (n_in,): near 0 the data inform a parameter well, near 1 not at all."""
    return spread(inversion) / prior_spread(inversion.density.prior)


def best_informed(inversion: InversionResult, most: int) -> list[int]:
    """At most so many parameters, those that the data inform best, in the order of the space."""
    return sorted(np.argsort(relative_spread(inversion), kind="stable")[:most].tolist())


def prior_spread(prior: Prior) -> Array:
    """Prior standard deviations (n_in,)."""
    return np.sqrt(np.diagonal(prior.moments[1]))


def prior_interval(prior: Prior) -> Array:
    """Of every parameter (n_in, 2): between its quantiles at `LEVEL`."""
    return np.quantile(_draws(prior), TAILS, axis=0).T


def prior_density(prior: Prior, parameter: int, at: Array) -> Array:
    """Density (n,) of one parameter under the prior, 0 outside its bounds; on a simplex a kernel estimate from draws."""
    low, high = prior.lower[parameter], prior.upper[parameter]
    if prior.simplex:
        return np.where((at >= low) & (at <= high), gaussian_kde(_draws(prior)[:, parameter])(at), 0.0)
    if not prior.normal[parameter]:
        return uniform.pdf(at, low, high - low)
    mean, deviation = prior.mean[parameter], prior.standard_deviation[parameter]
    return truncnorm.pdf(at, (low - mean) / deviation, (high - mean) / deviation, mean, deviation)


def unit(space: Space, parameter: int) -> str:
    """Of one parameter; empty where there is none to show."""
    text = space.unit(parameter)
    return "" if text in ("1", "unknown") else text


def labelled_parameter(space: Space, parameter: int) -> str:
    """Its name with its unit."""
    text = unit(space, parameter)
    return space.names[parameter] + (f" ({text})" if text else "")


def _draws(prior: Prior) -> Array:
    return prior.draw(np.random.default_rng(_SEED), _PRIOR_DRAWS)
