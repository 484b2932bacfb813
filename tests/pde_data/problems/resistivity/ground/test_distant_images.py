"""Grids stand for a surface layer: exactly for polynomials, to the tolerance for images."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.resistivity.ground.distant_images import Grid, groups

RNG = np.random.default_rng(7)
POINTS = RNG.uniform([-0.6, -0.3, -0.9], [0.6, 0.3, -0.3], (3000, 3))
NORMALS, VALUES = RNG.standard_normal((3000, 3)), RNG.standard_normal((3000, 2))


def polynomial(points):
    x, y, z = points.T
    return x**3 * y - 2 * z**2 * x + y**2 + z**3


def along_normals(points, normals):
    x, y, z = points.T
    gradient = np.stack([3 * x**2 * y - 2 * z**2, x**3 + 2 * y, -4 * z * x + 3 * z**2], axis=1)
    return (gradient * normals).sum(axis=1)


@pytest.mark.parametrize("numbers", [(4, 3, 4), (7, 5, 6)])
def test_exact_for_polynomials_of_the_degree(numbers):
    expected = along_normals(POINTS, NORMALS) @ VALUES
    finer = Grid.of_surface(POINTS, NORMALS, VALUES, (9, 8, 7))
    for grid in (Grid.of_surface(POINTS, NORMALS, VALUES, numbers), finer.coarser(numbers)):
        assert len(grid.nodes) == np.prod(numbers)
        np.testing.assert_allclose(polynomial(grid.nodes) @ grid.weights, expected, rtol=1e-10)


def test_not_exact_beyond_it():
    grid = Grid.of_surface(POINTS, NORMALS, VALUES, (3, 3, 3))
    expected = along_normals(POINTS, NORMALS) @ VALUES
    assert not np.allclose(polynomial(grid.nodes) @ grid.weights, expected, rtol=1e-3)


def test_of_a_flat_body():
    flat = POINTS * [1, 1, 0] - [0, 0, 0.4]
    grid = Grid.of_surface(flat, NORMALS * [1, 1, 0], VALUES, (5, 4, 1))
    np.testing.assert_allclose(
        polynomial(grid.nodes) @ grid.weights, along_normals(flat, NORMALS * [1, 1, 0]) @ VALUES, rtol=1e-10
    )


def test_images_are_read_to_the_tolerance():
    heights = np.array([0.0, 1.2, -2.4, 2.4, 5.0, -5.0, 40.0])
    seen = []
    for group, numbers in groups(POINTS, heights):
        seen.extend(group.tolist())
        if numbers is None:
            continue
        grid = Grid.of_surface(POINTS, NORMALS, VALUES, numbers)
        for height in heights[group]:
            image = np.array([0.5, -0.2, height])
            away = image - POINTS
            exact = ((away * NORMALS).sum(1) / np.linalg.norm(away, axis=1) ** 3) @ VALUES
            found = (1 / np.linalg.norm(image - grid.nodes, axis=1)) @ grid.weights
            # Sums of random signs are small beside their terms.
            scale = np.abs(VALUES).sum(axis=0) * np.linalg.norm(away, axis=1).min() ** -2
            assert (np.abs(found - exact) < 1e-7 * scale).all()
    assert sorted(seen) == list(range(len(heights)))


def test_no_grid_that_is_not_worth_it():
    assert [n for _, n in groups(POINTS, np.array([0.0]))] == [None], "the electrode itself is too near"
    assert [n for _, n in groups(POINTS[:50], np.array([3.0]))] == [None], "few points"
    ((_, far),) = groups(POINTS, np.array([30.0]))
    assert far is not None
    assert np.prod(far) <= 125
