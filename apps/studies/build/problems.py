"""Eight problems of the literature that cost nothing to solve, each named `gnvpro.apps.studies.build.problems:NAME`.

Seven functions of `surrogates.functions`, one of which jumps, and a field: the pressure of Darcy flow, whose log-permeability
has the first six modes of `surrogates.darcy`, their coefficients uniform instead of normal, with variance one.
"""

from __future__ import annotations

import math
from functools import cached_property, partial

import numpy as np

from gnvpro.apps.studies.surrogates import darcy
from gnvpro.apps.studies.surrogates.functions import FUNCTIONS, Function
from gnvpro.pde_data.problems.contract import PickledWithoutCaches
from gnvpro.surrogate.spaces import Array, Space

_MODES = 6


class FunctionProblem(PickledWithoutCaches):
    """A function as a problem; the law is uniform in its box."""

    block_size = 32

    def __init__(self, function: str) -> None:
        self._function = function

    @cached_property
    def function(self) -> Function:
        """What is solved."""
        return FUNCTIONS[self._function]

    @cached_property
    def parameters(self) -> Space:
        """Names and bounds."""
        return self.function.parameter_space

    @cached_property
    def observables(self) -> Space:
        """Names and units."""
        return self.function.observable_space

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out), without noise."""
        return self.function.observe(y)


class Field:
    """Darcy flow: the pressure on 50 x 50 cells by six coefficients of the log-permeability."""

    block_size = 8
    parameters = Space.vector(
        [f"mode {k}" for k in range(1, _MODES + 1)],
        lower=(-math.sqrt(3),) * _MODES,
        upper=(math.sqrt(3),) * _MODES,
        law="uniform",
    )
    observables = darcy.spaces()[1]

    def evaluate(self, y: Array) -> Array:
        """Pressures (n, 2500)."""
        others = np.zeros(darcy.MODES - _MODES)
        return np.array([darcy.pressure(np.concatenate([row, others])) for row in y])


borehole = partial(FunctionProblem, "borehole")
otl = partial(FunctionProblem, "otl")
piston = partial(FunctionProblem, "piston")
wing = partial(FunctionProblem, "wing")
ishigami = partial(FunctionProblem, "ishigami")
friedman = partial(FunctionProblem, "friedman")
jump = partial(FunctionProblem, "disc")
field = Field

LITERATURE = ("borehole", "otl", "piston", "wing", "ishigami", "friedman", "field", "jump")
