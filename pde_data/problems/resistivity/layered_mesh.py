"""The reference mesh of a layered ground: one of the meshes that ship, cut along a plane so that no cell lies on both sides.

A kink of the potential inside cells would leave an error of first order. The plane is put in once, before any body is
seen: vertices that are near it are moved onto it, the edges that still cross it are bisected one after the other, each in all
cells that share it, so that the mesh stays conforming. When the mesh follows a body, the weights of the vertical map
fall to zero at the plane as they do at the surface: nodes of the interface stay on it, every cell stays in its
layer, and the derivative by depth is that of a ground whose interface does not move.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.resistivity.mesh import ReferenceMesh
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# A vertex is moved onto the plane if it cuts off less than this of an edge and leaves this much of every cell's volume.
_SNAP, _LEAST_VOLUME = 0.3, 0.3
# Where the body of the meshes that ship begins and ends, and what is left between it and the interface at least.
_BODY, _ROOM = (0.32, 0.92), 0.16
_EDGES = ((0, 1), (1, 2), (0, 2), (0, 3), (2, 3), (1, 3))  # in the order of gmsh

Edge = tuple[int, int]


@dataclass(frozen=True)
class LayeredMesh(ReferenceMesh):
    """A mesh with a plane of faces at the depth `interface`, all of the body on one side of it."""

    interface: float

    @classmethod
    @cache
    def of(cls, name: str, interface: float) -> LayeredMesh:
        """The mesh of this name with an interface at this depth, in units of the mesh; outside it where that is too deep.

        Raises UsageError: the plane touches the body of the reference mesh, or there is no mesh of that name.
        """
        mesh = ReferenceMesh.named(name)
        if not abs(interface - mesh.body_depth) > mesh.body_radius or not interface > 0:
            raise UsageError(
                f"expected an interface above or below the body of the mesh, {mesh.body_depth - mesh.body_radius:g} to "
                f"{mesh.body_depth + mesh.body_radius:g} deep, got {interface:g}"
            )
        points, cells, in_body = _Cut(mesh, interface).result() if interface < mesh.far_radius else _uncut(mesh)
        return cls(points, cells, in_body, mesh.body_radius, mesh.body_depth, mesh.far_radius, interface)

    @cached_property
    def below(self) -> NDArray[np.bool_]:
        """Cells (n_cells,) under the interface."""
        return self.points[self.cells[:, :4], 2].mean(axis=1) < -self.interface

    @cached_property
    def weights(self) -> tuple[Array, Array]:
        """w_h, and a w_z that falls to 0 at the interface too."""
        horizontal, vertical = super().weights
        above = self.points[:, 2] + self.interface
        gap = abs(self.interface - self.body_depth) - self.body_radius
        to_plane = (above if self.interface > self.body_depth else -above) / gap
        return horizontal, np.minimum(vertical, np.clip(to_plane, 0.0, 1.0))


    def velocity(self, deeper: float, stretch: Array) -> Array:
        """Displacement of the nodes; sides of cells that do not touch the body stay straight.

        The vertical weight has kinks, and a thin cell would be turned inside out by a side that bends.
        """
        moved = super().velocity(deeper, stretch)
        middle, first, second = self._straight
        moved[middle] = (moved[first] + moved[second]) / 2
        return moved

    @cached_property
    def _straight(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Nodes between two vertices, and these, where none of them is on the body."""
        ends = self.cells[:, _EDGES].reshape(-1, 2)
        middle, at = np.unique(self.cells[:, 4:].ravel(), return_index=True)
        apart = ~np.isin(ends[at], self.cells[self.in_body]).any(axis=1)
        return middle[apart], *ends[at[apart]].T


def layered_length(usual: float, thickness: float, body_in_layer: bool) -> float:
    """Of a unit of the mesh, in m: the usual one, unless the interface would come too near the body of the mesh."""
    if body_in_layer:
        return min(usual, thickness / (_BODY[1] + _ROOM))
    return max(usual, thickness / (_BODY[0] - _ROOM))


def _uncut(mesh: ReferenceMesh) -> tuple[Array, NDArray[np.int32], NDArray[np.bool_]]:
    return mesh.points, mesh.cells, mesh.in_body


