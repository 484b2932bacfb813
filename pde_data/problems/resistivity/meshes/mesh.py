"""The body-fitted reference mesh of the resistivity problem, and its smooth map to every depth and size of the body.

A mesh that follows the body has no error from cut elements, and a mesh that is *moved* instead of made anew has
observables that are smooth functions of the parameters: node positions are affine in depth and semi-axes.

In the reference mesh the body is a sphere of radius a about (0, 0, -d). A node X at distance rho = |X - (0, 0, -d)| / a
from its centre, in radii, moves by

    x1, x2:  w_h(rho) (s_j - 1) X_j,         w_h = (1/rho - 1/4) / (1 - 1/4),   0 beyond rho = 4
    x3:      w_z(rho) [d - depth + (s_3 - 1)(X_3 + d)],   w_z linear in rho,    0 beyond rho = d/a

with s the semi-axes of the ellipsoid over a, and both weights 1 in the body. So the body is mapped affinely, the
surface x3 = 0 and the planes of symmetry x1 = 0, x2 = 0 onto themselves, and what is far stays where it is.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# Of a mean body, in units of the mesh.
MEAN_DEPTH = 0.6
# Corners of a cell between which its other nodes are, in the order of gmsh.
EDGES = ((0, 1), (1, 2), (0, 2), (0, 3), (2, 3), (1, 3))
MESHES = Path(__file__).parent
# In radii of the body. Nearer saves moving cells, further allows longer bodies.
_HORIZONTAL_REACH = 4.0


@dataclass(frozen=True)
class ReferenceMesh:
    """Second-order tetrahedra of a quarter of the domain, with a spherical body, in a unit of length of its own.

    Attributes
    ----------
    points : (n_nodes, 3)
    cells : (n_cells, 10)
        Nodes in the order of gmsh.
    in_body : (n_cells,)
        Which cells are the body.
    body_radius, body_depth, far_radius
        Of the sphere, of its centre, and of the domain.
    """

    points: Array
    cells: NDArray[np.int32]
    in_body: NDArray[np.bool_]
    body_radius: float
    body_depth: float
    far_radius: float

    @classmethod
    def load(cls, path: Path) -> ReferenceMesh:
        """Read a file of `save`."""
        with np.load(path, allow_pickle=False) as file:
            lengths = (float(file[name]) for name in ("body_radius", "body_depth", "far_radius"))
            return cls(file["points"], file["cells"], file["in_body"], *lengths)

    def save(self, path: Path) -> None:
        """Write an `.npz` file."""
        np.savez_compressed(path, **asdict(self))

    @classmethod
    @cache
    def named(cls, name: str) -> ReferenceMesh:
        """One of the meshes that come with the package.

        Raises UsageError: no mesh of that name; lists them.
        """
        path = MESHES / f"{name}.npz"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in MESHES.glob("*.npz")))
            raise UsageError(f"unknown mesh {name!r}; expected one of {known}")
        return cls.load(path)

    @cached_property
    def sha256(self) -> str:
        """Of nodes and cells: what identifies the mesh in a problem's definition."""
        return hashlib.sha256(self.points.tobytes() + self.cells.tobytes() + self.in_body.tobytes()).hexdigest()

    @cached_property
    def from_centre(self) -> Array:
        """Nodes relative to the centre of the body (n_nodes, 3)."""
        return self.points + np.array([0.0, 0.0, self.body_depth])

    @cached_property
    def weights(self) -> tuple[Array, Array]:
        """w_h and w_z at the nodes (n_nodes,)."""
        rho = np.maximum(np.linalg.norm(self.from_centre, axis=1) / self.body_radius, 1.0)
        horizontal = (1 / rho - 1 / _HORIZONTAL_REACH) / (1 - 1 / _HORIZONTAL_REACH)
        return np.clip(horizontal, 0.0, 1.0), np.clip((self.reach - rho) / (self.reach - 1), 0.0, 1.0)

    def moved(self, depth: float, semi_axes: Array) -> Array:
        """Nodes (n_nodes, 3) when the body is an ellipsoid of these semi-axes (3,), its centre at `depth`."""
        scale = np.asarray(semi_axes) / self.body_radius
        return self.points + self.velocity(depth - self.body_depth, scale - 1)

    def velocity(self, deeper: float, stretch: Array) -> Array:
        """Displacement of the nodes (n_nodes, 3), linear in the change of depth and of semi_axes / body_radius (3,)."""
        horizontal, vertical = self.weights
        moved = np.empty_like(self.points)
        moved[:, :2] = horizontal[:, None] * np.asarray(stretch)[:2] * self.from_centre[:, :2]
        moved[:, 2] = vertical * (stretch[2] * self.from_centre[:, 2] - deeper)
        return moved

    @cached_property
    def below(self) -> NDArray[np.bool_]:
        """Cells (n_cells,) under an interface between layers: none."""
        return np.zeros(len(self.cells), dtype=bool)

    @property
    def reach(self) -> float:
        """In radii of the body, where nodes do not move up or down any more."""
        return self.body_depth / self.body_radius

    def is_far(self, points: Array) -> NDArray[np.bool_]:
        """Whether points (3, n) are on the far boundary."""
        return np.linalg.norm(points, axis=0) > (1 - 1e-2) * self.far_radius

    @cached_property
    def moving(self) -> NDArray[np.bool_]:
        """Cells (n_cells,) outside the body of which a node can move."""
        can_move = np.maximum(*self.weights) > 0
        return can_move[self.cells].any(axis=1) & ~self.in_body

    def admits(self, depth: float, semi_axes: Array) -> bool:
        """Whether the mesh can follow this body: the surface stays above it, and no element is turned inside out."""
        if not depth > semi_axes[2]:
            return False
        corners = self.moved(depth, semi_axes)[self.cells]  # (n_cells, 10, 3)
        jacobians = np.einsum("pkr,cks->cprs", _shape_derivatives(), corners)
        determinants = np.linalg.det(jacobians)
        return bool((np.sign(determinants) == np.sign(determinants[:1, :1])).all())


def _shape_derivatives() -> Array:
    """Derivatives (10 points, 10 functions, 3) of the quadratic shape functions at the nodes, in the order of gmsh."""
    barycentric = np.eye(4)
    nodes = np.array([*barycentric, *((barycentric[a] + barycentric[b]) / 2 for a, b in EDGES)])
    by_coordinate = np.array([[-1.0, -1.0, -1.0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    at_corners = (4 * nodes - 1)[:, :, None] * by_coordinate
    on_edges = np.stack(
        [4 * (nodes[:, [a]] * by_coordinate[b] + nodes[:, [b]] * by_coordinate[a]) for a, b in EDGES], 1
    )
    return np.concatenate([at_corners, on_edges], axis=1)
