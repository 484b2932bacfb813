"""A reference mesh that is cut along a plane so that no cell lies on both sides.

Vertices that are near the plane are moved onto it; the edges that still cross it are bisected one after the other, each in
all cells that share it, so that the mesh stays conforming.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.resistivity.meshes.mesh import EDGES, ReferenceMesh
from gnvpro.surrogate.spaces import Array

# A vertex is moved onto the plane if it cuts off less than this of an edge and leaves this much of every cell's volume.
_SNAP, _LEAST_VOLUME = 0.3, 0.3

Edge = tuple[int, int]


def cut(mesh: ReferenceMesh, depth: float) -> tuple[Array, NDArray[np.int32], NDArray[np.bool_]]:
    """Nodes, cells and which of these are the body, with faces along the plane x3 = -depth, under the body."""
    return _Cut(mesh, depth).result()


class _Cut:
    """The work of one cut: cells by their corners, who touches whom, and the node in the middle of every edge."""

    def __init__(self, mesh: ReferenceMesh, depth: float) -> None:
        self._mesh, self._height = mesh, -depth
        self._points: list[Array] = list(mesh.points.copy())
        self._cells: list[list[int]] = mesh.cells[:, :4].tolist()
        self._in_body: list[bool] = mesh.in_body.tolist()
        self._touching: defaultdict[int, set[int]] = defaultdict(set)
        self._middle: dict[Edge, int] = {}
        for c, nodes in enumerate(mesh.cells.tolist()):
            for vertex in nodes[:4]:
                self._touching[vertex].add(c)
            for (a, b), middle in zip(EDGES, nodes[4:], strict=True):
                self._middle[_edge(nodes[a], nodes[b])] = middle

    def result(self) -> tuple[Array, NDArray[np.int32], NDArray[np.bool_]]:
        """Nodes, cells and which of these are the body."""
        self._move_vertices()
        # The longest first, which leaves the better cells; the numbers decide between equals.
        crossing = sorted(self._crossing(), key=lambda e: (-float(np.linalg.norm(self._along(e))), e))
        for edge in crossing:
            self._bisect(edge)
        cells = [[*c, *(self._node_between(_edge(c[a], c[b])) for a, b in EDGES)] for c in self._cells]
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
