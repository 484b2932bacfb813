"""Functions of the literature with a cheaper version of each, as co-kriging is tried on, and co-kriging itself.

Borehole and Park (Xiong, Qian & Wu, Sequential design and analysis of high-accuracy and low-accuracy computer codes,
Technometrics 2013). The fine samples are some of the coarse ones, which co-kriging asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gnvpro.apps.studies.surrogates.functions import FUNCTIONS, Function
from gnvpro.surrogate.extras import require
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array

TEST = 2000


def _coarse_borehole(y: Array) -> Array:
    radius, influence, upper, upper_head, lower, lower_head, length, conductivity = y.T
    ratio = np.log(influence / radius)
    leak = 2 * length * upper / (ratio * radius**2 * conductivity)
    return 5 * upper * (upper_head - lower_head) / (ratio * (1.5 + leak + upper / lower))


def _park(y: Array) -> Array:
    a, b, c, d = y.T
    return a / 2 * (np.sqrt(1 + (b + c**2) * d / a**2) - 1) + (a + 3 * d) * np.exp(1 + np.sin(c))


def _coarse_park(y: Array) -> Array:
    a, b, c, _ = y.T
    return (1 + np.sin(a) / 10) * _park(y) - 2 * a + b**2 + c**2 + 0.5


PARK = Function("park", _park, {f"x{j}": (1e-3, 1.0) for j in range(1, 5)})


@dataclass(frozen=True, eq=False)
class Pair:
    """A function and its cheaper version."""

    fine: Function
    coarse: Callable[[Array], Array]

    def samples(self, n_coarse: int, n_fine: int, seed: int) -> tuple[Samples, Samples]:
        """A Latin hypercube of coarse samples, and fine ones at some of its points."""
        y, _ = self.fine.design(n_coarse, seed)
        chosen = np.random.default_rng(seed).permutation(n_coarse)[:n_fine]
        spaces = self.fine.parameter_space, self.fine.observable_space
        cheap = Samples(y, self.coarse(y)[:, None], *spaces)
        return cheap, Samples(y[chosen], self.fine.observe(y[chosen]), *spaces)

    def test(self) -> Samples:
        """Fine samples that measure."""
        return Samples(*self.fine.test(TEST), self.fine.parameter_space, self.fine.observable_space)


PAIRS = {"borehole": Pair(FUNCTIONS["borehole"], _coarse_borehole), "park": Pair(PARK, _coarse_park)}


def co_kriging(coarse: Samples, fine: Samples, seed: int) -> Callable[[Array], Array]:
    """SMT's recursive co-kriging (Le Gratiet & Garnier 2014) with its defaults, in the unit cube of the coarse samples."""
    require("smt", "co-kriging needs it; leave it out of methods or", "peers")
    from smt.applications.mfk import MFK

    lower, width = coarse.parameters.min(0), np.ptp(coarse.parameters, axis=0)
    model = MFK(print_global=False, seed=seed)
    model.set_training_values((coarse.parameters - lower) / width, coarse.observables, name=0)
    model.set_training_values((fine.parameters - lower) / width, fine.observables)
    model.train()
    return lambda y: model.predict_values((y - lower) / width)
