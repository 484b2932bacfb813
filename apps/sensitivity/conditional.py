"""Points that share some parameters with others and are drawn anew in the rest, given these: for laws that join parameters.

A second point is changed into the first, parameter by parameter in a given order. After k steps it has the first k from
the first point, and the others by their law given those, so that averages of products are closed Sobol indices (Song,
Nelson & Staum 2016; Owen & Prieur 2017). Neighbours in this sequence share all that is random.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gnvpro.apps.sensitivity.analysed import Analysed, Places
from gnvpro.surrogate.laws.joint import Dirichlet, JointNormal
from gnvpro.surrogate.laws.law import Law
from gnvpro.surrogate.spaces import Array

# How many members of a block are taken from the first point, to parameters (n, size).
type Mixture = Callable[[int], Array]


def sequence(found: Analysed, order: Places, kept: Array, fresh: Array) -> Array:
    """Parameters (n_free + 1, n, n_in): of the `fresh` point first and of the `kept` one last.

    Parameters
    ----------
    order : (n_free,)
        In which parameters are taken from the kept point.
    kept, fresh : (n, n_free)
        Normal variables of independent points.
    """
    size, n = found.prior.n_free, len(kept)
    rank = np.empty(size, dtype=int)
    rank[order] = np.arange(size)
    steps = np.arange(size + 1)
    variables = np.where(rank < steps[:, None, None], kept, fresh)  # (size + 1, n, size)
    points = found.prior.parameters(variables.reshape(-1, size)).reshape(size + 1, n, -1)
    free = np.flatnonzero(found.prior.free)
    for places, law in found.blocks:
        mixture = mixed(law, np.argsort(rank[places]), kept[:, places], fresh[:, places])
        if mixture is None:
            continue
        taken = (rank[places] < steps[:, None]).sum(axis=1)
        for step in steps:
            points[step][:, free[places]] = mixture(int(taken[step]))
    return points


def mixed(law: Law, order: Places, kept: Array, fresh: Array) -> Mixture | None:
    """Parameters (n, size) of a joint law of which the first m in an order are kept; None where variables say it all.

    That is so of a law of one parameter. Of uniforms over their sum it is the uniforms that are kept or drawn anew.
    """
    if isinstance(law, JointNormal):
        return _of_normal(law, order, kept, fresh)
    if isinstance(law, Dirichlet):
        return _of_dirichlet(law, order, kept, fresh)
    return None


def _of_normal(law: JointNormal, order: Places, kept: Array, fresh: Array) -> Mixture:
    """In the order given, each is a mean by those before it and an innovation, which is kept or fresh."""
    factor = np.linalg.cholesky(np.array(law.covariance)[np.ix_(order, order)])
    deviations = law.from_normal(kept) - np.array(law.mean)
    innovations = np.linalg.solve(factor, deviations[:, order].T)

    def parameters(m: int) -> Array:
        points = np.empty_like(kept)
        points[:, order] = (factor @ np.concatenate([innovations[:m], fresh.T[m:]])).T
        return points + np.array(law.mean)

    return parameters


def _of_dirichlet(law: Dirichlet, order: Places, kept: Array, fresh: Array) -> Mixture:
    """Given some shares, the others divide what is left of one by the same law among themselves."""
    shares, parts = law.from_normal(kept), law.parts(fresh)[0]

    def parameters(m: int) -> Array:
        points, rest = shares.copy(), order[m:]
        if len(rest):
            left = 1 - shares[:, order[:m]].sum(axis=1, keepdims=True)
            points[:, rest] = left * parts[:, rest] / parts[:, rest].sum(axis=1, keepdims=True)
        return points

    return parameters
