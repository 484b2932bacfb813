"""Do credible intervals cover the truth as often as they say, and is the truth an equal among the draws?

Truths by the prior and observations by the likelihood make the rank of the truth among draws from the posterior uniform,
whatever the posterior is (Cook, Gelman and Rubin 2006). Parameters of one truth are not independent of each other: their
pooled coverage varies more than so many coin tosses, and its limits say by how much.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from scipy.stats import binom, kstest

from gnvpro.apps.inversion.sampling.chains import Chains
from gnvpro.apps.reports.figure_style import BLUE, GREY, styled
from gnvpro.surrogate.spaces import Array

LEVEL = 0.95
_BINS = 10


@dataclass(frozen=True, eq=False)
class Calibration:
    """Of the posteriors of several truths.

    Attributes
    ----------
    names
        Names of the parameters.
    covered : (n_truths, n_in)
        Whether the interval between the quantiles of `LEVEL` has the truth.
    ranks : (n_truths, n_in)
        Share of draws below the truth.
    split_rhat, effective : (n_truths,)
        Largest and least over the parameters.
    """

    names: tuple[str, ...]
    covered: np.ndarray
    ranks: Array
    split_rhat: Array
    effective: Array

    @classmethod
    def of(cls, posteriors: Iterable[tuple[Array, Chains]]) -> Calibration:
        """From truths (n_in,) and draws from the posteriors of their observations."""
        rows = [
            (*placed(chains.pooled, truth), chains.split_rhat.max(), chains.effective.min(), chains.space.names)
            for truth, chains in posteriors
        ]
        covered, ranks, split_rhat, effective, names = zip(*rows, strict=True)
        return cls(names[0], np.array(covered), np.array(ranks), np.array(split_rhat), np.array(effective))

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

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        n, k = self.covered.shape
        return {
            "truths": n, "level": LEVEL, "pooled": self.coverage, "limits": self.limits,
            "independent_intervals": self.independent_intervals, "limits_if_all_independent": limits(n * k),
            "parameters": dict(zip(self.names, self.covered.mean(axis=0).tolist(), strict=True)),
            "limits_of_a_parameter": limits(n),
            "rank_uniformity_p": {
                name: float(kstest(self.ranks[:, j], "uniform").pvalue) for j, name in enumerate(self.names)
            },
            "ranks": self.ranks.tolist(), "split_rhat_max": float(self.split_rhat.max()),
            "effective_min": float(self.effective.min()),
        }  # fmt: skip


def limits(n: int) -> tuple[float, float]:
    """Between which the coverage of n independent intervals is with a probability of 95 %."""
    low, high = binom.ppf([0.025, 0.975], n, LEVEL) / n
    return float(low), float(high)


def placed(draws: Array, truth: Array) -> tuple[np.ndarray, Array]:
    """Whether the interval of `LEVEL` of draws (n, n_in) has the truth (n_in,), and the share of draws below it.

    Quantiles are at k / (n + 1): then the intervals of few draws cover what those of many do.
    """
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0, method="weibull")
    return (low <= truth) & (truth <= high), (draws < truth).mean(axis=0)


def table(rows: dict[str, Calibration]) -> Table:
    """Coverage of every set of observations."""
    names = next(iter(rows.values())).names
    few = names if len(names) <= 6 else ()
    title = f"coverage of {LEVEL:.0%} credible intervals"
    table = Table("", "truths", "pooled", "within", *few, "within", title=title, box=None)
    for name, row in rows.items():
        n = len(row.covered)
        table.add_row(
            name, str(n), f"{row.coverage:.1%}", _between(row.limits),
            *(f"{share:.0%}" for share in row.covered.mean(axis=0)[: len(few)]),
            _between(limits(n)),
        )  # fmt: skip
    return table


def _between(ends: tuple[float, float]) -> str:
    return f"{100 * ends[0]:.0f}–{100 * ends[1]:.0f} %"


@styled
def rank_figure(rows: dict[str, Calibration], pooled: bool = False) -> Figure:
    """Histograms of ranks by observations (rows) and parameters; shaded, where 95 % of the bins of a uniform law are."""
    names = ("all parameters",) if pooled else next(iter(rows.values())).names
    figure = Figure(figsize=(2.6 * len(names) + 1.2, 1.9 * len(rows) + 0.6), layout="constrained")
    grid = figure.subplots(len(rows), len(names), squeeze=False, sharex=True)
    for i, (title, row) in enumerate(rows.items()):
        for j, name in enumerate(names):
            ranks, axes = row.ranks.ravel() if pooled else row.ranks[:, j], grid[i, j]
            # Pooled ranks vary as those of fewer independent ones.
            fair = len(ranks) / _BINS
            n = row.independent_intervals if pooled else len(ranks)
            low, high = binom.ppf([0.025, 0.975], int(n), 1 / _BINS) * len(ranks) / n
            axes.axhspan(low, high, color=GREY, alpha=0.25, linewidth=0)
            axes.axhline(fair, color=GREY, linewidth=0.8)
            axes.hist(ranks, bins=_BINS, range=(0, 1), color=BLUE, alpha=0.8, edgecolor="white")
            if i == 0:
                axes.set_title(name)
            if i == len(rows) - 1:
                axes.set_xlabel("share of draws below the truth")
        grid[i, 0].set_ylabel(f"{title}\ntruths", fontsize=8)
    return figure
