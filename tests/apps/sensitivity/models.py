"""Models whose indices are known, and surrogates that cost nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.sensitivity.analysed import Analysed, analysed, scaled
from gnvpro.surrogate.spaces import Array, Axis, Space


@dataclass(frozen=True, eq=False)
class Model:
    """A function with the spaces given, and its Jacobian (n, n_out, n_in) where there is one."""

    parameters: Space
    observables: Space
    function: Callable[[Array], Array]

    block_size: ClassVar = 1 << 20  # solved at once

    def evaluate(self, y: Array) -> Array:
        return np.asarray(self.function(y)).reshape(len(y), -1)


class Differentiable(Model):
    """The same with derivatives, as differences by complex steps."""

    def jvp(self, y: Array, dy: Array) -> Array:
        return np.imag(self.evaluate(y + 1e-30j * dy)) / 1e-30


def found_of(model: Model) -> Analysed:
    """As `gnvpro.sensitivity` analyses it."""
    from gnvpro.pde_data.problems.loading import as_problem

    return scaled(analysed(as_problem(model), "the model", Prior.of(model.parameters)), 0)


def linear(space: Space, matrix: Array, observables: Space | None = None) -> Differentiable:
    """Observables matrix (n_out, n_in) times parameters."""
    names = [f"c{k}" for k in range(len(matrix))]
    return Differentiable(space, observables or Space.vector(names, units=("m",)), lambda y: y @ matrix.T)


def box(n: int) -> Space:
    """Parameters that are uniform in [-1, 1]."""
    return Space.vector([f"y{j}" for j in range(n)], lower=(-1.0,) * n, upper=(1.0,) * n, law="uniform")


TIMES_AND_SENSORS = Space((Axis("time", (0.5, 1.0, 2.0), "s"), Axis("sensor", ("left", "right"))), units=("K",))
