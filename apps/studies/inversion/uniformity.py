"""Are ranks of truths among draws uniform? A test of the whole distribution function, and the band it is drawn with.

The number of ranks below i is binomial at every i, if they are uniform; the band that holds all of these numbers at once with
a given probability is found by simulation, and a p-value by the same simulation (Säilynoja, Bürkner and Vehtari 2022). Unlike
a histogram it needs no bins, and unlike Kolmogorov and Smirnov's test it is as watchful at the ends as in the middle.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.stats import binom

from gnvpro.apps.reports.figure_style import GREY
from gnvpro.surrogate.spaces import Array

# Sets of ranks that are simulated: a p-value of 0.05 is then known within 0.003.
_SIMULATED = 4000

Ranks = NDArray[np.int_]


def p_value(ranks: Ranks, n_draws: int) -> float:
    """Of ranks (n,) among so many draws, 0 to n_draws, being uniform."""
    found = _least_likely(ranks[None], n_draws)[0]
    return float((1 + (_simulated(len(ranks), n_draws) <= found).sum()) / (1 + _SIMULATED))


def band(n: int, n_draws: int, level: float) -> tuple[Array, Array, Array]:
    """Shares of ranks below i, over i / (n_draws + 1) (n_draws,): where they are at once with probability `level`."""
    tail = np.quantile(_simulated(n, n_draws), 1 - level) / 2
    at = _expected(n_draws)
    return at, binom.ppf(tail, n, at) / n, binom.ppf(1 - tail, n, at) / n


def draw_difference(axes: Axes, ranks: list[Ranks], n_draws: int, level: float, colours: list[str]) -> None:
    """Distribution functions of sets of ranks (n,) less the uniform one, and the band of one of them."""
    at, low, high = band(len(ranks[0]), n_draws, level)
    axes.fill_between(at, low - at, high - at, color=GREY, alpha=0.25, linewidth=0, step="mid")
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    for of, colour in zip(ranks, colours, strict=True):
        axes.step(at, _below(of[None], n_draws)[0] / len(of) - at, where="mid", color=colour, linewidth=1.0)


def _expected(n_draws: int) -> Array:
    return np.arange(1, n_draws + 1) / (n_draws + 1)


def _below(ranks: Ranks, n_draws: int) -> Ranks:
    """Of sets of ranks (k, n): how many are below i = 1 … n_draws, (k, n_draws)."""
    flat = ranks + (n_draws + 1) * np.arange(len(ranks))[:, None]
    counts = np.bincount(flat.ravel(), minlength=len(ranks) * (n_draws + 1)).reshape(len(ranks), -1)
    return counts.cumsum(axis=1)[:, :-1]


def _least_likely(ranks: Ranks, n_draws: int) -> Array:
    """Of sets of ranks (k, n): twice the smallest tail that any of their counts is in, (k,)."""
    counts, at, n = _below(ranks, n_draws), _expected(n_draws), ranks.shape[1]
    tails = np.minimum(binom.cdf(counts, n, at), binom.sf(counts - 1, n, at))
    return 2 * tails.min(axis=1)


@lru_cache(16)
def _simulated(n: int, n_draws: int) -> Array:
    ranks = np.random.default_rng(0).integers(0, n_draws + 1, (_SIMULATED, n))
    return _least_likely(ranks, n_draws)
