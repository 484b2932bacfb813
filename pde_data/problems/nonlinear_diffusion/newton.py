"""Newton's method for stationary nonlinear diffusion, its tangents and its adjoint.

    -div(k grad u) = q1 s1 + q2 s2 in the unit square,   k = exp(sum_j m_j phi_j) (1 + g u),
    u = 0 at x = 0,   k du/dx = H (a - u) at x = 1,   no flux elsewhere,

with phi_j products of cosines and s_i Gaussians of unit integral. The parameters are y = (m_1 .. m_6, g, q1, q2, a).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gnvpro.pde_data.problems.fenicsx import fenicsx
from gnvpro.pde_data.problems.linear_systems import SolverFailure
from gnvpro.pde_data.problems.point_values import point_values
from gnvpro.surrogate.spaces import Array

# Of the cosines along x and y, m_1 to m_6, whose sizes fall with their frequencies.
FREQUENCIES = ((1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (2, 1))
# Centres and width of the sources; exchange of heat with the surroundings at x = 1.
SOURCES, WIDTH, EXCHANGE = ((0.3, 0.3), (0.65, 0.7)), 0.12, 5.0
N_PARAMETERS = len(FREQUENCIES) + 1 + len(SOURCES) + 1

_MOST_STEPS, _MOST_HALVINGS = 30, 12
# Of the residual, relative to the load; Newton's last step usually ends far below.
_TOLERANCE = 1e-10


class NewtonSolver:
    """The equation on `cells` x `cells` squares with Lagrange elements, observed at points (k, 2).

    Parameters
    ----------
    source
        Of a position and y, both in UFL: heats in place of the Gaussians, for manufactured solutions.
    """

    def __init__(self, cells: int, degree: int, points: Array, source: Any = None) -> None:
        fx = fenicsx()
        ufl = fx.ufl
        mesh = fx.mesh.create_unit_square(fx.MPI.COMM_SELF, cells, cells, cell_type=fx.mesh.CellType.quadrilateral)
        self.space = space = fx.fem.functionspace(mesh, ("Lagrange", degree))
        x, v, trial = ufl.SpatialCoordinate(mesh), ufl.TestFunction(space), ufl.TrialFunction(space)
        self._u, self._adjoint = fx.fem.Function(space), fx.fem.Function(space)
        self._y, self._dy = (fx.fem.Constant(mesh, np.zeros(N_PARAMETERS)) for _ in range(2))
        self._nonlinear = fx.fem.Constant(mesh, 1.0)  # 0 for the linear problem that Newton starts from

        n_modes = len(FREQUENCIES)
        modes = [ufl.cos(i * ufl.pi * x[0]) * ufl.cos(j * ufl.pi * x[1]) / np.hypot(i, j) for i, j in FREQUENCIES]
        gaussians = [
            ufl.exp(-((x[0] - a) ** 2 + (x[1] - b) ** 2) / (2 * WIDTH**2)) / (2 * np.pi * WIDTH**2) for a, b in SOURCES
        ]

        def exponent(y: Any) -> Any:
            return sum(y[j] * mode for j, mode in enumerate(modes))

        def heating(y: Any) -> Any:
            return sum(y[n_modes + 1 + i] * gaussian for i, gaussian in enumerate(gaussians))

        u, y, dy = self._u, self._y, self._dy
        permeable = ufl.exp(exponent(y))
        conductivity = permeable * (1 + self._nonlinear * y[n_modes] * u)
        load = heating(y) if source is None else source(x, y)
        # Quadrature that integrates twice the degree; two more for coefficients.
        at = dict(quadrature_degree=2 * degree + 2)
        dx, ds = ufl.dx(metadata=at), _right_side(mesh, at)
        residual = ufl.inner(conductivity * ufl.grad(u), ufl.grad(v)) * dx - load * v * dx
        residual -= EXCHANGE * (y[N_PARAMETERS - 1] - u) * v * ds
        change = conductivity * exponent(dy) + permeable * dy[n_modes] * u
        by_parameters = ufl.inner(change * ufl.grad(u), ufl.grad(v)) * dx - heating(dy) * v * dx
        by_parameters -= EXCHANGE * dy[N_PARAMETERS - 1] * v * ds

        self._residual, self._jacobian = fx.fem.form(residual), fx.fem.form(ufl.derivative(residual, u, trial))
        self._by_parameters = fx.fem.form(by_parameters)
        self._work_of = fx.fem.form(ufl.replace(by_parameters, {v: self._adjoint}))
        edge = fx.fem.locate_dofs_geometrical(space, lambda x: np.isclose(x[0], 0))
        self._fixed = fx.fem.dirichletbc(0.0, edge, space)
        self._edge = edge
        self.observe, self._n_points = point_values(space, points), len(points)

        self._matrix = fx.fem_petsc.create_matrix(self._jacobian)
        self._krylov = fx.PETSc.KSP().create(fx.MPI.COMM_SELF)
        self._krylov.setOperators(self._matrix)
        self._krylov.setType("preonly")
        self._krylov.getPC().setType("lu")
        self._krylov.getPC().setFactorSolverType("mumps")

    def solve(self, y: Array) -> Array:
        """Observables (k,) at parameters (n_in,).

        Raises SolverFailure: Newton's method did not converge.
        """
        self._y.value[:] = y
        self._u.x.array[:] = 0.0
        self._nonlinear.value = 0.0
        load = self._residual_vector()
        self._u.x.array[:] -= self._newton_step(load)
        self._nonlinear.value = 1.0
        residual, accepted = self._residual_vector(), _TOLERANCE * float(np.linalg.norm(load))
        size = float(np.linalg.norm(residual))
        for _ in range(_MOST_STEPS):
            if size <= accepted:
                return self.observe @ self._u.x.array
            residual, size = self._damped(self._newton_step(residual), size)
        raise SolverFailure(
            f"Newton's method did not converge in {_MOST_STEPS} steps: expected a residual of {accepted:.1e}, got {size:.1e}"
        )

    def tangents(self, directions: Array) -> Array:
        """Derivatives (r, k) along directions (r, n_in), where the last `solve` ended."""
        self._factorise()
        out = np.empty((len(directions), self._n_points))
        for row, direction in zip(out, directions, strict=True):
            self._dy.value[:] = direction
            row[:] = self.observe @ -self._solved(self._vector(self._by_parameters))
        return out

    def gradient(self, weights: Array) -> Array:
        """Gradient (n_in,) of <weights, observables> with weights (k,), where the last `solve` ended: one adjoint solve."""
        fx = fenicsx()
        self._factorise()
        right = self.observe.T @ weights
        right[self._edge] = 0.0
        self._adjoint.x.array[:] = self._solved(right, transposed=True)
        gradient = np.empty(N_PARAMETERS)
        for j in range(N_PARAMETERS):
            self._dy.value[:] = 0.0
            self._dy.value[j] = 1.0
            gradient[j] = -fx.fem.assemble_scalar(self._work_of)
        return gradient

    def _damped(self, step: Array, size: float) -> tuple[Array, float]:
        """Take the step, halved until the residual is smaller; the residual there and its norm."""
        start = self._u.x.array.copy()
        for halving in range(_MOST_HALVINGS):
            self._u.x.array[:] = start - 0.5**halving * step
            residual = self._residual_vector()
            norm = float(np.linalg.norm(residual))
            if norm < size:
                return residual, norm
        raise SolverFailure(f"Newton's method found no smaller residual than {size:.1e}")

    def _newton_step(self, residual: Array) -> Array:
        self._factorise()
        return self._solved(residual)

    def _factorise(self) -> None:
        fx = fenicsx()
        self._matrix.zeroEntries()
        fx.fem_petsc.assemble_matrix(self._matrix, self._jacobian, bcs=[self._fixed])
        self._matrix.assemble()

    def _solved(self, right: Array, transposed: bool = False) -> Array:
        PETSc = fenicsx().PETSc
        b = PETSc.Vec().createWithArray(right, comm=PETSc.COMM_SELF)
        solution = b.duplicate()
        solve = self._krylov.solveTranspose if transposed else self._krylov.solve
        try:
            solve(b, solution)
        except PETSc.Error as error:
            raise SolverFailure(f"PETSc could not solve the linear system: {error}") from error
        values = solution.array.copy()
        b.destroy()
        solution.destroy()
        if not np.isfinite(values).all():
            raise SolverFailure("the linear system of a Newton step is singular")
        return values

    def _residual_vector(self) -> Array:
        return self._vector(self._residual)

    def _vector(self, form: Any) -> Array:
        """Of the unknowns that are not fixed; zero in the others."""
        fx = fenicsx()
        values = fx.fem.assemble_vector(form).array.copy()
        values[self._edge] = 0.0
        return values


def _right_side(mesh: Any, metadata: dict[str, int]) -> Any:
    """The measure on x = 1."""
    fx = fenicsx()
    facets = fx.mesh.locate_entities_boundary(mesh, 1, lambda x: np.isclose(x[0], 1))
    tags = fx.mesh.meshtags(mesh, 1, np.sort(facets), np.ones(len(facets), dtype=np.int32))
    return fx.ufl.Measure("ds", domain=mesh, subdomain_data=tags, metadata=metadata)(1)
