"""Draws from a posterior, what they cost, and how far they can be relied on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from arviz_base import from_dict
from arviz_stats import ess, rhat
from xarray import DataTree

from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.surrogate.spaces import Array, Space

# The usual limit for chains that agree.
RHAT = 1.01
# Share of transitions of NUTS that may diverge: a failing region, or a bound far away, costs some.
_MOST_DIVERGENT = 0.002
# Above this weights have no variance to speak of, and their effective number means nothing (Vehtari et al. 2024).
LARGEST_K = 0.7
# Mean weight of points that have walked, in what it would be if they stayed among the others (`importance`).
MISSED = 2.0


class Cost:
    """Solves of the models and seconds since it was made."""

    def __init__(self, cheap: Solves | None = None, accurate: Solves | None = None) -> None:
        self._models = {"cheap": cheap, "accurate": accurate}
        self._before = self._counts()
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def _counts(self) -> dict[str, int]:
        counts = {name: 0 if model is None else model.evaluated for name, model in self._models.items()}
        counts["derivatives"] = sum(model.differentiated for model in self._models.values() if model is not None)
        return counts

    def so_far(self) -> dict[str, Any]:
        """The fields of `Chains` that tell it."""
        counts = {name: count - self._before[name] for name, count in self._counts().items()}
        return {**counts, "wall_seconds": time.monotonic() - self._wall, "cpu_seconds": time.process_time() - self._cpu}


@dataclass(frozen=True, eq=False)
class Chains:
    """Draws of several chains after warm-up.

    Attributes
    ----------
    draws : (n_chains, n_draws, n_in)
        Parameters.
    latent : (n_chains, n_draws, n_free)
        The normal variables behind them (`prior`).
    route
        In words, which sampler on which model.
    cheap, accurate, derivatives
        Evaluations of the surrogate, PDE solves, and derivatives of either, warm-up included.
    wall_seconds, cpu_seconds
        Of everything, warm-up included.
    statistics : name -> (n_chains, n_draws)
        Of the sampler, such as its acceptance.
    about
        JSON-able: what is particular to the sampler.
    """

    space: Space
    draws: Array
    latent: Array
    route: str
    cheap: int = 0
    accurate: int = 0
    derivatives: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    statistics: dict[str, Array] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, prior: Prior, latent: Array, route: str, cost: Cost, about: dict[str, Any], **statistics: Array
    ) -> Chains:
        """From normal variables (n_chains, n_draws, n_free) and what they have cost."""
        draws = prior.parameters(latent.reshape(-1, prior.n_free)).reshape(*latent.shape[:2], prior.size)
        return cls(prior.space, draws, latent, route, **cost.so_far(), statistics=statistics, about=about)

    @property
    def pooled(self) -> Array:
        """All draws (n_chains * n_draws, n_in)."""
        return self.draws.reshape(-1, self.space.size)

    @property
    def mean(self) -> Array:
        """Of the posterior (n_in,)."""
        return np.where(self.space.fixed, self.space.lower_bounds, self.pooled.mean(axis=0))

    @property
    def standard_deviation(self) -> Array:
        """Of the posterior (n_in,)."""
        return np.where(self.space.fixed, 0.0, self.pooled.std(axis=0, ddof=1))

    def quantiles(self, *levels: float) -> Array:
        """Of every parameter: (n_levels, n_in)."""
        return np.quantile(self.pooled, levels, axis=0)

    @cached_property
    def split_rhat(self) -> Array:
        """Rank-normalised split R-hat (n_in,) of Vehtari et al. (2021); near one where the chains agree."""
        return self._by_parameter(lambda draws: float(rhat(draws)), 1.0)

    @cached_property
    def effective(self) -> Array:
        """Effective samples (n_in,) of every parameter; of draws by weights no more than these have."""
        of_draws = self._by_parameter(effective_samples, self.draws.shape[0] * self.draws.shape[1])
        return np.minimum(of_draws, self._behind)

    @property
    def _behind(self) -> float:
        """Effective points behind draws that were made equal in weight (Kish); of chains, as many as one likes."""
        return float(self.about.get("weights_effective", np.inf))

    @cached_property
    def monte_carlo_error(self) -> Array:
        """Standard error of `mean` (n_in,)."""
        means = np.minimum(self._by_parameter(lambda draws: float(ess(draws, method="mean")), 1.0), self._behind)
        return self.standard_deviation / np.sqrt(means)

    def _by_parameter(self, diagnose: Callable[[Array], float], of_fixed: float) -> Array:
        """A diagnostic (n_in,) of the draws (n_chains, n_draws) of each parameter, `of_fixed` where it is fixed.

        Where a chain stays at one of the single values there are, of the normal variable behind them.
        """
        diagnosed = np.full(self.space.size, of_fixed)
        for j, z in zip(np.flatnonzero(~self.space.fixed), np.moveaxis(self.latent, 2, 0), strict=True):
            draws = self.draws[:, :, j]
            diagnosed[j] = diagnose(draws if np.ptp(draws, axis=1).all() else z)
        return diagnosed

    @property
    def converged(self) -> bool:
        """Whether split R-hat is below `RHAT` for all parameters, and the sampler itself has no `trouble`."""
        return bool((self.split_rhat < RHAT).all()) and self.trouble is None

    @property
    def trouble(self) -> str | None:
        """What the sampler itself says against its draws, whether or not they agree; None where it says nothing."""
        about, n = self.about, self.draws.shape[0] * self.draws.shape[1]
        if (divergences := about.get("divergences", 0)) > _MOST_DIVERGENT * n:
            return f"{divergences} of {n} transitions diverged, which misses narrow parts"
        if (k := np.max(about.get("pareto_k", 0.0))) > LARGEST_K:
            return f"a few points have nearly all of the weight (Pareto k {k:.2f}, expected at most {LARGEST_K})"
        if (missed := np.max(about.get("weight_after_walk", 0.0))) > MISSED:
            return f"draws that walk on come to where hardly any were drawn (weights {missed:.2g} times as large)"
        return None

    def tree(self, observed: Array | None = None, names: tuple[str, ...] = ()) -> DataTree:
        """What ArviZ reads: groups posterior, sample_stats and, of observations (n_out,), observed_data."""
        parameter = self.space.axes[0].name
        latent = np.full(self.draws.shape, np.nan)  # of what is fixed there is none
        latent[:, :, ~self.space.fixed] = self.latent
        groups: dict[str, Any] = {"posterior": {"y": self.draws}, "unconstrained_posterior": {"z": latent}}
        coords: dict[str, list[Any]] = {parameter: list(self.space.names)}
        if self.statistics:
            groups["sample_stats"] = self.statistics
        if observed is not None:
            groups["observed_data"] = {"d": observed}
            coords["observable"] = list(names) or list(range(len(observed)))
        tree = from_dict(groups, dims={"y": [parameter], "z": [parameter], "d": ["observable"]}, coords=coords)
        tree.attrs |= dict(route=self.route, n_chains=len(self.draws), evaluations=self.cheap, pde_solves=self.accurate)
        return tree

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        least = float(self.effective.min())
        low, median, high = self.quantiles(0.025, 0.5, 0.975)
        columns = {
            "mean": self.mean, "standard_deviation": self.standard_deviation, "q025": low, "median": median, "q975": high,
            "split_rhat": self.split_rhat, "effective": self.effective, "monte_carlo_error": self.monte_carlo_error,
        }  # fmt: skip
        return {
            "route": self.route, "chains": self.draws.shape[0], "draws": self.draws.shape[1],
            "parameters": {
                name: {"unit": self.space.unit(j), **{key: float(values[j]) for key, values in columns.items()}}
                for j, name in enumerate(self.space.names)
            },
            "split_rhat_max": float(self.split_rhat.max()), "effective_min": least,
            "surrogate_evaluations": self.cheap, "pde_solves": self.accurate, "derivatives": self.derivatives,
            "wall_seconds": self.wall_seconds, "cpu_seconds": self.cpu_seconds,
            "effective_per_second": least / self.wall_seconds if self.wall_seconds else None,
            "effective_per_pde_solve": least / self.accurate if self.accurate else None,
            **self.about,
        }  # fmt: skip


def effective_samples(draws: Array) -> float:
    """Of one parameter, (n_chains, n_draws): for the mean or, if fewer, the tails."""
    return float(min(ess(draws), ess(draws, method="tail", prob=(0.05, 0.95))))


def shift(chains: Chains, reference: Chains) -> tuple[Array, Array]:
    """Differences of means (n_in,) from the reference's in its standard deviations, and ratios (n_in,) of these.

    0 and 1 of a parameter that is fixed, or has one value in both.
    """
    fixed = reference.space.fixed | (reference.standard_deviation == 0) & (chains.standard_deviation == 0)
    spread = np.where(fixed, 1.0, np.maximum(reference.standard_deviation, 1e-300))
    return (chains.mean - reference.mean) / spread, np.where(fixed, 1.0, chains.standard_deviation / spread)
