"""The background: its Green's function is harmonic, carries one ampere, and its integrals are what they say."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.resistivity.ground.half_space import HalfSpace
from tests.calculus import assert_taylor

GROUND = HalfSpace(0.7)
RNG = np.random.default_rng(3)
ELECTRODES = RNG.uniform(-1, 1, (3, 2))
POINTS = RNG.uniform(-0.5, 0.5, (6, 3)) - [0, 0, 0.8]
NORMALS = RNG.standard_normal((6, 3))


def test_one_ampere_flows_through_a_half_sphere():
    x, weights = np.polynomial.legendre.leggauss(12)
    angle = 2 * np.pi * np.arange(24) / 24
    height, around = (a.ravel() for a in np.meshgrid((x - 1) / 2, angle, indexing="ij"))
    radius = np.sqrt(1 - height**2)
    points = np.stack([radius * np.cos(around), radius * np.sin(around), height], axis=1)
    area = np.repeat(weights / 2, 24) * 2 * np.pi / 24
    current = -GROUND.conductivity * (GROUND.flux(np.array([[0.2, -0.1]]), points, points) @ area)
    assert current == pytest.approx([1.0], rel=1e-6)


def test_flux_is_the_derivative_of_the_potential():
    for i in range(len(POINTS)):
        assert_taylor(
            lambda x: GROUND.potential(ELECTRODES, x)[:, 0],
            GROUND.flux(ELECTRODES, POINTS[[i]], NORMALS[[i]])[:, 0],
            POINTS[[i]],
            NORMALS[[i]],
        )


def test_potential_at_the_surface_and_below_agree():
    flat = np.array([[0.3, 0.4], [2.0, -1.0]])
    np.testing.assert_allclose(
        GROUND.potential(ELECTRODES, flat), GROUND.potential(ELECTRODES, np.c_[flat, [0.0, 0.0]]), rtol=1e-15
    )


@pytest.mark.parametrize("which", [0, 1], ids=["potential", "flux"])
def test_derivatives_by_the_electrode(which):
    functions = (lambda e: GROUND.potential(e, POINTS), lambda e: GROUND.flux(e, POINTS, NORMALS))
    direction = RNG.standard_normal((3, 2))
    gradient = GROUND.derivatives(ELECTRODES, POINTS, NORMALS)[which]
    assert_taylor(functions[which], np.einsum("eqj,ej->eq", gradient[..., :2], direction), ELECTRODES, direction)


def test_vertical_derivative_moves_the_points_the_other_way():
    up = np.array([0.0, 0.0, 1.0])
    by_potential, by_flux = GROUND.derivatives(ELECTRODES, POINTS, NORMALS)
    assert_taylor(lambda t: GROUND.potential(ELECTRODES, POINTS - t * up), by_potential @ up, np.zeros(1), np.ones(1))
    assert_taylor(lambda t: GROUND.flux(ELECTRODES, POINTS - t * up, NORMALS), by_flux @ up, np.zeros(1), np.ones(1))


@pytest.mark.usefixtures("fenicsx")
class TestCollect:
    values = RNG.standard_normal((6, 4))

    def test_is_the_sum_of_fluxes(self):
        expected = GROUND.flux(ELECTRODES, POINTS, NORMALS) @ self.values
        np.testing.assert_allclose(GROUND.collect(ELECTRODES, POINTS, NORMALS, self.values), expected, rtol=1e-12)

    def test_with_gradient(self):
        values, gradient = GROUND.collect_with_gradient(ELECTRODES, POINTS, NORMALS, self.values, 2)
        np.testing.assert_allclose(values, GROUND.collect(ELECTRODES, POINTS, NORMALS, self.values), rtol=1e-12)
        expected = np.einsum("rqj,qk->rjk", GROUND.derivatives(ELECTRODES, POINTS, NORMALS)[1], self.values[:, :2])
        np.testing.assert_allclose(gradient, expected, rtol=1e-12)


@pytest.mark.parametrize("conductivity", [0.0, -1.0, np.inf, np.nan])
def test_conductivity_is_positive(conductivity):
    with pytest.raises(ValueError, match="positive conductivity"):
        HalfSpace(conductivity)
