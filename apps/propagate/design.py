"""At which of the drawn parameters the PDE is solved: everywhere by the law, and most where it decides about a limit.

All draws of the law are a finite population with known surrogate values. What the PDE changes of a mean over it is the
mean of differences, which a weighted sample of the population tells without bias, whatever the weights are chosen by
(Horvitz and Thompson 1952). Chances to be chosen are those of a defensive mixture (Hesterberg 1995): a share by the law,
so that no weight exceeds 1 / (share n), and the rest by how near the surrogate is to the limit, in widths of its error
band. They fall off as one over that distance: the solves are spread over every scale of it alike, so that a band that is
a hundred times too narrow costs a factor of a few and no bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.spaces import Array

# Share of the solves that are placed by the law alone, where others go to a limit.
BY_LAW = 0.4


@dataclass(frozen=True, eq=False)
class Chosen:
    """Draws of the population, in pairs: numbers 2j and 2j + 1 are independent draws from the same stratum.

    Attributes
    ----------
    rows : (n,)
        Of the population; one may be there several times.
    weights : (n,)
        Σ weights x is an unbiased estimate of the mean of x over the population.
    """

    rows: NDArray[np.intp]
    weights: Array


def choose(n: int, key: Array, distance: Array | None, rng: np.random.Generator) -> Chosen:
    """Choose n members of a population of N, n even, in n / 2 strata of equal chance.

    Parameters
    ----------
    key : (N,)
        Strata are runs of this order, so that their members are alike.
    distance : (N,)
        From the nearest limit, in widths of the error band; None without limits: all have the same chance.
    """
    density = np.ones(len(key))
    if distance is not None:
        near = 1 / np.maximum(1.0, distance)
        density = BY_LAW + (1 - BY_LAW) * near / near.mean()
    order = np.argsort(key, kind="stable")
    reached = np.cumsum(density[order])
    at = (np.repeat(np.arange(n // 2), 2) + rng.random(n)) / (n // 2) * reached[-1]
    rows = order[np.minimum(np.searchsorted(reached, at, side="right"), len(key) - 1)]
    return Chosen(rows, 1 / (n * density[rows]))
