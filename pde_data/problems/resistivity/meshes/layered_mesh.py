"""The reference mesh of a layered ground: one of the meshes that ship, with a plane of faces along the bottom of the layer.

A kink of the potential inside cells would leave an error of first order. The plane is made once, before any body is seen:

- under a body in the layer, the mesh is cut along it (mesh_cut.py); where the body is nearer to the bottom of the layer than
  to the surface, more ground is put on top (mesh_cover.py),
- over a body below the layer, the surface of the mesh becomes the interface, and the layer is put on top.

So the body is as far from the nearer plane as it is from the surface of a half-space. Nodes move only within a ball that
touches that plane: nodes of the interface stay on it, every cell stays in its layer, and the derivative by depth is
that of a ground whose interface does not move.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.resistivity.meshes.mesh import MEAN_DEPTH, ReferenceMesh
from gnvpro.pde_data.problems.resistivity.meshes.mesh_cover import covered
from gnvpro.pde_data.problems.resistivity.meshes.mesh_cut import cut
from gnvpro.surrogate.spaces import Array

# Less ground on top than this, in units of the mesh, is not worth its cells.
_LEAST_COVER = 0.1


@dataclass(frozen=True)
class LayeredMesh(ReferenceMesh):
    """A mesh with a plane of faces at a depth, all of the body on one side of it.

    Attributes
    ----------
    interface
        Depth of the plane.
    cover
        What has been put on top of the mesh that ships, whose far boundary is a half-ball; on top of that it is a cylinder.
    """

    interface: float
    cover: float

    @classmethod
    @cache
    def of(cls, name: str, interface: float, cover: float) -> LayeredMesh:
        """The mesh of this name under a cover, which is the layer if it is as thick as the interface is deep.

        Raises UsageError: there is no mesh of that name.
        """
        mesh = ReferenceMesh.named(name)
        depth, lengths = mesh.body_depth + cover, (mesh.far_radius, interface, cover)
        # Where the interface is outside the domain it is too far to matter.
        if depth < interface < cover + mesh.far_radius:
            parts = cut(mesh, interface - cover)
            mesh = ReferenceMesh(*parts, mesh.body_radius, mesh.body_depth, mesh.far_radius)
        parts = (mesh.points, mesh.cells, mesh.in_body) if cover == 0 else covered(mesh, cover)
        return cls(*parts, mesh.body_radius, depth, *lengths)

    @cached_property
    def below(self) -> NDArray[np.bool_]:
        """Cells (n_cells,) under the interface."""
        return self.points[self.cells[:, :4], 2].mean(axis=1) < -self.interface

    @property
    def reach(self) -> float:
        """To the nearer one of surface and interface."""
        return min(self.body_depth, abs(self.interface - self.body_depth)) / self.body_radius

    def is_far(self, points: Array) -> NDArray[np.bool_]:
        """Whether points (3, n) are on the far boundary."""
        from_axis, depth = np.hypot(points[0], points[1]), np.maximum(-points[2] - self.cover, 0.0)
        return np.hypot(from_axis, depth) > (1 - 1e-2) * self.far_radius


def unit_and_cover(mean_depth: float, thickness: float, body_in_layer: bool) -> tuple[float, float]:
    """Length of a unit of the mesh in m, and the cover in such units, for bodies of this mean depth in m.

    Bodies of mean depth are moved least: they are as far from the nearer plane as in the mesh that ships from its surface.
    """
    if not body_in_layer:
        unit = (mean_depth - thickness) / MEAN_DEPTH
        return unit, thickness / unit
    unit = min(mean_depth, thickness - mean_depth) / MEAN_DEPTH
    cover = mean_depth / unit - MEAN_DEPTH
    return unit, cover if cover > _LEAST_COVER else 0.0
