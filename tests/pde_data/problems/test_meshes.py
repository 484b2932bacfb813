"""The mesh of a function space of dolfinx has the values of its functions in their order."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.fenicsx import MissingFEniCSx, fenicsx
from gnvpro.pde_data.problems.meshes import mesh_of_dolfinx
from gnvpro.surrogate.errors import UsageError

try:
    fx = fenicsx()
except MissingFEniCSx as missing:
    pytest.skip(str(missing), allow_module_level=True)

MESHES = {
    "line": lambda: fx.mesh.create_unit_interval(fx.MPI.COMM_SELF, 5),
    "triangle": lambda: fx.mesh.create_unit_square(fx.MPI.COMM_SELF, 4, 3),
    "quad": lambda: fx.mesh.create_unit_square(fx.MPI.COMM_SELF, 4, 3, fx.mesh.CellType.quadrilateral),
    "tetra": lambda: fx.mesh.create_unit_cube(fx.MPI.COMM_SELF, 2, 2, 1),
    "hexahedron": lambda: fx.mesh.create_unit_cube(fx.MPI.COMM_SELF, 2, 2, 1, fx.mesh.CellType.hexahedron),
}


@pytest.mark.parametrize("element", [("Lagrange", 1), ("DG", 0)])
@pytest.mark.parametrize("cell_type", MESHES)
def test_values_are_where_the_mesh_says(cell_type, element):
    space = fx.fem.functionspace(MESHES[cell_type](), element)
    mesh, function = mesh_of_dolfinx(space), fx.fem.Function(space)
    assert (mesh.cell_type, mesh.at) == (cell_type, "points" if element[1] else "cells")
    function.interpolate(lambda x: 1 + 2 * x[0] - 3 * x[1] + x[2])
    x = mesh.points if mesh.at == "points" else mesh.points[mesh.cells].mean(axis=1)
    x = np.pad(x, ((0, 0), (0, 3 - x.shape[1])))
    np.testing.assert_allclose(function.x.array, 1 + x @ [2, -3, 1], atol=1e-12)


@pytest.mark.parametrize("cell_type", ["triangle", "quad"])
def test_corners_go_around_the_cell(cell_type):
    mesh = mesh_of_dolfinx(fx.fem.functionspace(MESHES[cell_type](), ("Lagrange", 1)))
    x, y = np.moveaxis(mesh.points[mesh.cells], 2, 0)
    area = 0.5 * (x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1)
    assert np.abs(area).sum() == pytest.approx(1.0)


def test_a_vector_space_has_the_mesh_of_its_components():
    space = fx.fem.functionspace(MESHES["triangle"](), ("Lagrange", 1, (2,)))
    mesh, function = mesh_of_dolfinx(space), fx.fem.Function(space)
    function.interpolate(lambda x: (x[0], -x[1]))
    np.testing.assert_allclose(function.x.array.reshape(-1, 2), mesh.points * [1, -1], atol=1e-12)


def test_other_spaces_are_refused():
    for element in (("Lagrange", 2), ("DG", 1), ("N1curl", 1)):
        with pytest.raises(UsageError, match="interpolate the function to one of these first"):
            mesh_of_dolfinx(fx.fem.functionspace(MESHES["triangle"](), element))
