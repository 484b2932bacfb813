"""Values of finite-element functions at points."""

from __future__ import annotations

from typing import Any

import numpy as np

from gnvpro.pde_data.problems.fenicsx import fenicsx, geometry_part
from gnvpro.surrogate.spaces import Array


def point_values(space: Any, points: Array) -> Array:
    """Matrix from nodal values to values at points (k, 2): the basis functions of the cell around each point."""
    fx = fenicsx()
    mesh = space.mesh
    points = np.column_stack([points, np.zeros(len(points))])
    boxes = fx.geometry.bb_tree(mesh, mesh.topology.dim)
    cells = fx.geometry.compute_colliding_cells(mesh, fx.geometry.compute_collisions_points(boxes, points), points)
    values = np.zeros((len(points), space.dofmap.index_map.size_local))
    for row, point in enumerate(points):
        cell = cells.links(row)[0]
        corners = mesh.geometry.x[geometry_part(mesh, "dofmap")[cell]]
        local = geometry_part(mesh, "cmap").pull_back(point[None], corners)
        values[row, space.dofmap.cell_dofs(cell)] = space.element.basix_element.tabulate(0, local)[0, 0, :, 0]
    return values
