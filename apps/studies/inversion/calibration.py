"""Do credible intervals cover the truth as often as they say, and is the truth an equal among the draws?

Truths by the prior and observations by the likelihood make the rank of the truth among independent draws from the posterior
uniform, whatever the posterior is (Cook, Gelman and Rubin 2006; Talts et al. 2018). Draws of chains are thinned until they
are about independent. The log-likelihood is ranked beside the parameters: it tells what these do not, such as a posterior
that is the prior (Modrák et al. 2023). Parameters of one truth are not independent of each other: their pooled coverage
varies more than so many coin tosses, and its limits say by how much.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from scipy.stats import binom

from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.sampling.chains import Chains
from gnvpro.apps.reports.figure_style import BLUE, GREY, RED, styled
from gnvpro.apps.studies.inversion.uniformity import Ranks, draw_difference, p_value
from gnvpro.surrogate.spaces import Array

LEVEL = 0.95
LIKELIHOOD = "log-likelihood"
# Draws that a truth is ranked among, at most: more do not make the test of so few truths sharper.
_MOST_DRAWS = 99


@dataclass(frozen=True, eq=False)
class Calibration:
    """Of the posteriors of several truths.

    Attributes
    ----------
    names
        Names of the parameters.
    covered : (n_truths, n_in)
        Whether the interval between the quantiles of `LEVEL` has the truth.
    ranks : (n_truths, n_in + 1)
        Of the truth among `n_draws` thinned draws, 0 to n_draws: of every parameter, and of the log-likelihood.
    split_rhat, effective : (n_truths,)
        Largest and least over the parameters.
    doubts
        Posteriors that say themselves that they have not converged.
    """

    names: tuple[str, ...]
    covered: np.ndarray
    ranks: Ranks
    n_draws: int
    split_rhat: Array
    effective: Array
    doubts: int = 0

    @classmethod
    def of(cls, posteriors: Iterable[tuple[Array, Posterior, Chains]]) -> Calibration:
        """From truths (n_in,), the posteriors of their observations, and draws from these."""
        covered, among, split_rhat, effective, names, doubts = [], [], [], [], (), 0
        for truth, posterior, chains in posteriors:
            names = chains.space.names
            covered.append(inside(chains.pooled, truth))
            split_rhat.append(chains.split_rhat.max())
            effective.append(chains.effective.min())
            doubts += not chains.converged
            y = np.concatenate([truth[None], thinned(chains.pooled, _MOST_DRAWS * (1 + len(chains.pooled) // 1000))])
            among.append(np.column_stack([y, -posterior.misfit(posterior.solves.evaluate(y))]))
        n = int(np.clip(min(effective), 1, _MOST_DRAWS))
        ranks = np.array([ranked(thinned(rows[1:], n), rows[0]) for rows in among])
        return cls(names, np.array(covered), ranks, n, np.array(split_rhat), np.array(effective), doubts)

    @property
    def coverage(self) -> float:
        """Pooled over truths and parameters."""
        return float(self.covered.mean())

    @property
    def independent_intervals(self) -> float:
        """Intervals that would vary as much if they were independent: no more than there are, no fewer than truths."""
        n, k = self.covered.shape
        design = k * float(self.covered.mean(axis=1).var(ddof=1)) / (LEVEL * (1 - LEVEL)) if n > 1 else k
        return n * k / float(np.clip(design, 1.0, k))

    @property
    def limits(self) -> tuple[float, float]:
        """Of the pooled coverage, correlation within a truth considered."""
        return limits(int(self.independent_intervals))

    def uniformity(self) -> dict[str, float]:
        """p-values of uniform ranks, by parameter and of the log-likelihood."""
        names = (*self.names, LIKELIHOOD)
        return {name: p_value(self.ranks[:, j], self.n_draws) for j, name in enumerate(names)}

    @property
    def least_p(self) -> float:
        """The least of these, times how many there are (Bonferroni): below 1 - `LEVEL` the posteriors are not calibrated."""
        values = self.uniformity().values()
        return min(1.0, len(values) * min(values))

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        n, k = self.covered.shape
        return {
            "truths": n, "level": LEVEL, "pooled": self.coverage, "limits": self.limits,
            "independent_intervals": self.independent_intervals, "limits_if_all_independent": limits(n * k),
            "parameters": dict(zip(self.names, self.covered.mean(axis=0).tolist(), strict=True)),
            "limits_of_a_parameter": limits(n), "rank_uniformity_p": self.uniformity(),
            "rank_uniformity_least_p_corrected": self.least_p, "ranked_among": self.n_draws, "ranks": self.ranks.tolist(),
            "split_rhat_max": float(self.split_rhat.max()), "effective_min": float(self.effective.min()),
            "not_converged": self.doubts,
        }  # fmt: skip


def limits(n: int) -> tuple[float, float]:
    """Between which the coverage of n independent intervals is with a probability of 95 %."""
    low, high = binom.ppf([0.025, 0.975], n, LEVEL) / n
    return float(low), float(high)


def inside(draws: Array, truth: Array) -> np.ndarray:
    """Whether the interval of `LEVEL` of draws (n, n_in) has the truth (n_in,).

    Quantiles are at k / (n + 1): then the intervals of few draws cover what those of many do.
    """
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0, method="weibull")
    return (low <= truth) & (truth <= high)


def thinned(draws: Array, n: int) -> Array:
    """At most so many of draws (n_draws, k), as far from each other as they can be."""
    return draws[np.linspace(0, len(draws) - 1, min(n, len(draws))).astype(int)]


def ranked(draws: Array, truth: Array) -> Ranks:
    """How many of draws (n, k) are below the truth (k,)."""
    return (draws < truth).sum(axis=0)


def table(rows: dict[str, Calibration]) -> Table:
    """Coverage of every set of observations."""
    names = next(iter(rows.values())).names
    few = names if len(names) <= 6 else ()
    title = f"coverage of {LEVEL:.0%} credible intervals"
    table = Table("", "truths", "pooled", "within", *few, "within", "ranks uniform, p", title=title, box=None)
    for name, row in rows.items():
        n = len(row.covered)
        table.add_row(
            name, str(n), f"{row.coverage:.1%}", _between(row.limits),
            *(f"{share:.0%}" for share in row.covered.mean(axis=0)[: len(few)]),
            _between(limits(n)), f"{row.least_p:.2g}",
        )  # fmt: skip
    return table


def _between(ends: tuple[float, float]) -> str:
    return f"{100 * ends[0]:.0f}–{100 * ends[1]:.0f} %"


@styled
def rank_figure(rows: dict[str, Calibration], pooled: bool = False) -> Figure:
    """Distribution functions of ranks less the uniform one, by observations (rows) and parameters, with the band of one.

    `pooled`: of all parameters in one picture, the log-likelihood in another; those that leave the band stand out.
    """
    names = next(iter(rows.values())).names
    titles = ("all parameters", LIKELIHOOD) if pooled else (*names, LIKELIHOOD)
    figure = Figure(figsize=(2.6 * len(titles) + 1.2, 1.9 * len(rows) + 0.6), layout="constrained")
    grid = figure.subplots(len(rows), len(titles), squeeze=False, sharex=True, sharey="row")
    for i, (title, row) in enumerate(rows.items()):
        columns = [list(range(len(names))), [len(names)]] if pooled else [[j] for j in range(len(titles))]
        for j, of in enumerate(columns):
            axes, shown = grid[i, j], [row.ranks[:, k] for k in of]
            outside = [p_value(ranks, row.n_draws) < 1 - LEVEL for ranks in shown]
            usual = GREY if len(of) > 1 else BLUE
            draw_difference(axes, shown, row.n_draws, LEVEL, [RED if out else usual for out in outside])
            said = (
                f"{sum(outside)} of {len(of)} outside" if len(of) > 1 else f"p = {p_value(shown[0], row.n_draws):.2g}"
            )
            axes.text(0.97, 0.95, said, transform=axes.transAxes, ha="right", va="top", fontsize=8)
            if i == 0:
                axes.set_title(titles[j])
            if i == len(rows) - 1:
                axes.set_xlabel("rank of the truth / draws")
        grid[i, 0].set_ylabel(f"{title}\nECDF − uniform", fontsize=8)
    return figure