class _Cut:
    """The work of one cut: cells by their corners, who touches whom, and the node in the middle of every edge."""

    def __init__(self, mesh: ReferenceMesh, interface: float) -> None:
        self._mesh, self._height = mesh, -interface
        self._points: list[Array] = list(mesh.points.copy())
        self._cells: list[list[int]] = mesh.cells[:, :4].tolist()
        self._in_body: list[bool] = mesh.in_body.tolist()
        self._touching: defaultdict[int, set[int]] = defaultdict(set)
        self._middle: dict[Edge, int] = {}
        for c, nodes in enumerate(mesh.cells.tolist()):
            for vertex in nodes[:4]:
                self._touching[vertex].add(c)
            for (a, b), middle in zip(_EDGES, nodes[4:], strict=True):
                self._middle[_edge(nodes[a], nodes[b])] = middle

    def result(self) -> tuple[Array, NDArray[np.int32], NDArray[np.bool_]]:
        """Nodes, cells and which of these are the body."""
        self._move_vertices()
        # The longest first, which leaves the better cells; the numbers decide between equals.
        crossing = sorted(self._crossing(), key=lambda e: (-float(np.linalg.norm(self._along(e))), e))
        for edge in crossing:
            self._bisect(edge)
        cells = [[*c, *(self._node_between(_edge(c[a], c[b])) for a, b in _EDGES)] for c in self._cells]
        used, cells = np.unique(np.array(cells), return_inverse=True)
        points = np.array(self._points)[used]
        return points, cells.reshape(-1, 10).astype(np.int32), np.array(self._in_body)

    def _above(self, vertex: int) -> float:
        return float(self._points[vertex][2]) - self._height

    def _along(self, edge: Edge) -> Array:
        return self._points[edge[1]] - self._points[edge[0]]

    def _crossing(self) -> list[Edge]:
        vertices = {v for cell in self._cells for v in cell}
        above = {v: self._above(v) for v in vertices}
        return [(a, b) for a, b in self._middle if a in above and b in above and above[a] * above[b] < 0]

    def _move_vertices(self) -> None:
        body = {v for c, inside in zip(self._cells, self._in_body, strict=True) if inside for v in c}
        share: dict[int, float] = {}
        for edge in self._crossing():
            for a, b in (edge, edge[::-1]):
                part = abs(self._above(a)) / abs(self._above(a) - self._above(b))
                share[a] = min(part, share.get(a, 1.0))
        for vertex in sorted(share, key=lambda v: (share[v], v)):
            if share[vertex] < _SNAP and vertex not in body and self._points[vertex][2] < 0:
                self._move(vertex)

    def _move(self, vertex: int) -> None:
        cells = [self._cells[c] for c in sorted(self._touching[vertex])]
        before, old = [self._volume(c) for c in cells], self._points[vertex]
        self._points[vertex] = self._on_plane(old, self._is_far(vertex))
        if any(self._volume(c) / volume < _LEAST_VOLUME for c, volume in zip(cells, before, strict=True)):
            self._points[vertex] = old
            return
        for other in {v for c in cells for v in c} - {vertex}:
            edge = _edge(vertex, other)
            on_sphere = self._is_far(self._middle[edge])
            self._points[self._middle[edge]] = self._middle_point(edge, on_sphere)

    def _volume(self, cell: list[int]) -> float:
        corner, *others = (self._points[v] for v in cell)
        return float(np.linalg.det(np.array(others) - corner))

    def _is_far(self, node: int) -> bool:
        return bool(np.linalg.norm(self._points[node]) > (1 - 1e-6) * self._mesh.far_radius)

    def _on_plane(self, point: Array, on_sphere: bool) -> Array:
        """This point moved vertically, or along the far sphere."""
        wide = float(np.hypot(point[0], point[1]))
        scale = np.sqrt(self._mesh.far_radius**2 - self._height**2) / wide if on_sphere and wide > 0 else 1.0
        return np.array([scale * point[0], scale * point[1], self._height])

    def _middle_point(self, edge: Edge, on_sphere: bool) -> Array:
        middle = (self._points[edge[0]] + self._points[edge[1]]) / 2
        if not on_sphere:
            return middle
        flat = self._above(edge[0]) == self._above(edge[1]) == 0
        return self._on_plane(middle, True) if flat else middle * self._mesh.far_radius / np.linalg.norm(middle)

    def _bisect(self, edge: Edge) -> None:
        a, b = edge
        part = self._above(a) / (self._above(a) - self._above(b))
        on_sphere = all(self._is_far(node) for node in (a, b, self._middle[edge]))
        new = self._add(self._on_plane(self._points[a] + part * self._along(edge), on_sphere))
        for c in sorted(self._touching[a] & self._touching[b]):
            cell = self._cells[c]
            half = [new if v == a else v for v in cell]
            self._cells[c] = [new if v == b else v for v in cell]
            self._cells.append(half)
            self._in_body.append(self._in_body[c])
            self._touching[b].discard(c)
            self._touching[new].add(c)
            for v in half:
                self._touching[v].add(len(self._cells) - 1)

    def _node_between(self, edge: Edge) -> int:
        if edge not in self._middle:
            on_sphere = self._is_far(edge[0]) and self._is_far(edge[1]) and self._is_outer(edge)
            self._middle[edge] = self._add(self._middle_point(edge, on_sphere))
        return self._middle[edge]

    def _is_outer(self, edge: Edge) -> bool:
        """Whether a face with this edge has all its corners on the far sphere."""
        cells = self._touching[edge[0]] & self._touching[edge[1]]
        return any(sum(self._is_far(v) for v in self._cells[c]) >= 3 for c in cells)

    def _add(self, point: Array) -> int:
        self._points.append(point)
        return len(self._points) - 1


def _edge(a: int, b: int) -> Edge:
    return (a, b) if a < b else (b, a)
