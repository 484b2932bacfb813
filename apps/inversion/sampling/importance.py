"""Adaptive importance sampling, tempered: for posteriors that chains do not go through.

Points are drawn in thousands at once from a mixture, each weighted by posterior over mixture; the mixture is then fitted to
the points by their weights, and so on until the weights are about even (Cappé et al. 2008). As long as they are not, they are
tempered: taken to the power that leaves enough points in the game, which is as if the noise were larger. Modes are found
together, with what each holds; bends and funnels take more components; nothing has to wander from one place to another, and no
gradient is needed, so a model that fails somewhere, or has single values, is sampled as exactly as any other. The last mixture is
drawn from once more: these points alone are the result, so that the weights are honest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import logsumexp

from gnvpro.apps.inversion.posterior.posterior import Posterior, Whitening
from gnvpro.apps.inversion.sampling.chains import Chains, Cost
from gnvpro.apps.inversion.sampling.mixture import Mixture
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array

# Points of a round; rounds at most; rounds that are used together.
_POINTS, _ROUNDS, _TOGETHER = 4000, 30, 3
# Share of effective points below which weights are tempered, and at which adapting ends.
_TEMPERED, _EVEN = 0.1, 0.35
# Components of the mixture at first, while tempered, and at most.
_COMPONENTS, _MOST_COMPONENTS = 4, 64
# Rounds without a gain of a tenth after which adapting ends.
_PATIENCE = 3
# Of all runs together, at most.
_MOST_EVALUATIONS = 2_000_000
# Above this the weights have no variance to speak of, and an effective size means nothing (Vehtari et al. 2024).
LARGEST_K = 0.7


@dataclass(frozen=True, eq=False)
class _Weighted:
    """Points (n, n_free) and the logarithms of their weights (n,)."""

    points: Array
    log_weights: Array

    def effective(self, power: float = 1.0) -> float:
        """Kish's effective number of the points, of weights to this power."""
        return float(np.exp(2 * logsumexp(power * self.log_weights) - logsumexp(2 * power * self.log_weights)))

    @property
    def alive(self) -> bool:
        """Whether any has a weight."""
        return bool(np.isfinite(self.log_weights).any())

    def resampled(self, n: int, rng: np.random.Generator, power: float = 1.0) -> Array:
        """So many of the points by their weights, systematically, in random order."""
        with np.errstate(invalid="ignore"):
            weights = np.exp(power * (self.log_weights - self.log_weights.max()))
        places = np.searchsorted(weights.cumsum() / weights.sum(), (rng.random() + np.arange(n)) / n)
        return rng.permutation(self.points[np.minimum(places, len(weights) - 1)])


def sample_importance(
    posterior: Posterior,
    modes: list[Whitening],
    *,
    chains: int,
    draws: int,
    seed: int,
    report: Report | None = None,
) -> Chains:
    """Draw from a posterior by several independent runs, whose draws have equal weights: one run a chain.

    Parameters
    ----------
    modes
        Normal approximations that the runs begin by.

    Raises
    ------
    NumericalFailure
        The model could be solved at none of the points of a first round.
    """
    cost, runs = Cost(cheap=posterior.solves), []
    limit = _MOST_EVALUATIONS // chains
    heights = posterior.log_density(np.array([mode.centre for mode in modes]))
    first = Mixture.at_modes(modes, np.where(np.isfinite(heights), heights, -1e300))
    for run in range(chains):
        rng = np.random.default_rng([seed, 3, run])
        mixture, rounds = _adapted(posterior, first, rng, run, chains, report)
        found = _drawn(posterior, mixture, draws, limit - rounds * _POINTS, rng)
        runs.append((found, len(mixture.shares), rounds))
        if report is not None:
            report(run + 1, chains, f"run {run + 1} of {chains}: {found.effective():.0f} effective of {len(found.points)} points")
    latent = np.array([
        found.resampled(draws, np.random.default_rng([seed, 4, run])) for run, (found, *_) in enumerate(runs)
    ])  # fmt: skip
    weights = [found for found, *_ in runs]
    about = {
        "components": [components for _, components, _ in runs], "rounds": [rounds for *_, rounds in runs],
        "effective_share": [found.effective() / len(found.points) for found in weights],
        "log_evidence": [float(logsumexp(found.log_weights) - np.log(len(found.points))) for found in weights],
        "pareto_k": [_pareto_k(found.log_weights) for found in weights],
        "weights_effective": sum(found.effective() for found in weights),
    }  # fmt: skip
    return Chains.of(posterior.prior, latent, "importance sampling on the surrogate", cost, about)


