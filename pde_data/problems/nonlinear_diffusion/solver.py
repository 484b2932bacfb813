"""Finite elements and Newton's method for −∇·(e^a (1 + g u²) ∇u) = f in the unit square, u = 0 on its boundary.

Quadratic triangles; a and f are interpolated at the nodes. With R(u; a, g, f) the residual and J = ∂R/∂u, a tangent
satisfies J du = −(R_a da + R_g dg + R_f df), and the gradient of <w, u> by a, g and f is −(R_a, R_g, R_f)ᵀ J⁻ᵀ w: one
linear solve each with the factor of J at the solution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from gnvpro.pde_data.problems.fenicsx import fenicsx, geometry_part
from gnvpro.pde_data.problems.linear_systems import SolverFailure
from gnvpro.surrogate.spaces import Array

_MOST_ITERATIONS = 30
# Of the last step, relative to the solution; the convergence is quadratic.
_STEP = 1e-11
_QUADRATURE_DEGREE = 6


@dataclass(frozen=True)
class Coefficients:
    """Nodal values (n,) of the logarithm of the conductivity and of the source, and the growth; or a change of these."""

    log_conductivity: Array
    growth: float
    source: Array


class NewtonSolver:
    """Solves for one set of coefficients after the other on `cells` × `cells` squares, each of two triangles.

    `nodes` (n, 2): where the nodal values are. `points` (k, 2) are what `observe` reads a solution at.
    """

    def __init__(self, cells: int, points: Array) -> None:
        fe = fenicsx()
        ufl, fem = fe.ufl, fe.fem
        domain = fe.mesh.create_unit_square(fe.MPI.COMM_SELF, cells, cells)
        space = fem.functionspace(domain, ("Lagrange", 2))
        self.nodes = space.tabulate_dof_coordinates()[:, :2].copy()
        self.observe = _interpolation(space, points)
        self._u, self._a, self._f, self._da, self._df, self._adjoint = (fem.Function(space) for _ in range(6))
        self._g, self._dg = (fem.Constant(domain, 0.0) for _ in range(2))
        on_edge = (np.isclose(self.nodes, 0.0) | np.isclose(self.nodes, 1.0)).any(axis=1)
        self._free = np.flatnonzero(~on_edge)

        v, grad, dx = ufl.TestFunction(space), ufl.grad, ufl.dx(metadata={"quadrature_degree": _QUADRATURE_DEGREE})
        u, adjoint, k = self._u, self._adjoint, ufl.exp(self._a)
        nonlinear = k * (1 + self._g * u**2)
        residual = nonlinear * ufl.inner(grad(u), grad(v)) * dx - self._f * v * dx
        changed = (self._da * nonlinear + self._dg * k * u**2) * ufl.inner(grad(u), grad(v)) * dx - self._df * v * dx
        self._residual, self._changed = fem.form(residual), fem.form(changed)
        self._jacobian = fem.form(ufl.derivative(residual, u))
        # Derivatives of the residual times the adjoint state.
        crossed = ufl.inner(grad(u), grad(adjoint))
        self._by_a, self._by_f = fem.form(v * nonlinear * crossed * dx), fem.form(-adjoint * v * dx)
        self._by_g = fem.form(k * u**2 * crossed * dx)

        self._matrix = fem.create_matrix(self._jacobian)
        indices = self._matrix.indices, self._matrix.indptr
        pattern = sp.csr_matrix((np.arange(1, len(indices[0]) + 1), *indices), shape=(len(self.nodes),) * 2)
        part = pattern[self._free][:, self._free].tocsc()
        self._entries, self._part = part.data - 1, part.astype(np.float64)

    def solve(self, coefficients: Coefficients) -> Array:
        """Nodal values (n,).

        Raises SolverFailure: Newton's method does not converge.
        """
        self._a.x.array[:], self._f.x.array[:] = coefficients.log_conductivity, coefficients.source
        self._g.value = coefficients.growth
        u = self._u.x.array
        u[:] = 0.0
        for _ in range(_MOST_ITERATIONS):
            step = self._factor().solve(self._assembled(self._residual)[self._free])
            u[self._free] -= step
            size = np.linalg.norm(u)
            if not np.isfinite(size):
                break
            if np.linalg.norm(step) <= _STEP * size:
                return u.copy()
        raise SolverFailure(f"Newton's method did not converge in {_MOST_ITERATIONS} iterations")

    def tangents(self, changes: list[Coefficients]) -> Array:
        """Derivatives of the last solution along changes of its coefficients: (changes, n)."""
        rights = np.empty((len(self._free), len(changes)))
        for right, change in zip(rights.T, changes, strict=True):
            self._da.x.array[:], self._df.x.array[:] = change.log_conductivity, change.source
            self._dg.value = change.growth
            right[:] = -self._assembled(self._changed)[self._free]
        tangents = np.zeros((len(changes), len(self.nodes)))
        tangents[:, self._free] = self._factor().solve(rights).T
        return tangents

    def gradient(self, weights: Array) -> Coefficients:
        """Derivatives of <weights, solution> by the coefficients of the last solution, weights (n,) being nodal."""
        adjoint = self._adjoint.x.array
        adjoint[:] = 0.0
        adjoint[self._free] = -self._factor().solve(weights[self._free], trans="T")
        by_g = float(fenicsx().fem.assemble_scalar(self._by_g))
        return Coefficients(self._assembled(self._by_a), by_g, self._assembled(self._by_f))

    def _factor(self) -> Any:
        """Of the Jacobian at the present state."""
        self._matrix.set_value(0.0)
        values = fenicsx().fem.assemble_matrix(self._matrix, self._jacobian).data
        self._part.data[:] = values[self._entries]
        options = dict(SymmetricMode=True)
        return splu(self._part, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.01, options=options)

    @staticmethod
    def _assembled(form: Any) -> Array:
        return fenicsx().fem.assemble_vector(form).array


def _interpolation(space: Any, points: Array) -> sp.csr_array:
    """Values at points (k, 2) from nodal values (n,): (k, n)."""
    geometry, mesh = fenicsx().geometry, space.mesh
    places = np.column_stack([points, np.zeros(len(points))])
    hits = geometry.compute_collisions_points(geometry.bb_tree(mesh, 2), places)
    links = geometry.compute_colliding_cells(mesh, hits, places)
    rows, columns, values = [], [], []
    for row, place in enumerate(places):
        cell = links.links(row)[0]
        corners = mesh.geometry.x[geometry_part(mesh, "dofmap")[cell]]
        local = geometry_part(mesh, "cmap").pull_back(place[None], corners)
        columns.append(space.dofmap.cell_dofs(cell))
        values.append(space.element.basix_element.tabulate(0, local)[0, 0, :, 0])
        rows.append(np.full(len(columns[-1]), row))
    index = np.concatenate(rows), np.concatenate(columns)
    return sp.csr_array((np.concatenate(values), index), shape=(len(points), space.dofmap.index_map.size_local))
