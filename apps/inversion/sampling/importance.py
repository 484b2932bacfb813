"""Adaptive importance sampling, tempered: for posteriors that chains do not go through.

Points are drawn in thousands at once from a mixture, each weighted by posterior over mixture; the mixture is then fitted to
the points by their weights, and so on until the weights are about even (Cappé et al. 2008). Where the modes tell little of
the posterior, it begins from the prior, with the likelihood to a power that leaves enough points in the game, as if the noise
were larger, and that rises to one. Modes are found together, with what each holds; bends and funnels take more components;
no gradient is needed, so a model that fails somewhere, or has single values, is sampled as exactly as any other. Before a
mixture is fitted, the points walk a little, by differences of each other (ter Braak 2006): a mixture alone would lose what it
once has missed. The last mixture is drawn from once more, and these points alone are the result, so that the weights are
honest; whether they cover the posterior is asked by a last walk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import logsumexp

from gnvpro.apps.inversion.posterior.posterior import Posterior, Whitening
from gnvpro.apps.inversion.sampling.chains import MISSED, Chains, Cost
from gnvpro.apps.inversion.sampling.mixture import Mixture
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array

# Points of a round, eight times the draws that are wanted, but for these limits; rounds; rounds that are used together.
_LEAST_POINTS, _MOST_POINTS, _ROUNDS, _TOGETHER = 500, 4000, 60, 3
# Share of effective points of the first round from which the modes are a good beginning; rounds without a gain until it ends.
_NEARLY_NORMAL, _PATIENCE = 0.01, 6
# Share of effective points below which weights are tempered, and at which adapting ends.
_TEMPERED, _LEAST_TEMPERED, _EVEN = 0.3, 0.03, 0.35
# Steps of walks between two rounds, by half as many points; of the walk that asks whether something was missed, by an eighth.
_STEPS, _ASKING_STEPS = 10, 30
# Of all runs together, at most.
_MOST_EVALUATIONS = 2_000_000


@dataclass(frozen=True, eq=False)
class _Weighted:
    """Points (n, n_free) and the logarithms of their weights (n,)."""

    points: Array
    log_weights: Array

    def effective(self) -> float:
        """Kish's effective number of the points."""
        return float(np.exp(2 * logsumexp(self.log_weights) - logsumexp(2 * self.log_weights))) if self.alive else 0.0

    @property
    def alive(self) -> bool:
        """Whether any has a weight."""
        return bool(np.isfinite(self.log_weights).any())

    def resampled(self, n: int, rng: np.random.Generator) -> Array:
        """So many of the points by their weights, systematically, in random order."""
        weights = np.exp(self.log_weights - self.log_weights.max())
        places = np.searchsorted(weights.cumsum() / weights.sum(), (rng.random() + np.arange(n)) / n)
        return rng.permutation(self.points[np.minimum(places, len(weights) - 1)])


@dataclass(frozen=True, eq=False)
class _Points:
    """Normal variables (n, n_free) and their log-likelihood (n,)."""

    z: Array
    log_likelihood: Array

    @classmethod
    def of(cls, posterior: Posterior, z: Array) -> _Points:
        likelihood = posterior.log_density(z) + 0.5 * (z**2).sum(axis=1)
        return cls(z, np.where(np.isfinite(likelihood), likelihood, -np.inf))

    @property
    def columns(self) -> tuple[Array, Array]:
        """Both."""
        return self.z, self.log_likelihood

    def log_density(self, power: float = 1.0) -> Array:
        """Of the posterior with the likelihood to a power; also with none of it, where the model fails there is none."""
        solved = np.isfinite(self.log_likelihood)
        tempered = power * self.log_likelihood if power else np.where(solved, 0.0, -np.inf)
        return tempered - 0.5 * (self.z**2).sum(axis=1)

    def weighted(self, mixture: Array, power: float = 1.0) -> _Weighted:
        """By the log densities (n,) that the points were drawn with."""
        return _Weighted(self.z, self.log_density(power) - mixture)


