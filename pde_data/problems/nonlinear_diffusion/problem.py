"""Stationary nonlinear diffusion as a forward model: from ten parameters to a field.

The equation is in newton.py; this is what a user sees. Every sample is a Newton iteration of its own, and a derivative one
linear system with the last one's matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import PickledWithoutCaches, Problem, SolveStatus, checked_directions
from gnvpro.pde_data.problems.linear_systems import SolverFailure
from gnvpro.pde_data.problems.nonlinear_diffusion.newton import FREQUENCIES, NewtonSolver
from gnvpro.pde_data.problems.options import options_of
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Axis, Space

_COARSEST = 8


@dataclass(frozen=True)
class NonlinearDiffusion(PickledWithoutCaches):
    """The forward model from coefficients, sources and surroundings to u on a grid.

    Constructing it is cheap; FEniCSx is imported and the solver built at the first solve.

    Attributes
    ----------
    cells, degree
        `cells` x `cells` squares with Lagrange elements of this degree.
    grid
        The field is observed at the centres of `grid` x `grid` squares.
    """

    cells: int = 32
    degree: int = 2
    grid: int = 32
    name: str = field(default="nonlinear-diffusion", init=False)

    def __post_init__(self) -> None:
        for name in ("cells", "degree", "grid"):
            if getattr(self, name) < 1:
                raise UsageError(f"expected {name} >= 1, got {getattr(self, name)}")

    @cached_property
    def parameters(self) -> Space:
        """Six modes of the logarithm of the conductivity, its growth with u, two sources, and the surroundings."""
        modes = [f"log conductivity {i},{j}" for i, j in FREQUENCIES]
        return Space.vector(
            [*modes, "growth", "source 1", "source 2", "surroundings"],
            lower=(*[-1.0] * len(modes), 0.0, 0.0, 0.0, 0.0),
            upper=(*[1.0] * len(modes), 4.0, 5.0, 5.0, 1.0),
            law="uniform",
        )

    @cached_property
    def observables(self) -> Space:
        """u by x and y."""
        centres = tuple(((np.arange(self.grid) + 0.5) / self.grid).tolist())
        return Space((Axis("x", centres), Axis("y", centres)))

    @cached_property
    def definition(self) -> dict[str, Any]:
        """JSON-able: everything that fixes the numbers."""
        route = "Lagrange elements, damped Newton from the linear problem, direct solver"
        return dict(problem=self.name, route=route, options=options_of(self))

    @cached_property
    def _solver(self) -> NewtonSolver:
        centres = (np.arange(self.grid) + 0.5) / self.grid
        return NewtonSolver(
            self.cells, self.degree, np.stack(np.meshgrid(centres, centres, indexing="ij"), -1).reshape(-1, 2)
        )

    def solve(self, y: Array) -> tuple[Array, NDArray[np.int8]]:
        """Observables (n, n_out) and a status per sample (n,); NaN where the status is not 0.

        Raises SolverFailure: Newton's method did not converge.
        """
        y = self.parameters.rows(y)
        inside = self.parameters.contains(y)
        observables = np.full((len(y), self.observables.size), np.nan)
        for i in np.flatnonzero(inside):
            observables[i] = self._solver.solve(y[i])
        return observables, np.where(inside, SolveStatus.OK, SolveStatus.OUTSIDE_PARAMETER_SPACE).astype(np.int8)

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out), NaN in rows outside the parameter space and where Newton's method failed."""
        return solve_block(cast(Problem, self), self.parameters.rows(y)).observables

    def tangents(self, y: Array, directions: Array) -> tuple[Array, Array]:
        """Observables (n, n_out) and derivatives (n, r, n_out) along directions (n, r, n_in), from one solve a sample.

        The observables are those of `solve`, to the bit. NaN in rows that fail.
        """
        y = self.parameters.rows(y)
        directions = checked_directions(directions, *y.shape)
        observables = np.full((len(y), self.observables.size), np.nan)
        derivatives = np.full((*directions.shape[:2], self.observables.size), np.nan)
        for i in np.flatnonzero(self.parameters.contains(y)):
            try:
                observables[i] = self._solver.solve(y[i])
                derivatives[i] = self._solver.tangents(directions[i])
            except SolverFailure:
                continue
        return observables, derivatives

    def jvp(self, y: Array, dy: Array) -> Array:
        """Derivative along `dy`, row by row: (n, n_in), (n, n_in) -> (n, n_out)."""
        y, dy = self.parameters.require(y), self.parameters.rows(dy)
        if len(y) != len(dy):
            raise UsageError(f"expected one direction per sample, got {len(dy)} directions for {len(y)} samples")
        return self.tangents(y, dy[:, None])[1][:, 0]

    def vjp(self, y: Array, dc: Array) -> Array:
        """Gradient of <dc, observables>, row by row: (n, n_in), (n, n_out) -> (n, n_in), by one adjoint solve each."""
        y, dc = self.parameters.require(y), self.observables.rows(dc)
        if len(y) != len(dc):
            raise UsageError(f"expected one row of weights per sample, got {len(dc)} rows for {len(y)} samples")
        gradients = np.empty((len(y), self.parameters.size))
        for gradient, row, weights in zip(gradients, y, dc, strict=True):
            self._solver.solve(row)
            gradient[:] = self._solver.gradient(weights)
        return gradients

    def jacobian(self, y: Array) -> Array:
        """Derivative of every observable by every parameter: (n, n_in) -> (n, n_out, n_in)."""
        y = self.parameters.require(y)
        units = np.broadcast_to(np.eye(self.parameters.size), (len(y), *[self.parameters.size] * 2))
        return self.tangents(y, units)[1].swapaxes(1, 2)

    def coarser(self) -> NonlinearDiffusion | None:
        """The same problem on half as many cells a side; None at the coarsest that is of use."""
        return replace(self, cells=self.cells // 2) if self.cells // 2 >= _COARSEST else None

    def references(self) -> dict[str, Callable[[Array], Array]]:
        """What its own error is measured against: elements of half the size and one degree more."""
        return {"refined": replace(self, cells=2 * self.cells, degree=self.degree + 1).evaluate}
