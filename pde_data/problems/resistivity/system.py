"""Finite elements for the secondary potential on a quarter of the half-space.

    a(u, v) = ∫ m grad u · grad v dx + ∫_far (2 m0 / R) u v ds

with m the conductivity: m1 in the body, m0 around it, which may differ from cell to cell (a layered ground). The second
term says that u falls like a dipole, u ~ r^-2, beyond the radius R; u = 0 there would need R = 30 and twice the unknowns
for the same error as R = 8 to 10. One matrix serves the four parities: a part that is odd in x_j is zero on the plane
x_j = 0, the others have no flux through it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from gnvpro.pde_data.problems.fenicsx import fenicsx, geometry_part
from gnvpro.pde_data.problems.linear_systems import LinearSolver, SymmetricSystem
from gnvpro.pde_data.problems.resistivity.meshes.mesh import ReferenceMesh
from gnvpro.pde_data.problems.resistivity.surface import SIGNS
from gnvpro.surrogate.spaces import Array

_BODY, _MOVING, _FIXED = 1, 2, 3
# Exact for straight elements; one more changes the observables by a twentieth of their error.
_QUADRATURE_DEGREE = 3


class QuarterSystem:
    """Assembles and solves a(u, v) for one body after the other on the moved reference mesh.

    Parameters
    ----------
    length
        Of a unit of the reference mesh, in m.
    shape : (3,)
        Semi-axes of a body of size 1 m: all bodies have this shape.
    background_conductivity
        In S/m, one number or one of every cell of the mesh (n_cells,); the body's own do not matter.

    `dof` (n_nodes,): number of the unknown at every node of the reference mesh.
    """

    def __init__(
        self,
        mesh: ReferenceMesh,
        length: float,
        shape: Array,
        background_conductivity: float | Array,
        body_conductivity: float,
        linear_solver: LinearSolver = "auto",
    ) -> None:
        self._mesh, self._length, self._shape = mesh, length, np.asarray(shape)
        self._make_spaces()
        self._make_forms(background_conductivity, body_conductivity)
        self._assemble_constant_parts()
        pattern = sp.csr_array(
            (np.arange(len(self._matrix.data)), self._matrix.indices, self._matrix.indptr), shape=(self.size,) * 2
        )
        self._parities = [
            SymmetricSystem(pattern, np.sort(self.dof[self._is_free(signs)]), linear_solver) for signs in SIGNS
        ]

    @property
    def size(self) -> int:
        """Number of unknowns, those that a parity fixes at zero included."""
        return len(self.dof)

    def _make_spaces(self) -> None:
        fe, mesh = fenicsx(), self._mesh
        order = fe.cpp.io.perm_gmsh(fe.mesh.CellType.tetrahedron, 10)
        quadratic = fe.basix_ufl.element("Lagrange", "tetrahedron", 2, shape=(3,))
        self._domain = domain = fe.mesh.create_mesh(
            fe.MPI.COMM_SELF, mesh.cells[:, order].astype(np.int64), fe.ufl.Mesh(quadratic), mesh.points
        )
        self._space = fe.fem.functionspace(domain, ("Lagrange", 2))
        self._velocity = fe.fem.Function(fe.fem.functionspace(domain, ("Lagrange", 2, (3,))))
        # Elements and geometry have the same nodes, in the same order within a cell.
        self._node = np.asarray(domain.geometry.input_global_indices)
        of_cell = self._node[geometry_part(domain, "dofmap")]
        self.dof, self._vector_dof = np.empty((2, len(mesh.points)), dtype=np.int64)
        self.dof[of_cell] = self._space.dofmap.list
        self._vector_dof[of_cell] = self._velocity.function_space.dofmap.list

    def _make_forms(self, around: float | Array, inside: float) -> None:
        fe, domain, mesh = fenicsx(), self._domain, self._mesh
        ufl, fem = fe.ufl, fe.fem
        original = np.asarray(domain.topology.original_cell_index)
        outside = around if np.ndim(around) == 0 else self._cellwise(np.asarray(around)[original])
        tags = np.where(mesh.in_body, _BODY, np.where(mesh.moving, _MOVING, _FIXED))[original].astype(np.int32)
        cells = fe.mesh.meshtags(domain, 3, np.arange(len(tags), dtype=np.int32), tags)
        dx = ufl.Measure("dx", domain, subdomain_data=cells, metadata={"quadrature_degree": _QUADRATURE_DEGREE})
        far = np.sort(fe.mesh.locate_entities_boundary(domain, 2, mesh.is_far))
        ds = ufl.Measure(
            "ds", domain, subdomain_data=fe.mesh.meshtags(domain, 2, far, np.ones(len(far), dtype=np.int32))
        )

        u, v, grad = ufl.TrialFunction(self._space), ufl.TestFunction(self._space), ufl.grad
        decay = 2 * outside / (mesh.far_radius * self._length)
        self._body_form = fem.form(inside * ufl.inner(grad(u), grad(v)) * dx(_BODY))
        self._moving_form = fem.form(outside * ufl.inner(grad(u), grad(v)) * dx(_MOVING))
        self._fixed_form = fem.form(outside * ufl.inner(grad(u), grad(v)) * dx(_FIXED) + decay * u * v * ds(1))
        self._matrix = fem.create_matrix(fem.form(ufl.inner(grad(u), grad(v)) * ufl.dx))

        # Points that move with velocity w change dx by div w, and grad by -(Dw)' grad.
        self._state, w = fem.Function(self._space), self._velocity
        changed = ufl.div(w) * grad(self._state) - (grad(w) + grad(w).T) * grad(self._state)
        self._change_form = fem.form(outside * ufl.inner(changed, grad(v)) * dx(_MOVING))

    def _cellwise(self, values: Array) -> Any:
        function = fenicsx().fem.Function(fenicsx().fem.functionspace(self._domain, ("DG", 0)))
        function.x.array[function.function_space.dofmap.list[:, 0]] = values
        return function

    def _assemble_constant_parts(self) -> None:
        """The far cells, and the body: it is only scaled, which multiplies its matrix by its size."""
        size = self._length * self._mesh.body_radius / self._shape.max()
        self._move(self._length * self._mesh.body_depth, size)
        self._fixed, self._body = self._assembled(self._fixed_form), self._assembled(self._body_form) / size
        self._body_matrix = sp.csr_array(
            (self._body, self._matrix.indices, self._matrix.indptr), shape=(self.size,) * 2
        )

    def _is_free(self, signs: Array) -> Any:
        return ~((self._mesh.points[:, :2] == 0) & (signs < 0)).any(axis=1)

    def _move(self, depth: float, size: float) -> None:
        moved = self._mesh.moved(depth / self._length, size * self._shape / self._length)
        self._domain.geometry.x[:] = self._length * moved[self._node]

    def _assembled(self, form: Any) -> Array:
        """Values of the matrix of a form, in the pattern of the whole."""
        self._matrix.set_value(0.0)
        return fenicsx().fem.assemble_matrix(self._matrix, form).data.copy()

    def set_body(self, depth: float, size: float) -> None:
        """Assemble for a body of this size whose centre is at this depth, both in m."""
        self._move(depth, size)
        values = self._fixed + size * self._body + self._assembled(self._moving_form)
        for parity in self._parities:
            parity.set_values(values)

    def solve(self, parity: int, right: Array) -> Array:
        """Solutions (size, k) of the part with this parity for right-hand sides (size, k).

        Raises SolverFailure: the solver gave up, or its solution does not satisfy the equation.
        """
        return self._parities[parity].solve(right)

    def change(self, states: Array, deeper: float, larger: float) -> Array:
        """Derivative of the matrix along a change of depth and size, applied to states (size, k).

        That of the discrete matrix: nodes have the velocity that `ReferenceMesh.moved` gives them.
        """
        radius = self._length * self._mesh.body_radius
        velocity = self._mesh.velocity(deeper / self._length, larger * self._shape / radius)
        by_dof = np.empty_like(velocity)
        by_dof[self._vector_dof] = self._length * velocity
        self._velocity.x.array[:] = by_dof.ravel()
        changed = np.asarray(larger * (self._body_matrix @ states))
        for k in range(states.shape[1]):
            self._state.x.array[:] = states[:, k]
            changed[:, k] += fenicsx().fem.assemble_vector(self._change_form).array
        return changed