def sample_importance(
    posterior: Posterior,
    modes: list[Whitening],
    *,
    chains: int,
    draws: int,
    seed: int,
    report: Report | None = None,
) -> tuple[Chains, Mixture]:
    """Draw by several independent runs, whose draws have equal weights, one run a chain; and the best mixture.

    Parameters
    ----------
    modes
        Normal approximations that the runs begin by.

    Raises
    ------
    NumericalFailure
        The model could be solved at none of the points of a first round.
    """
    cost, runs, mixtures = Cost(cheap=posterior.solves), [], []
    limit, size = _MOST_EVALUATIONS // chains, int(np.clip(8 * draws, _LEAST_POINTS, _MOST_POINTS))
    heights = posterior.log_density(np.array([mode.centre for mode in modes]))
    first = Mixture.at_modes(modes, np.where(np.isfinite(heights), heights, -1e300))
    for run in range(chains):
        rng = np.random.default_rng([seed, 3, run])

        def tell(note: str, run: int = run) -> None:
            if report is not None:
                report(run, chains, f"run {run + 1} of {chains}, {note}")

        mixture, rounds = _adapted(posterior, first, size, rng, tell)
        mixtures.append(mixture)
        found = _drawn(posterior, mixture, draws, limit - rounds * size, rng)
        runs.append((found, len(mixture.shares), rounds, _after_walk(posterior, mixture, found, rng)))
        tell(f"{found.effective():.0f} effective of {len(found.points)} points")
    latent = np.array([
        found.resampled(draws, np.random.default_rng([seed, 4, run])) for run, (found, *_) in enumerate(runs)
    ])  # fmt: skip
    weights = [found for found, *_ in runs]
    about = {
        "components": [components for _, components, *_ in runs], "rounds": [rounds for *_, rounds, _ in runs],
        "effective_share": [found.effective() / len(found.points) for found in weights],
        "log_evidence": [float(logsumexp(found.log_weights) - np.log(len(found.points))) for found in weights],
        "pareto_k": [_pareto_k(found.log_weights) for found in weights],
        "weight_after_walk": [missed for *_, missed in runs],
        "weights_effective": sum(found.effective() for found in weights),
    }  # fmt: skip
    chains_found = Chains.of(posterior.prior, latent, "importance sampling on the surrogate", cost, about)
    return chains_found, mixtures[int(np.argmax(about["effective_share"]))]


