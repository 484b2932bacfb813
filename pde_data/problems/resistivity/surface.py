"""Quadrature on the surface of the body, and the splitting of functions on it into their four parities.

The body is symmetric in x1 and in x2, so the equation maps functions that are even (or odd) in a coordinate to
such functions. A function on the whole surface is the sum of four parts, each known from a quarter:

    f(image i of q) = sum_p chi[p, i] f_p(q),   f_p(q) = 1/4 sum_i chi[p, i] f(image i of q),

with the signs chi of parity p under reflection i.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from gnvpro.pde_data.problems.resistivity.meshes.mesh import ReferenceMesh
from gnvpro.surrogate.spaces import Array

# Reflections of (x1, x2), and parities in the same order: even or odd in x1, in x2.
SIGNS = np.array([(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)])
CHI = np.array([[np.prod(np.where(reflection < 0, parity, 1.0)) for reflection in SIGNS] for parity in SIGNS])

# The triangles of a second-order tetrahedron, corners first, then the nodes on the sides 01, 12, 20.
_FACES = np.array([(0, 1, 2, 4, 5, 6), (0, 1, 3, 4, 9, 7), (0, 2, 3, 6, 8, 7), (1, 2, 3, 5, 8, 9)])


def fold(values: Array) -> Array:
    """Parities of values on the whole surface: (4 images, …) -> (4 parities, …)."""
    return np.tensordot(CHI, values, axes=1) / 4


def unfold(parts: Array) -> Array:
    """Values on the whole surface from their parities: (4 parities, …) -> (4 images, …)."""
    return np.tensordot(CHI.T, parts, axes=1)


class BodySurface:
    """Points, normals and interpolation on the quarter of the sphere, to be stretched to any ellipsoid.

    Attributes
    ----------
    nodes : (n_surface,)
        Nodes of the mesh on the surface.
    interpolation : (n_points, n_surface)
        Sparse; values at the quadrature points from values at `nodes`.
    """

    def __init__(self, mesh: ReferenceMesh, quadrature: tuple[Array, Array]) -> None:
        # quadrature: points (n, 2) and weights (n,) on the triangle (0, 0), (1, 0), (0, 1).
        triangles = _surface_triangles(mesh)
        points, weights = quadrature
        shape, by_xi, by_eta = _quadratic(points)
        corners = mesh.from_centre[triangles]  # (n_triangles, 6, 3)
        at, along_xi, along_eta = (np.einsum("qk,tkj->tqj", N, corners) for N in (shape, by_xi, by_eta))
        normals = np.cross(along_xi, along_eta) * weights[:, None]
        outward = np.sign((normals * at).sum(axis=2, keepdims=True))
        self._points, self._normals = at.reshape(-1, 3), (outward * normals).reshape(-1, 3)

        self.nodes, local = np.unique(triangles, return_inverse=True)
        rows = np.repeat(np.arange(len(self._points)), 6)
        columns = np.repeat(local.reshape(-1, 1, 6), len(points), axis=1).ravel()
        values = np.tile(shape, (len(triangles), 1)).ravel()
        self.interpolation = sp.csr_array((values, (rows, columns)), shape=(len(self._points), len(self.nodes)))

    def __len__(self) -> int:
        return len(self._points)

    def at(self, depth: float, stretch: Array) -> tuple[Array, Array]:
        """Points and area-weighted outward normals, both (4 images, n_points, 3).

        The sphere is stretched by `stretch` (3,), which turns normals by its cofactors, and centred at `depth`.
        """
        points = self._points * stretch - np.array([0.0, 0.0, depth])
        normals = self._normals * (np.prod(stretch) / stretch)
        reflect = np.concatenate([SIGNS, np.ones((4, 1))], axis=1)[:, None, :]
        return reflect * points, reflect * normals


def _surface_triangles(mesh: ReferenceMesh) -> NDArray[np.int32]:
    """Faces (n, 6) of the body's cells that lie on the sphere."""
    faces = mesh.cells[mesh.in_body][:, _FACES].reshape(-1, 6)
    radii = np.linalg.norm(mesh.from_centre[faces[:, :3]], axis=2)
    return faces[(np.abs(radii - mesh.body_radius) < 1e-7 * mesh.body_radius).all(axis=1)]


def _quadratic(points: Array) -> tuple[Array, Array, Array]:
    """Quadratic shape functions of the triangle and their derivatives, each (n_points, 6)."""
    x, y = points.T
    z, zero = 1 - x - y, np.zeros(len(points))
    values = (z * (2 * z - 1), x * (2 * x - 1), y * (2 * y - 1), 4 * x * z, 4 * x * y, 4 * y * z)
    by_x = (1 - 4 * z, 4 * x - 1, zero, 4 * (z - x), 4 * y, -4 * y)
    by_y = (1 - 4 * z, zero, 4 * y - 1, -4 * x, 4 * x, 4 * (z - y))
    return np.stack(values, axis=1), np.stack(by_x, axis=1), np.stack(by_y, axis=1)
