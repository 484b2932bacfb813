"""Values of finite-element functions at points."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from gnvpro.pde_data.problems.fenicsx import fenicsx, geometry_part
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# Of the diameter of the mesh: a point that rounding has put so far outside belongs to it.
_OUTSIDE_BY_ROUNDING = 1e-10


def point_values(space: Any, points: Array) -> sp.csr_array:
    """Matrix (k times components, n_dofs) from the dofs of a function to its values at points (k, dimension of the mesh).

    The rows of a point are the components of a vector function, in order. Columns are the dofs that this process knows,
    as `function.x.array` has them. A point on a face gets the values from one of the cells that share it. Of a mesh over
    several processes, the sum of their values is that at the point: each has the rows of its own points, the others zeros.

    Raises UsageError: a point outside the mesh; points of another dimension; an element whose functions are mapped
    (Nédélec, Raviart–Thomas).
    """
    points = _in_three_dimensions(space.mesh, points)
    element = space.element.basix_element
    if element.map_type != fenicsx().basix.MapType.identity:
        raise UsageError(
            f"expected a Lagrange space or another whose functions are not mapped, got {space.ufl_element()}; interpolate "
            "the function into a Lagrange space of the same degree"
        )
    mesh, dofs, components = space.mesh, space.dofmap, space.dofmap.index_map_bs
    geometry_dofs, geometry_map = geometry_part(mesh, "dofmap"), geometry_part(mesh, "cmap")
    n_dofs = dofs.index_map.size_local + dofs.index_map.num_ghosts
    cells = cells_around(mesh, points)
    rows, columns, entries = [], [], []
    for row in np.flatnonzero(cells >= 0):
        corners = mesh.geometry.x[geometry_dofs[cells[row]]]
        local = geometry_map.pull_back(points[row][None], corners)
        columns.append(dofs.cell_dofs(cells[row]))
        entries.append(element.tabulate(0, local)[0, 0, :, 0])
        rows.append(np.full(len(columns[-1]), row))
    places = (np.ravel(rows).astype(int), np.ravel(columns).astype(int))
    scalar = sp.coo_array((np.ravel(entries), places), shape=(len(points), n_dofs))
    # Row (point, component): the same functions for every component, whose dofs are interleaved.
    matrix = sp.csr_array(sp.kron(scalar, sp.eye_array(components)))
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


def cells_around(mesh: Any, points: Array) -> NDArray[np.int32]:
    """A cell (k,) that contains each of the points (k, 3), or that rounding alone parts from it.

    Of a mesh over several processes, each point belongs to one of them; the others get -1.

    Raises UsageError: a point outside the mesh.
    """
    geometry, comm, dimension = fenicsx().geometry, mesh.comm, mesh.topology.dim
    boxes = geometry.bb_tree(mesh, dimension)
    hits = geometry.compute_colliding_cells(mesh, geometry.compute_collisions_points(boxes, points), points)
    found = np.array([cells[0] if len(cells := hits.links(i)) else -1 for i in range(len(points))], dtype=np.int32)
    away = np.where(found >= 0, 0.0, np.inf)
    outside = np.flatnonzero(np.min(comm.allgather(away), axis=0))
    if len(outside):
        n_cells = mesh.topology.index_map(dimension).size_local
        middles = geometry.create_midpoint_tree(mesh, dimension, np.arange(n_cells, dtype=np.int32))
        found[outside] = geometry.compute_closest_entity(boxes, middles, mesh, points[outside])
        away[outside] = np.sqrt(geometry.squared_distance(mesh, dimension, found[outside], points[outside]))
    least = np.min(comm.allgather(away), axis=0)
    lowest = np.min(comm.allgather(mesh.geometry.x.min(0)), axis=0)
    highest = np.max(comm.allgather(mesh.geometry.x.max(0)), axis=0)
    if (least > _OUTSIDE_BY_ROUNDING * np.linalg.norm(highest - lowest)).any():
        worst = int(np.argmax(least))
        point = points[worst][: mesh.geometry.dim]
        box = ", ".join(f"{a:.6g} to {b:.6g}" for a, b in list(zip(lowest, highest, strict=True))[: mesh.geometry.dim])
        raise UsageError(
            f"expected points in the mesh (within {box}), got {tuple(point.tolist())}, of index {worst} among "
            f"{len(points)}, which is {least[worst]:.3g} outside ({len(outside)} outside in all); leave it out or extend "
            "the mesh"
        )
    owner = np.min(comm.allgather(np.where(away == least, comm.rank, comm.size)), axis=0)
    return np.where(owner == comm.rank, found, -1).astype(np.int32)


def _in_three_dimensions(mesh: Any, points: Array) -> Array:
    points, dimension = numbers(points, "points", 2), mesh.geometry.dim
    if points.shape[1] not in (dimension, 3) or not np.isfinite(points).all():
        raise UsageError(
            f"expected points (k, {dimension}) of a mesh of {dimension} dimensions, all finite, got {points.shape}"
        )
    return np.pad(points, ((0, 0), (0, 3 - points.shape[1])))
