"""Builds the reference meshes that ship with the package; needs gmsh (`pip install "gnvpro[mesh]"`).

    build(SIZES["coarse"]).save(MESHES / "coarse.npz")

The domain is a quarter of a half-ball, 0 <= x1, 0 <= x2, x3 <= 0, with a quarter of a sphere in it: the body, which
mesh.py maps to ellipsoids. Elements grow in proportion to their distance from the body; those towards the surface
start smaller, since the gap above a shallow body is squeezed by the map.

What was tried, by the error against the boundary elements times unknowns^(4/3), 10 samples and the corners of the
parameter box: element size at the body over growth 0.2 to 0.25 is best (0.4: half as many unknowns for the same
error wasted at the body, 0.2: in the distance), Netgen's optimisation saves a fifth, gmsh's HXT loses a third,
the far boundary at 8 with a decay condition is as good as at 30. Of meshes below 2,000 nodes most do not admit the
default bodies, since an element or two is turned inside out; `coarsest` does, and half its nodes would be a third faster.
"""

from __future__ import annotations

from dataclasses import dataclass

import gmsh
import numpy as np

from gnvpro.pde_data.problems.resistivity.meshes.mesh import ReferenceMesh


@dataclass(frozen=True)
class MeshSize:
    """Element sizes in units of the reference mesh.

    Attributes
    ----------
    at_body
        Edge length on the body.
    growth
        Increase per distance from the body; inside it, half a unit per unit of depth.
    towards_surface
        Fraction by which edges on top of the body are shorter.
    largest, far_radius
        Of an element, and of the domain.
    """

    at_body: float
    growth: float
    towards_surface: float = 0.3
    largest: float = 2.0
    far_radius: float = 8.0


SIZES = {
    "coarsest": MeshSize(0.16, 0.6, far_radius=5.0),
    "coarse": MeshSize(0.067, 0.28),
    "fine": MeshSize(0.04, 0.2, far_radius=10.0),
}
BODY_RADIUS, BODY_DEPTH = 0.3, 0.62
_GROWTH_INSIDE = 0.5


def build(size: MeshSize) -> ReferenceMesh:
    """Mesh the quarter domain with second-order tetrahedra."""
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        body, outside = _geometry(size.far_radius)
        gmsh.model.mesh.setSizeCallback(lambda dim, tag, x, y, z, _: _edge_length(size, x, y, z))
        for name in ("MeshSizeExtendFromBoundary", "MeshSizeFromPoints", "MeshSizeFromCurvature"):
            gmsh.option.setNumber(f"Mesh.{name}", 0)
        gmsh.option.setNumber("General.NumThreads", 1)  # the same mesh every time
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.optimize("Netgen")
        gmsh.model.mesh.setOrder(2)
        return _collected(body, outside, size.far_radius)
    finally:
        gmsh.finalize()


def _geometry(far_radius: float) -> tuple[int, int]:
    """Volumes of the quarter body and of what is around it."""
    kernel, quarter = gmsh.model.occ, np.pi / 2
    half_ball = kernel.addSphere(0, 0, 0, far_radius, angle1=-quarter, angle2=0, angle3=quarter)
    sphere = kernel.addSphere(0, 0, -BODY_DEPTH, BODY_RADIUS, angle1=-quarter, angle2=quarter, angle3=quarter)
    kernel.fragment([(3, half_ball)], [(3, sphere)])
    kernel.synchronize()
    body, outside = sorted((v for _, v in gmsh.model.getEntities(3)), key=lambda v: kernel.getMass(3, v))
    return body, outside


def _edge_length(size: MeshSize, x: float, y: float, z: float) -> float:
    radius = np.sqrt(x * x + y * y + (z + BODY_DEPTH) ** 2)
    upward = max(0.0, (z + BODY_DEPTH) / max(radius, 1e-9)) ** 2
    at_body = size.at_body * (1 - size.towards_surface * upward)
    distance = radius - BODY_RADIUS
    return min(at_body + (size.growth * distance if distance > 0 else -_GROWTH_INSIDE * distance), size.largest)


def _collected(body: int, outside: int, far_radius: float) -> ReferenceMesh:
    tags, points = (np.asarray(found) for found in gmsh.model.mesh.getNodes()[:2])
    number = np.zeros(int(tags.max()) + 1, dtype=np.int64)
    number[tags] = np.arange(len(tags))
    cells, inside = [], []
    for volume in (body, outside):
        _, _, nodes = gmsh.model.mesh.getElements(3, volume)
        cells.append(number[nodes[0]].reshape(-1, 10))
        inside.append(np.full(len(cells[-1]), volume == body))
    used, cells = np.unique(np.concatenate(cells), return_inverse=True)
    points = points.reshape(-1, 3)[used]
    points[np.abs(points) < 1e-9] = 0.0  # on the planes of symmetry and on the surface exactly
    return ReferenceMesh(
        points,
        cells.reshape(-1, 10).astype(np.int32),
        np.concatenate(inside),
        BODY_RADIUS,
        BODY_DEPTH,
        far_radius,
    )
