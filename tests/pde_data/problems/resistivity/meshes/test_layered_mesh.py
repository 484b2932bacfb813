"""Meshes of a layered ground: conforming, every cell on one side of the interface, which stays where it is."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.resistivity.meshes.layered_mesh import LayeredMesh, unit_and_cover
from gnvpro.pde_data.problems.resistivity.meshes.mesh import EDGES, ReferenceMesh

# Mean depth, thickness, whether the body is in the layer, as of bodies of the default size.
PLACES = {
    "in a thick layer": (0.6, 3.0, True),
    "in a layer": (0.6, 1.2, True),
    "near the bottom of a layer": (1.4, 2.0, True),
    "below a layer": (1.1, 0.5, False),
    "below a thin layer": (0.65, 0.02, False),
    "below a thick layer": (3.6, 3.0, False),
    "interface outside the mesh": (0.6, 30.0, True),
}


def mesh_of(place, name="coarsest"):
    mean, thickness, within = PLACES[place]
    unit, cover = unit_and_cover(mean, thickness, within)
    return unit, LayeredMesh.of(name, thickness / unit, cover)


def corner_volumes(mesh, points=None):
    corners = (mesh.points if points is None else points)[mesh.cells[:, :4]]
    return np.linalg.det(corners[:, 1:] - corners[:, :1]) / 6


@pytest.fixture(params=PLACES)
def placed(request):
    return request.param, *mesh_of(request.param)


def test_no_cell_is_on_both_sides(placed):
    place, _, mesh = placed
    above = mesh.points[:, 2][mesh.cells] + mesh.interface
    assert not ((above > 1e-12).any(axis=1) & (above < -1e-12).any(axis=1)).any()
    assert mesh.below.any() == (place != "interface outside the mesh")
    assert (mesh.below == (above.min(axis=1) < -1e-12)).all()
    assert (mesh.below[mesh.in_body] != PLACES[place][2]).all()


def test_is_conforming_and_fills_the_domain(placed):
    _, _, mesh = placed
    faces = np.sort(mesh.cells[:, [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]].reshape(-1, 3), axis=1)
    faces, count = np.unique(faces, axis=0, return_counts=True)
    assert count.max() == 2
    # A face of one cell alone is on the boundary: on a plane of symmetry, the surface, or far away.
    lone = mesh.points[faces[count == 1]]
    on_plane = (lone == 0).all(axis=1).any(axis=1)
    assert (on_plane | mesh.is_far(lone.reshape(-1, 3).T).reshape(-1, 3).all(axis=1)).all()
    volumes = corner_volumes(mesh)
    assert (np.sign(volumes) == np.sign(volumes[0])).all()
    radius = mesh.far_radius
    domain = np.pi * radius**3 / 6 + mesh.cover * np.pi * radius**2 / 4
    # Less what chords cut off: of the mesh that ships as well.
    plain = ReferenceMesh.named("coarsest")
    assert abs(volumes).sum() / domain == pytest.approx(
        abs(corner_volumes(plain)).sum() * 6 / np.pi / radius**3, abs=0.02
    )


def test_nodes_are_in_the_middle_of_straight_sides(placed):
    _, _, mesh = placed
    surface = np.unique(mesh.cells[mesh.in_body])
    for (a, b), middle in zip(EDGES, mesh.cells[:, 4:].T, strict=True):
        first, second = mesh.points[mesh.cells[:, a]], mesh.points[mesh.cells[:, b]]
        off = np.linalg.norm(mesh.points[middle] - (first + second) / 2, axis=1)
        curved = np.isin(middle, surface) | (mesh.is_far(first.T) & mesh.is_far(second.T))
        assert (off[~curved] < 1e-9).all()


def test_interface_stays_while_bodies_move(placed):
    place, unit, mesh = placed
    mean, _, _ = PLACES[place]
    on = np.flatnonzero(mesh.points[:, 2] == -mesh.interface)
    for depth, size in ((mean - 0.15, 0.15), (mean + 0.15, 0.15), (mean, 0.3)):
        semi_axes = size * np.array([2.0, 1.0, 1.0]) / unit
        moved = mesh.moved(depth / unit, semi_axes)
        assert (moved[on, 2] == -mesh.interface).all()
        assert (moved[mesh.points[:, 2] == 0, 2] == 0).all()
        assert (np.sign(corner_volumes(mesh, moved)) == np.sign(corner_volumes(mesh)[0])).all()
        body = moved[np.unique(mesh.cells[mesh.in_body])]
        inside = ((body + np.array([0, 0, depth / unit])) / semi_axes) ** 2
        assert inside.sum(axis=1).max() == pytest.approx(1.0, abs=1e-9)
        far = mesh.is_far(mesh.points.T)
        np.testing.assert_array_equal(moved[far, 2], mesh.points[far, 2])


def test_meshes_follow_the_bodies(placed):
    place, unit, _ = placed
    mean, _, _ = PLACES[place]
    for name in ("coarsest", "coarse"):
        _, mesh = mesh_of(place, name)
        for depth, size in ((mean - 0.1, 0.2), (mean + 0.1, 0.2), (mean, 0.3)):
            assert mesh.admits(depth / unit, size * np.array([2.0, 1.0, 1.0]) / unit)
        touching = abs(mesh.interface - mesh.body_depth)
        if touching < mesh.body_depth:
            assert not mesh.admits(mesh.body_depth, np.full(3, 1.2 * touching)), (
                "the body would reach into the other layer"
            )


def test_cells_are_not_many_more():
    counts = {place: len(mesh_of(place, "coarse")[1].points) for place in PLACES}
    assert max(counts["in a layer"], counts["in a thick layer"]) < 1.1 * 6140
    assert max(counts.values()) < 2 * 6140
