"""More ground on top of a reference mesh: its surface, drawn upwards in levels of prisms, each of which is three cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.resistivity.meshes.mesh import EDGES, ReferenceMesh
from gnvpro.surrogate.spaces import Array

# Levels grow from the size of the cells above the body, by this per distance from the surface that was.
_GROWTH = 0.5
# Corners of the tetrahedra of a prism whose bottom is sorted by numbers: a side's diagonal rises to the larger number,
# for both prisms that share the side. Each corner: which column, and at the bottom (0) or the top (1).
_TETRAHEDRA = (((0, 0), (1, 0), (2, 0), (2, 1)), ((0, 0), (1, 0), (1, 1), (2, 1)), ((0, 0), (0, 1), (1, 1), (2, 1)))
# A cell with its second and third corner exchanged: (0, 1) and (0, 2) are, and (2, 3) and (1, 3).
_EXCHANGED = [0, 2, 1, 3, 6, 5, 4, 7, 9, 8]


def covered(mesh: ReferenceMesh, thickness: float) -> tuple[Array, NDArray[np.int32], NDArray[np.bool_]]:
    """Nodes, cells and which of these are the body, under this much more ground; the surface is x3 = 0 again.

    The nodes are columns over those of the surface that was, at the levels and halfway between them. The cells of the mesh
    come first, in their order.
    """
    columns, triangles, middles = _surface(mesh)
    levels = _levels(mesh, columns, thickness)
    heights = np.interp(np.arange(2 * len(levels) - 1) / 2, np.arange(len(levels)), levels)
    # number[c, l]: node of column c at half level l, of which those at the bottom are there already.
    number = np.empty((len(columns), len(heights)), dtype=np.int64)
    number[:, 0] = columns
    number[:, 1:] = len(mesh.points) + np.arange(len(columns) * (len(heights) - 1)).reshape(len(columns), -1)
    new = np.repeat(mesh.points[columns], len(heights) - 1, axis=0)
    new[:, 2] = np.tile(heights[1:], len(columns))

    cells = []
    for level in range(len(levels) - 1):
        for corners in _TETRAHEDRA:
            column = [triangles[:, c] for c, _ in corners]
            half = [2 * (level + top) for _, top in corners]
            nodes = [number[c, h] for c, h in zip(column, half, strict=True)]
            for a, b in EDGES:
                sides = sorted((corners[a][0], corners[b][0]))
                between = column[a] if sides[0] == sides[1] else middles[tuple(sides)]
                nodes.append(number[between, (half[a] + half[b]) // 2])
            cells.append(np.stack(nodes, axis=1))
    points = np.concatenate([mesh.points, new]) - [0.0, 0.0, thickness]
    points[number[:, -1], 2] = 0.0
    added = _oriented(points, np.concatenate(cells), mesh.cells[0])
    in_body = np.concatenate([mesh.in_body, np.zeros(len(added), dtype=bool)])
    return points, np.concatenate([mesh.cells, added]).astype(np.int32), in_body


def _surface(mesh: ReferenceMesh) -> tuple[NDArray[np.intp], NDArray[np.intp], dict[tuple[int, ...], NDArray[np.intp]]]:
    """Nodes of the surface (n_columns,), triangles (n, 3) of columns, sorted, and the columns in the middle of sides."""
    on_surface = mesh.points[:, 2] == 0
    columns = np.flatnonzero(on_surface)
    column = np.full(len(mesh.points), -1)
    column[columns] = np.arange(len(columns))
    triangles, middles = [], {(0, 1): [], (0, 2): [], (1, 2): []}
    for nodes in mesh.cells[on_surface[mesh.cells[:, :4]].sum(axis=1) == 3].tolist():
        middle = {frozenset((nodes[a], nodes[b])): m for (a, b), m in zip(EDGES, nodes[4:], strict=True)}
        corners = sorted(n for n in nodes[:4] if on_surface[n])
        triangles.append(column[corners])
        for (a, b), found in middles.items():
            found.append(column[middle[frozenset((corners[a], corners[b]))]])
    return columns, np.array(triangles), {side: np.array(found) for side, found in middles.items()}


def _levels(mesh: ReferenceMesh, columns: NDArray[np.intp], thickness: float) -> Array:
    """Heights over the surface that was, from 0 to `thickness`."""
    from_axis = np.sort(np.linalg.norm(mesh.points[columns], axis=1))
    step = 2 * float(from_axis[1])  # nodes are half an edge apart
    levels = [0.0]
    while levels[-1] < thickness:
        levels.append(levels[-1] + step + _GROWTH * levels[-1])
    return np.array(levels) * thickness / levels[-1]


def _oriented(points: Array, cells: NDArray[np.int64], example: NDArray[np.int32]) -> NDArray[np.int64]:
    """Cells turned the way of an example: the second and the third corner are exchanged, and their sides."""

    def volume(of: NDArray[np.integer]) -> Array:
        corners = points[of[..., :4]]
        return np.linalg.det(corners[..., 1:, :] - corners[..., :1, :])

    turned = volume(cells) * volume(example) < 0
    cells[turned] = cells[turned][:, _EXCHANGED]
    return cells