def _adapted(
    posterior: Posterior, first: Mixture, size: int, rng: np.random.Generator, tell: Callable[[str], None]
) -> tuple[Mixture, int]:
    """A mixture whose points have even weights, as far as that can be reached, and the rounds it took.

    From the modes, if these tell nearly all of the posterior; else from the prior, the likelihood being tempered.
    """
    mixture, most = first, 0.0
    latest: list[tuple[Mixture, _Points]] = []
    power, best, stalled, from_modes, done = 0.0, first, 0, False, 0
    for done in range(1, _ROUNDS + 1):
        latest = [*latest, (mixture, _Points.of(posterior, mixture.draw(size, rng)))][-_TOGETHER:]
        fresh = latest[-1][1].weighted(mixture.log_density(latest[-1][1].z))
        share = fresh.effective() / size if fresh.alive else 0.0
        tell(
            f"round {done}: {share:.1%} of the points effective" + (f", likelihood to {power:.2g}" if power < 1 else "")
        )
        if share > most and (done == 1 or power > 0.5):
            best, most = mixture, share
        missed = False
        if share >= _EVEN:
            if _after_walk(posterior, mixture, fresh, rng) <= MISSED:
                return mixture, done
            missed, most = True, 0.0
        if done == 1 and share >= _NEARLY_NORMAL and not missed:
            from_modes, power = True, 1.0
        elif done == 1 or (missed and from_modes):
            from_modes, power, latest = False, 0.0, []
            mixture = Mixture.prior(posterior.prior.n_free)
            continue
        # All late points, as if drawn from the mean of their mixtures.
        together = _Points(
            *(np.concatenate(column) for column in zip(*(points.columns for _, points in latest), strict=True))
        )
        density = logsumexp([of.log_density(together.z) for of, _ in latest], axis=0) - np.log(len(latest))
        if not together.weighted(density, 0.0).alive:
            raise NumericalFailure(
                f"the forward model could be solved at none of {len(together.z)} points of the prior"
            )
        # Fewer effective points are made do with where components are too few for so thin a posterior.
        further = max(power, _power(together, density, size, max(_TEMPERED / 2**stalled, _LEAST_TEMPERED)))
        gained = further > 1.05 * power or (power == 1.0 and share == most)
        stalled = max(0, stalled - 1) if gained else stalled + 1
        power = further
        if stalled > _PATIENCE:
            break
        draws = together.weighted(density, power).resampled(size // 2, rng)
        mixture = Mixture.fitted(_walked(posterior, draws, power, _STEPS, rng), rng)
    return best, done


def _walked(posterior: Posterior, z: Array, power: float, steps: int, rng: np.random.Generator) -> Array:
    """Points (n, n_free) after steps of Metropolis by differences of pairs of the others; the likelihood to a power."""

    def log_density(z: Array) -> Array:
        return _Points.of(posterior, z).log_density(power)

    n, half = z.shape[1], len(z) // 2
    z = z[: 2 * half].copy()
    density = log_density(z)
    for step in range(steps):
        # One half moves by the differences of the other, which is what makes the proposal symmetric.
        moving, others = (slice(0, half), slice(half, None)) if step % 2 else (slice(half, None), slice(0, half))
        pairs = rng.integers(half, size=(2, half))
        apart = z[others][pairs[0]] - z[others][pairs[1]]
        scale = 2.38 / np.sqrt(2 * n) * np.exp(rng.uniform(np.log(1e-3), 0.2, (half, 1)))
        proposed = z[moving] + scale * apart
        new = log_density(proposed)
        with np.errstate(invalid="ignore"):
            taken = np.log(rng.random(half)) < new - density[moving]
        z[moving] = np.where(taken[:, None], proposed, z[moving])
        density[moving] = np.where(taken, new, density[moving])
    return z


def _after_walk(posterior: Posterior, mixture: Mixture, found: _Weighted, rng: np.random.Generator) -> float:
    """Mean weight of draws after a walk over what it is expected to be: far above one, if the points miss some.

    The posterior's mean of a weight w is E[w^2] / E[w] over the points: what a walk, which leaves the posterior as it is,
    may not change. A point that has walked to where the mixture has hardly any density has a weight far above these.
    """
    walked = _walked(posterior, found.resampled(len(found.points) // 8, rng), 1.0, _ASKING_STEPS, rng)
    there = logsumexp(posterior.log_density(walked) - mixture.log_density(walked)) - np.log(len(walked))
    return float(np.exp(there - logsumexp(2 * found.log_weights) + logsumexp(found.log_weights)))


def _power(points: _Points, mixture: Array, size: int, share: float) -> float:
    """The largest power of the likelihood, up to one, that leaves this share of the points of a round effective."""
    least = share * size
    if points.weighted(mixture).effective() >= least:
        return 1.0
    low, high = -40.0, 0.0  # logarithms
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if points.weighted(mixture, np.exp(middle)).effective() >= least else (low, middle)
    return float(np.exp(low))


def _drawn(posterior: Posterior, mixture: Mixture, effective: int, limit: int, rng: np.random.Generator) -> _Weighted:
    """Points of the mixture until so many are effective, or up to the limit."""
    parts: list[_Weighted] = []
    while True:
        points = mixture.draw(max(_LEAST_POINTS, min(effective, _MOST_POINTS)), rng)
        parts.append(_Points.of(posterior, points).weighted(mixture.log_density(points)))
        found = _Weighted(
            *(np.concatenate(column) for column in zip(*((p.points, p.log_weights) for p in parts), strict=True))
        )
        if (found.alive and found.effective() >= effective) or len(found.points) >= limit:
            if not found.alive:
                raise NumericalFailure(f"the forward model could be solved at none of {len(found.points)} points")
            return found


def _pareto_k(log_weights: Array) -> float:
    """Shape of the tail of the weights, by ArviZ; finite variance below a half."""
    with np.errstate(all="ignore"):
        _, shape = array_stats.psislw(-log_weights[np.isfinite(log_weights)])
    return float(shape)
