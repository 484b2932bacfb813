"""Meshes of finite-element functions of dolfinx, as axes of observables have them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gnvpro.pde_data.problems.fenicsx import geometry_part
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.mesh import Mesh

# dolfinx's names of cells, meshio's, and the corners of a cell in VTK's order.
_CELLS = {
    "interval": ("line", [0, 1]),
    "triangle": ("triangle", [0, 1, 2]),
    "quadrilateral": ("quad", [0, 1, 3, 2]),
    "tetrahedron": ("tetra", [0, 1, 2, 3]),
    "hexahedron": ("hexahedron", [0, 1, 3, 2, 4, 5, 7, 6]),
}


def mesh_of_dolfinx(space: Any) -> Mesh:
    """The mesh under the functions of a dolfinx function space, of this process.

    Values are in the order of the degrees of freedom, `function.x.array`: of Lagrange spaces of degree 1 one at a point, of
    discontinuous ones of degree 0 one in a cell. Of a vector space they are those of each component: reshaped to
    (n_values, components), so that the observables have the axes mesh and component. Other spaces are interpolated to one
    of these first, `u1 = fem.Function(fem.functionspace(mesh, ("Lagrange", 1))); u1.interpolate(u)`.

    Raises UsageError: another space.
    """
    mesh, element = space.mesh, space.element.basix_element
    name = mesh.topology.cell_name()
    degree, is_cellwise = element.degree, element.discontinuous
    if "P" not in str(element.family) or (degree, is_cellwise) not in ((1, False), (0, True)) or name not in _CELLS:
        raise UsageError(
            f"expected a Lagrange space of degree 1 or a discontinuous one of degree 0, got degree {degree} on {name}; "
            "interpolate the function to one of these first"
        )
    cell_type, corners = _CELLS[name]
    n_cells = mesh.topology.index_map(mesh.topology.dim).size_local
    dofs = np.stack([space.dofmap.cell_dofs(cell) for cell in range(n_cells)])
    if is_cellwise:
        order = np.empty(n_cells, dtype=np.intp)
        order[dofs[:, 0]] = np.arange(n_cells)
        cells = geometry_part(mesh, "dofmap")[order]
        return Mesh.of(mesh.geometry.x[:, : mesh.geometry.dim], cells[:, corners], cell_type, at="cells")
    points = space.tabulate_dof_coordinates()[:, : mesh.geometry.dim]
    return Mesh.of(points, dofs[:, corners], cell_type)
