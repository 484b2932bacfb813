"""Stationary nonlinear diffusion as a forward model: from conductivity and sources to a field.

    −∇·(e^a(x) (1 + g u²) ∇u) = q₁ N(x; p₁) + q₂ N(x; p₂)   in (0, 1)²,   u = 0 on the boundary

The conductivity e^a has six cosine modes, a = Σ_j y_j s_j cos(π m_j x₁) cos(π n_j x₂), and grows with u. Two Gaussian
sources heat; the second one lies at p₂ = (position, 0.7). The observables are u on a regular grid.
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
from gnvpro.pde_data.problems.nonlinear_diffusion.solver import Coefficients, NewtonSolver
from gnvpro.pde_data.problems.options import options_of
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Axis, Space

_MODES = ((1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (2, 1))
_WIDTH, _FIRST, _SECOND_HEIGHT = 0.12, (0.3, 0.3), 0.7
# With fewer there is no coarser version.
_FEWEST_CELLS = 5


@dataclass(frozen=True)
class NonlinearDiffusion(PickledWithoutCaches):
    """The forward model from ten parameters to u on a grid, by quadratic elements and Newton's method.

    Constructing it is cheap; FEniCSx is imported and the solver built at the first solve.

    Attributes
    ----------
    cells
        `cells` × `cells` squares, each of two triangles.
    grid
        Observed are `grid` × `grid` points inside, 1 / (`grid` + 1) apart.
    contrast
        Amplitude s of the first modes of the logarithm of the conductivity; that of mode (m, n) is s / √(m² + n²).
    growth, strength
        Ranges of g and of q₁ and q₂.

    Raises UsageError: no cells, no grid, or ranges that are not ascending above zero.
    """

    cells: int = 32
    grid: int = 32
    contrast: float = 0.8
    growth: tuple[float, float] = (0.1, 2.0)
    strength: tuple[float, float] = (20.0, 80.0)
    name: str = field(default="nonlinear-diffusion", init=False)

    def __post_init__(self) -> None:
        for what in ("cells", "grid"):
            if getattr(self, what) < 1:
                raise UsageError(f"expected {what} >= 1, got {getattr(self, what)}")
        if not 0 <= self.contrast < np.inf:
            raise UsageError(f"expected a finite contrast >= 0, got {self.contrast}")
        for what in ("growth", "strength"):
            low, high = getattr(self, what)
            if not 0 <= low <= high < np.inf:
                raise UsageError(f"expected an ascending range of {what} from 0 on, got {low} to {high}")

    @cached_property
    def parameters(self) -> Space:
        """Coefficients of the modes, growth, strengths and position, uniform in their ranges."""
        names = [f"mode_{m}{n}" for m, n in _MODES]
        ranges = [*[(-1.0, 1.0)] * len(_MODES), self.growth, self.strength, self.strength, (0.3, 0.8)]
        lower, upper = zip(*ranges, strict=True)
        return Space.vector(
            [*names, "growth", "strength_1", "strength_2", "position"], lower=lower, upper=upper, law="uniform"
        )

    @cached_property
    def observables(self) -> Space:
        """u on the grid, x₁ first."""
        places = tuple((np.arange(1, self.grid + 1) / (self.grid + 1)).tolist())
        return Space((Axis("x1", places), Axis("x2", places)))

    @cached_property
    def definition(self) -> dict[str, Any]:
        """JSON-able: everything that fixes the numbers."""
        return dict(problem=self.name, route="quadratic elements, Newton's method", options=options_of(self))

    @cached_property
    def _solver(self) -> NewtonSolver:
        places = np.array(self.observables.axes[0].labels, dtype=float)
        return NewtonSolver(self.cells, np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 2))

    @cached_property
    def _modes(self) -> Array:
        """At the nodes: (n, modes)."""
        x1, x2 = self._solver.nodes.T
        waves = [np.cos(np.pi * m * x1) * np.cos(np.pi * n * x2) / np.hypot(m, n) for m, n in _MODES]
        return self.contrast * np.stack(waves, axis=1)

    def _sources(self, position: float) -> tuple[Array, Array, Array]:
        """Of strength one at the nodes, and how the second one changes with its position."""
        x1, x2 = self._solver.nodes.T
        first = _gaussian(x1 - _FIRST[0], x2 - _FIRST[1])
        second = _gaussian(x1 - position, x2 - _SECOND_HEIGHT)
        return first, second, second * (x1 - position) / _WIDTH**2

    def _coefficients(self, row: Array) -> Coefficients:
        modes, (growth, strength_1, strength_2, position) = row[: len(_MODES)], row[len(_MODES) :]
        first, second, _ = self._sources(position)
        return Coefficients(self._modes @ modes, float(growth), strength_1 * first + strength_2 * second)

    def _change(self, row: Array, direction: Array) -> Coefficients:
        modes, (growth, strength_1, strength_2, position) = direction[: len(_MODES)], direction[len(_MODES) :]
        first, second, moved = self._sources(row[-1])
        source = strength_1 * first + strength_2 * second + position * row[-2] * moved
        return Coefficients(self._modes @ modes, float(growth), source)

    def solve(self, y: Array) -> tuple[Array, NDArray[np.int8]]:
        """Observables (n, n_out) and a status per sample (n,); NaN where the status is not 0.

        Raises SolverFailure: Newton's method does not converge.
        """
        y = self.parameters.rows(y)
        inside = self.parameters.contains(y)
        status = np.where(inside, SolveStatus.OK, SolveStatus.OUTSIDE_PARAMETER_SPACE).astype(np.int8)
        observables = np.full((len(y), self.observables.size), np.nan)
        for i in np.flatnonzero(inside):
            observables[i] = self._solver.observe @ self._solver.solve(self._coefficients(y[i]))
        return observables, status

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out), NaN in rows outside the parameter space and where Newton's method fails."""
        return solve_block(cast(Problem, self), self.parameters.rows(y)).observables

    def tangents(self, y: Array, directions: Array) -> tuple[Array, Array]:
        """Observables (n, n_out) and derivatives (n, r, n_out) along `directions` (n, r, n_in), from one solve each.

        The observables are those of `solve`, to the bit. NaN in rows that fail.
        """
        y = self.parameters.rows(y)
        directions = checked_directions(directions, *y.shape)
        observables = np.full((len(y), self.observables.size), np.nan)
        derivatives = np.full((*directions.shape[:2], self.observables.size), np.nan)
        solver = self._solver
        for i in np.flatnonzero(self.parameters.contains(y)):
            try:
                observables[i] = solver.observe @ solver.solve(self._coefficients(y[i]))
            except SolverFailure:
                continue
            changes = [self._change(y[i], direction) for direction in directions[i]]
            derivatives[i] = (solver.observe @ solver.tangents(changes).T).T
        return observables, derivatives

    def jvp(self, y: Array, dy: Array) -> Array:
        """Derivative along `dy`, row by row: (n, n_in), (n, n_in) -> (n, n_out)."""
        y, dy = self.parameters.require(y), self.parameters.rows(dy)
        if len(y) != len(dy):
            raise UsageError(f"expected one direction per sample, got {len(dy)} directions for {len(y)} samples")
        return self.tangents(y, dy[:, None])[1][:, 0]

    def vjp(self, y: Array, dc: Array) -> Array:
        """Gradient of <dc, observables>, row by row: (n, n_in), (n, n_out) -> (n, n_in); one adjoint solve each."""
        y, dc = self.parameters.require(y), self.observables.rows(dc)
        if len(y) != len(dc):
            raise UsageError(f"expected one row of weights per sample, got {len(dc)} rows for {len(y)} samples")
        gradients = np.full_like(y, np.nan)
        solver = self._solver
        for gradient, row, weights in zip(gradients, y, dc, strict=True):
            try:
                solver.solve(self._coefficients(row))
            except SolverFailure:
                continue
            by = solver.gradient(solver.observe.T @ weights)
            first, second, moved = self._sources(row[-1])
            sources = np.stack([first, second, row[-2] * moved])
            gradient[:] = np.concatenate([by.log_conductivity @ self._modes, [by.growth], sources @ by.source])
        return gradients

    def coarser(self) -> NonlinearDiffusion | None:
        """On a quarter of the cells a side; None where fewer than 5 would be left."""
        return replace(self, cells=self.cells // 4) if self.cells // 4 >= _FEWEST_CELLS else None

    def references(self) -> dict[str, Callable[[Array], Array]]:
        """What its own error is measured against: half the mesh width."""
        return {"half the mesh width": replace(self, cells=2 * self.cells).evaluate}


def _gaussian(x1: Array, x2: Array) -> Array:
    return np.exp(-(x1**2 + x2**2) / (2 * _WIDTH**2))