def _weighted(posterior: Posterior, points: Array, mixture: Array) -> _Weighted:
    """By the log densities (n,) that the points were drawn with."""
    density = posterior.log_density(points)
    return _Weighted(points, np.where(np.isfinite(density), density - mixture, -np.inf))


def _adapted(
    posterior: Posterior, mixture: Mixture, rng: np.random.Generator, run: int, runs: int, report: Report | None
) -> tuple[Mixture, int]:
    """The mixture whose points have the most even weights, and the rounds it took."""
    latest: list[tuple[Mixture, Array, Array]] = []  # mixture, points, log posterior
    best, most, since, components = mixture, 0.0, 0, _COMPONENTS
    for done in range(1, _ROUNDS + 1):
        points = mixture.draw(_POINTS, rng)
        latest = [*latest, (mixture, points, posterior.log_density(points))][-_TOGETHER:]
        fresh = _Weighted(points, _finite(latest[-1][2] - mixture.log_density(points)))
        share = fresh.effective() / _POINTS if fresh.alive else 0.0
        if report is not None:
            report(run + done / _ROUNDS, runs, f"run {run + 1} of {runs}, round {done}: {share:.1%} of the points effective")
        gained = share > 1.1 * most
        if share > most:
            best, most = mixture, share
        since = 0 if gained else since + 1
        if share >= _EVEN:
            break
        # All late points, as if drawn from the mean of their mixtures.
        together = np.concatenate([points for _, points, _ in latest])
        density = logsumexp([m.log_density(together) for m, *_ in latest], axis=0) - np.log(len(latest))
        weighted = _Weighted(together, _finite(np.concatenate([log for *_, log in latest]) - density))
        if not weighted.alive:
            raise NumericalFailure(f"the forward model could be solved at none of {len(together)} points near its modes")
        power = _power(weighted)
        if power == 1.0:
            if since >= _PATIENCE and components == _MOST_COMPONENTS:
                break
            if not gained and components < _MOST_COMPONENTS:
                components, since = 2 * components, 0
        mixture = Mixture.fitted(weighted.resampled(_POINTS, rng, power), components, rng)
    return best, done


def _finite(log_weights: Array) -> Array:
    return np.where(np.isfinite(log_weights), log_weights, -np.inf)


def _power(weighted: _Weighted) -> float:
    """The largest power, up to one, that leaves the share `_TEMPERED` of the points effective."""
    least = _TEMPERED * len(weighted.points) / _TOGETHER
    if weighted.effective() >= least:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if weighted.effective(middle) >= least else (low, middle)
    return low


def _drawn(posterior: Posterior, mixture: Mixture, effective: int, limit: int, rng: np.random.Generator) -> _Weighted:
    """Points of the mixture until so many are effective, or up to the limit."""
    parts: list[_Weighted] = []
    while True:
        points = mixture.draw(_POINTS, rng)
        parts.append(_weighted(posterior, points, mixture.log_density(points)))
        found = _Weighted(*(np.concatenate(column) for column in zip(*((p.points, p.log_weights) for p in parts), strict=True)))
        if (found.alive and found.effective() >= effective) or len(found.points) + _POINTS > limit:
            if not found.alive:
                raise NumericalFailure(f"the forward model could be solved at none of {len(found.points)} points")
            return found


def _pareto_k(log_weights: Array) -> float:
    """Shape of the tail of the weights, by ArviZ; finite variance below a half."""
    with np.errstate(all="ignore"):
        _, shape = array_stats.psislw(log_weights[np.isfinite(log_weights)])
    return float(shape)
