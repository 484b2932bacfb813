"""The meshes of the package: fitted, symmetric, and moved as their description says."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.resistivity.meshes.mesh import ReferenceMesh
from gnvpro.pde_data.problems.resistivity.surface import BodySurface, fold, unfold
from tests.calculus import assert_taylor

# Points and weights on the triangle, exact for quadratic polynomials.
MIDPOINTS = np.array([[0.5, 0.0], [0.5, 0.5], [0.0, 0.5]]), np.full(3, 1 / 6)


@pytest.fixture(scope="module", params=["coarsest", "coarse", "fine"])
def mesh(request):
    return ReferenceMesh.named(request.param)


def test_nodes_lie_on_sphere_surface_and_planes(mesh):
    assert {10} == {mesh.cells.shape[1]}
    radii = np.linalg.norm(mesh.from_centre, axis=1)
    on_body = np.isclose(radii, mesh.body_radius, rtol=0, atol=1e-9)
    of_body, of_ground = np.unique(mesh.cells[mesh.in_body]), np.unique(mesh.cells[~mesh.in_body])
    np.testing.assert_array_equal(np.intersect1d(of_body, of_ground), np.flatnonzero(on_body))
    assert (mesh.points[:, :2] >= 0).all()
    assert (mesh.points[:, 2] <= 0).all()
    assert np.linalg.norm(mesh.points, axis=1).max() == pytest.approx(mesh.far_radius)


def test_body_becomes_the_ellipsoid_and_the_rest_keeps_its_planes(mesh):
    semi_axes = np.array([0.5, 0.2, 0.25])
    moved = mesh.moved(0.5, semi_axes)
    body = np.unique(mesh.cells[mesh.in_body])
    inside = np.linalg.norm((moved[body] + [0, 0, 0.5]) / semi_axes, axis=1)
    assert inside.max() == pytest.approx(1.0, abs=1e-12)
    for j in range(3):
        np.testing.assert_array_equal(moved[mesh.points[:, j] == 0, j], 0.0)
    still = np.setdiff1d(np.arange(len(moved)), np.concatenate([body, np.unique(mesh.cells[mesh.moving])]))
    np.testing.assert_array_equal(moved[still], mesh.points[still])


def test_nodes_are_affine_in_depth_and_semi_axes(mesh):
    start, direction = np.array([0.6, 0.4, 0.2, 0.2]), np.array([0.1, 0.2, -0.05, 0.1])
    velocity = mesh.velocity(direction[0], direction[1:] / mesh.body_radius)
    change = mesh.moved(0.7, start[1:] + direction[1:]) - mesh.moved(0.6, start[1:])
    np.testing.assert_allclose(change, velocity, atol=1e-14)
    assert_taylor(lambda p: mesh.moved(p[0], p[1:]), velocity, start, direction)


def test_admits_the_default_bodies_and_not_what_turns_elements_inside_out(mesh):
    for depth in (0.45, 0.75):
        for size in (0.15, 0.30):
            assert mesh.admits(depth, size * np.array([2.0, 1.0, 1.0]))
    assert not mesh.admits(0.45, np.array([2.4, 0.3, 0.3]))
    assert not mesh.admits(0.29, np.array([0.3, 0.3, 0.3]))


def test_surface_integrals(mesh):
    surface = BodySurface(mesh, MIDPOINTS)
    stretch = np.array([2.0, 1.0, 0.5])
    points, normals = surface.at(0.6, stretch)
    centred = points + np.array([0, 0, 0.6])
    volume = (centred * normals).sum() / 3
    assert volume == pytest.approx(4 / 3 * np.pi * mesh.body_radius**3, rel=2e-3)
    np.testing.assert_allclose(normals.sum(axis=(0, 1))[:2], 0.0, atol=1e-12)
    np.testing.assert_allclose(normals.sum(axis=(0, 1))[2], 0.0, atol=1e-4)


def test_interpolation_is_exact_for_quadratics(mesh):
    surface = BodySurface(mesh, MIDPOINTS)
    # On the sphere's own second-order triangles the coordinates are quadratic.
    at_nodes = mesh.from_centre[surface.nodes]
    points, _ = surface.at(0.0, np.ones(3))
    np.testing.assert_allclose(surface.interpolation @ at_nodes, points[0], atol=1e-12)


def test_parities_are_an_orthogonal_splitting():
    values = np.random.default_rng(0).standard_normal((4, 5, 2))
    np.testing.assert_allclose(unfold(fold(values)), values, atol=1e-15)
    even = np.broadcast_to(values[:1], values.shape)
    np.testing.assert_allclose(fold(even)[1:], 0.0, atol=1e-15)
    assert np.abs(fold(values)[1:]).max() > 0.1


def test_saved_mesh_is_read_back(mesh, tmp_path):
    mesh.save(tmp_path / "mesh.npz")
    assert ReferenceMesh.load(tmp_path / "mesh.npz").sha256 == mesh.sha256


def test_unknown_mesh():
    with pytest.raises(ValueError, match="expected one of coarse, coarsest, fine"):
        ReferenceMesh.named("finest")


def test_a_mesh_that_is_built_is_fitted_and_can_be_moved():
    pytest.importorskip("gmsh", reason='gmsh is not installed: pip install "gnvpro[mesh]"')
    from gnvpro.pde_data.problems.resistivity.meshes.build_mesh import MeshSize, build

    mesh = build(MeshSize(at_body=0.15, growth=0.5))
    assert mesh.in_body.any()
    assert (~mesh.in_body).any()
    assert mesh.admits(0.6, np.array([0.4, 0.2, 0.2]))
