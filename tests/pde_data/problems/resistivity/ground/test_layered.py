"""A layer over a half-space: its Green's function against Hankel integrals, its limits, and the sums over surfaces."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import j0

from gnvpro.pde_data.problems.resistivity.ground.half_space import HalfSpace
from gnvpro.pde_data.problems.resistivity.ground.layered import Layer, LayeredGround
from gnvpro.pde_data.problems.resistivity.problem import Resistivity
from gnvpro.pde_data.problems.resistivity.surveys.survey import ReceiverPairs, Source, Survey
from tests.calculus import assert_taylor

RNG = np.random.default_rng(11)
ELECTRODES = RNG.uniform(-1, 1, (3, 2))
POINTS = np.concatenate(
    [RNG.uniform([-0.5, -0.5, -0.7], [0.5, 0.5, -0.2], (4, 3)), RNG.uniform([-1, -1, -3], [1, 1, -0.9], (4, 3))]
)
NORMALS = RNG.standard_normal((8, 3))
GROUNDS = [
    LayeredGround(Layer(0.8, upper), below, True)
    for upper, below in ((1.0, 10.0), (10.0, 1.0), (0.02, 1.98), (1.98, 0.02))
]
BY_CONTRAST = pytest.mark.parametrize("ground", GROUNDS, ids=lambda g: f"k = {g.reflection:.2f}")


def hankel(ground, across, depth):
    """The potential of 1 A, from the boundary conditions in the Hankel domain: no images."""
    upper, lower, h = ground.layer.conductivity, ground.below, ground.layer.thickness

    def component(t):
        # A exp(-tz) + B exp(tz) in the layer, with A - B = 1 / (2 pi upper) by the current, and C exp(-tz) below it.
        down, up = (upper + lower) * np.exp(t * h), (upper - lower) * np.exp(-t * h)
        source = 1 / (2 * np.pi * upper)
        b = source * up / (down - up)
        if depth <= h:
            # Less the half-space's own exp(-tz), which is added in closed form.
            return b * (np.exp(-t * depth) + np.exp(t * depth)) * j0(t * across)
        return ((source + b) * np.exp(-t * h) + b * np.exp(t * h)) * np.exp(-t * (depth - h)) * j0(t * across)

    decay = 2 * h - depth if depth <= h else depth
    direct = 1 / (2 * np.pi * upper * np.hypot(across, depth)) if depth <= h else 0.0
    return direct + quad(component, 0, 40 / decay, limit=1000, epsabs=1e-12, epsrel=1e-10)[0]


@BY_CONTRAST
@pytest.mark.parametrize("depth", [0.0, 0.3, 0.79, 0.81, 2.5])
def test_potential_is_the_hankel_integral(ground, depth):
    for across in (0.1, 1.0, 6.0):
        found = ground.potential(np.zeros((1, 2)), np.array([[across, 0.0, -depth]]))[0, 0]
        exact = hankel(ground, across, depth)
        assert abs(found - exact) < 1e-8 * exact
        wrong = LayeredGround(Layer(0.8008, ground.layer.conductivity), ground.below, True)
        assert abs(hankel(wrong, across, depth) - found) > 1e-8 * exact, "a thickness that is 0.1 % off goes unnoticed"


@BY_CONTRAST
def test_one_ampere_flows_through_a_half_sphere(ground):
    """Which the interface crosses: in two parts, on whose edges the flux jumps."""
    x, weights = np.polynomial.legendre.leggauss(16)
    angle = 2 * np.pi * np.arange(32) / 32
    current, radius = 0.0, 1.3
    split = -ground.layer.thickness / radius
    for low, high in ((-1.0, split), (split, 0.0)):
        height, around = (a.ravel() for a in np.meshgrid((low + high) / 2 + (high - low) / 2 * x, angle, indexing="ij"))
        flat = np.sqrt(1 - height**2)
        normals = np.stack([flat * np.cos(around), flat * np.sin(around), height], axis=1)
        area = radius**2 * np.repeat(weights * (high - low) / 2, 32) * 2 * np.pi / 32
        conductivity = ground.below if high == split else ground.layer.conductivity
        current -= conductivity * float((ground.flux(np.array([[0.2, -0.1]]), radius * normals, normals) @ area)[0])
    assert current == pytest.approx(1.0, rel=1e-7)


@BY_CONTRAST
def test_potential_and_current_are_continuous_at_the_interface(ground):
    places, up = RNG.uniform(-2, 2, (5, 2)), np.tile([0.0, 0.0, 1.0], (5, 1))
    above, under = (np.column_stack([places, np.full(5, -0.8 + side)]) for side in (1e-12, -1e-12))
    np.testing.assert_allclose(ground.potential(ELECTRODES, above), ground.potential(ELECTRODES, under), rtol=1e-9)
    leaving = ground.layer.conductivity * ground.flux(ELECTRODES, above, up)
    np.testing.assert_allclose(leaving, ground.below * ground.flux(ELECTRODES, under, up), rtol=1e-7)


@pytest.mark.parametrize(
    ("ground", "half_space"),
    [
        (LayeredGround(Layer(0.8, 0.7), 0.7, True), 0.7),
        (LayeredGround(Layer(1e7, 0.7), 7.0, True), 0.7),
        (LayeredGround(Layer(1e-8, 7.0), 0.7, False), 0.7),
    ],
    ids=["no contrast", "infinitely thick", "infinitely thin"],
)
def test_limits_are_half_spaces(ground, half_space):
    plain = HalfSpace(half_space)
    np.testing.assert_allclose(ground.potential(ELECTRODES, POINTS), plain.potential(ELECTRODES, POINTS), rtol=2e-6)
    np.testing.assert_allclose(
        ground.flux(ELECTRODES, POINTS, NORMALS), plain.flux(ELECTRODES, POINTS, NORMALS), rtol=1e-5, atol=1e-7
    )
    if ground.reflection == 0:
        for found, expected in zip(
            ground.derivatives(ELECTRODES, POINTS, NORMALS), plain.derivatives(ELECTRODES, POINTS, NORMALS), strict=True
        ):
            np.testing.assert_allclose(found[..., :3], expected, rtol=1e-12)
            assert not found[..., 3].any()


@BY_CONTRAST
def test_surface_potentials_are_reciprocal(ground):
    others = RNG.uniform(-3, 3, (4, 2))
    np.testing.assert_allclose(ground.potential(ELECTRODES, others), ground.potential(others, ELECTRODES).T, rtol=1e-14)


@BY_CONTRAST
class TestDerivatives:
    def test_flux_is_the_derivative_of_the_potential(self, ground):
        for i in range(len(POINTS)):
            flux = ground.flux(ELECTRODES, POINTS[[i]], NORMALS[[i]])[:, 0]
            assert_taylor(
                lambda x: ground.potential(ELECTRODES, x)[:, 0], 0.05 * flux, POINTS[[i]], 0.05 * NORMALS[[i]]
            )

    @pytest.mark.parametrize("which", [0, 1], ids=["potential", "flux"])
    def test_by_the_electrode(self, ground, which):
        functions = (lambda e: ground.potential(e, POINTS), lambda e: ground.flux(e, POINTS, NORMALS))
        direction = 0.1 * RNG.standard_normal((3, 2))
        gradient = ground.derivatives(ELECTRODES, POINTS, NORMALS)[which]
        assert_taylor(functions[which], np.einsum("eqj,ej->eq", gradient[..., :2], direction), ELECTRODES, direction)

    def test_by_height_moves_the_points_the_other_way(self, ground):
        up = np.array([0.0, 0.0, 0.05])
        by_potential, by_flux = ground.derivatives(ELECTRODES, POINTS, NORMALS)
        shift = np.array([*up, 0.0])
        assert_taylor(
            lambda t: ground.potential(ELECTRODES, POINTS - t * up), by_potential @ shift, np.zeros(1), np.ones(1)
        )
        assert_taylor(
            lambda t: ground.flux(ELECTRODES, POINTS - t * up, NORMALS), by_flux @ shift, np.zeros(1), np.ones(1)
        )

    def test_by_the_thickness(self, ground):
        def thicker(t):
            layer = Layer(ground.layer.thickness * float(np.exp(0.1 * t[0])), ground.layer.conductivity)
            return LayeredGround(layer, ground.below, ground.body_in_layer)

        by_potential, by_flux = (0.1 * d[..., 3] for d in ground.derivatives(ELECTRODES, POINTS, NORMALS))
        assert_taylor(lambda t: thicker(t).potential(ELECTRODES, POINTS), by_potential, np.zeros(1), np.ones(1))
        assert_taylor(lambda t: thicker(t).flux(ELECTRODES, POINTS, NORMALS), by_flux, np.zeros(1), np.ones(1))


@BY_CONTRAST
@pytest.mark.parametrize("depth", [0.5, 1.3], ids=["in the layer", "below it"])
@pytest.mark.parametrize("n_points", [30, 3000], ids=["few points", "many, by grids"])
def test_collect_is_the_sum_of_fluxes(ground, depth, n_points):
    directions = RNG.standard_normal((n_points, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points, normals = directions * [0.3, 0.2, 0.2] - [0, 0, depth], directions / n_points
    values = np.column_stack([points[:, 0], points[:, 2] + 0.1, RNG.standard_normal(n_points)])
    found, gradient = ground.collect_with_gradient(ELECTRODES, points, normals, values, 2)
    flux, by_flux = ground.flux(ELECTRODES, points, normals), ground.derivatives(ELECTRODES, points, normals)[1]
    scale = np.abs(flux) @ np.abs(values)
    assert (np.abs(found - flux @ values) < 1e-7 * scale).all()
    np.testing.assert_array_equal(found, ground.collect(ELECTRODES, points, normals, values))
    expected = np.einsum("rqj,qk->rjk", by_flux, values[:, :2])
    size = np.einsum("rqj,qk->rjk", np.abs(by_flux), np.abs(values[:, :2]))
    assert (np.abs(gradient - expected) < 1e-6 * size + 1e-15).all()


def test_sounding_curves_of_two_layers():
    """Wenner's array over no anomaly: apparent resistivities between those of the layers, by the Hankel integral."""
    layer, below, spacings = Layer(2.0, 0.01), 0.1, np.geomspace(0.2, 200, 13)
    apparent = []
    for a in spacings:
        survey = Survey((Source((-1.5 * a, 0.0), (1.5 * a, 0.0)),), ReceiverPairs((((-a / 2, 0.0), (a / 2, 0.0)),)))
        problem = Resistivity(survey, background_conductivity=below, body_conductivity=0.01, background_layer=layer)
        apparent.append(2 * np.pi * a * float(problem.background[0]))
    expected = [
        2 * np.pi * a * 2 * (hankel(problem.ground, a, 0.0) - hankel(problem.ground, 2 * a, 0.0)) for a in spacings[3:9]
    ]
    np.testing.assert_allclose(apparent[3:9], expected, rtol=1e-7)
    assert apparent[0] == pytest.approx(100.0, rel=1e-3)
    assert apparent[-1] == pytest.approx(10.0, rel=2e-2)
    assert (np.diff(apparent) < 0).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Layer(0.0, 1.0), "positive thickness of the layer"),
        (lambda: Layer(np.inf, 1.0), "positive thickness of the layer"),
        (lambda: Layer(1.0, -1.0), "positive conductivity"),
        (lambda: LayeredGround(Layer(1.0, 1.0), 0.0, True), "positive conductivity"),
        (
            lambda: LayeredGround(Layer(1.0, 1.0), 1e5, True),
            "differ by a factor of at most 10000, got 1 and 100000 S/m",
        ),
    ],
)
def test_wrong_grounds_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
