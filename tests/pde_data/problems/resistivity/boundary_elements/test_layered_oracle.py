"""The oracle in a layered ground: Born's limit, other limits, reciprocity, refinement."""

from dataclasses import replace

import numpy as np
import pytest

from gnvpro.pde_data.problems.resistivity.boundary_elements.oracle import EllipsoidOracle
from gnvpro.pde_data.problems.resistivity.boundary_elements.sphere import sphere_grid
from gnvpro.pde_data.problems.resistivity.ground.layered import Layer, LayeredGround

ELECTRODES = np.array([[-1.5, 0.0], [0.4, 0.9]])
RECEIVERS = np.random.default_rng(0).uniform(-1, 1, (12, 2))
# Layer and half-space, and the depth of a body in the layer or below it.
CASES = {
    "in a resistive layer": (LayeredGround(Layer(1.2, 0.1), 1.0, True), 0.7),
    "in a conductive layer": (LayeredGround(Layer(1.2, 1.0), 0.1, True), 0.7),
    "in a layer, k = 0.98": (LayeredGround(Layer(1.2, 0.99), 0.01, True), 0.7),
    "below a resistive layer": (LayeredGround(Layer(0.4, 0.1), 1.0, False), 1.1),
    "below a conductive layer": (LayeredGround(Layer(0.4, 1.0), 0.1, False), 1.1),
}
TWO = [CASES["in a conductive layer"], CASES["below a resistive layer"]]
BY_CASE = pytest.mark.parametrize(("ground", "depth"), CASES.values(), ids=CASES)


def oracle(ground, contrast, degree=8):
    return EllipsoidOracle((2.0, 1.0, 1.0), ground.conductivity, contrast * ground.conductivity, degree, layered=ground)


def at(depth):
    return (np.array([0.1, -0.2, -depth]), 0.22, 0.7, ELECTRODES, RECEIVERS)


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def primary_gradient(ground, electrodes, points):
    """By all images, one after the other: (n_electrodes, n_points, 3)."""
    upper, k, h = ground.layer.conductivity, ground.reflection, ground.layer.thickness
    n = np.arange(int(np.log(1e-7) / np.log(abs(k))) + 1)
    heights = 2 * h * n if not ground.body_in_layer else np.concatenate([2 * h * n, -2 * h * n[1:]])
    weights = (1 + k) * k**n if not ground.body_in_layer else np.concatenate([k**n, k ** n[1:]])
    gradient = np.zeros((len(electrodes), len(points), 3))
    for height, weight in zip(heights, weights, strict=True):
        away = np.column_stack([electrodes, np.full(len(electrodes), height)])[:, None] - points
        gradient += weight * away / np.linalg.norm(away, axis=2, keepdims=True) ** 3
    return gradient / (2 * np.pi * upper)


@BY_CASE
def test_a_weak_contrast_is_borns_integral(ground, depth):
    """u_s(r) = -delta ∫ grad u_p · grad G(r) over the body, to first order in delta."""
    centre, size, azimuth, electrodes, receivers = at(depth)
    directions, weights = sphere_grid(6, 12)
    radii, steps = np.polynomial.legendre.leggauss(5)
    radii, steps = (radii + 1) / 2, steps / 2
    ball = (radii[:, None, None] * directions).reshape(-1, 3)
    volume = ((radii**2 * steps)[:, None] * weights).ravel() * 2 * size**3
    turn = np.array([[np.cos(azimuth), -np.sin(azimuth), 0], [np.sin(azimuth), np.cos(azimuth), 0], [0, 0, 1]])
    points = centre + (ball * size * [2.0, 1.0, 1.0]) @ turn.T
    delta = 1e-4 * ground.conductivity
    fields = [primary_gradient(ground, places, points) for places in (electrodes, receivers)]
    born = -delta * np.einsum("eqj,rqj,q->er", *fields, volume)
    found = oracle(ground, 1 + 1e-4).secondary_potential(*at(depth))
    assert relative(found, born) < 2e-4
    thicker = replace(ground, layer=replace(ground.layer, thickness=1.01 * ground.layer.thickness))
    assert relative(oracle(thicker, 1 + 1e-4).secondary_potential(*at(depth)), born) > 2e-4


@pytest.mark.parametrize("contrast", [10.0, 0.1])
@pytest.mark.parametrize(
    ("ground", "tolerance"),
    [
        (LayeredGround(Layer(1.6, 0.5), 0.5, True), 1e-12),
        (LayeredGround(Layer(0.4, 0.5), 0.5, False), 1e-12),
        (LayeredGround(Layer(1e6, 0.5), 5.0, True), 1e-5),
        (LayeredGround(Layer(1e-7, 5.0), 0.5, False), 1e-5),
    ],
    ids=["no contrast above", "no contrast below", "thick", "thin"],
)
def test_limits_are_the_half_space(ground, tolerance, contrast):
    plain = EllipsoidOracle((2.0, 1.0, 1.0), 0.5, contrast * 0.5, degree=8)
    found, expected = (o.secondary_potential(*at(1.0)) for o in (oracle(ground, contrast), plain))
    assert relative(found, expected) < tolerance


@pytest.mark.parametrize(("ground", "depth"), TWO)
@pytest.mark.parametrize("contrast", [10.0, 0.1])
def test_reciprocity(ground, depth, contrast):
    """Sources go in by the potential and receivers read by the flux: two different ways."""
    centre, size, azimuth, electrodes, receivers = at(depth)
    there = oracle(ground, contrast).secondary_potential(centre, size, azimuth, electrodes, receivers)
    back = oracle(ground, contrast).secondary_potential(centre, size, azimuth, receivers, electrodes)
    assert relative(there, back.T) < 1e-5


@pytest.mark.parametrize(("ground", "depth"), TWO)
def test_converges_with_the_degree(ground, depth):
    exact = oracle(ground, 10.0, 12).secondary_potential(*at(depth))
    errors = [relative(oracle(ground, 10.0, n).secondary_potential(*at(depth)), exact) for n in (4, 6, 8)]
    assert (np.diff(np.log10(errors)) < -0.5).all(), errors
    assert errors[-1] < 1e-5


def test_the_layer_matters():
    ground, depth = CASES["in a resistive layer"]
    plain = EllipsoidOracle((2.0, 1.0, 1.0), 0.1, 1.0, degree=8).secondary_potential(*at(depth))
    assert relative(oracle(ground, 10.0).secondary_potential(*at(depth)), plain) > 0.05


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda g: EllipsoidOracle(background_conductivity=3.0, layered=g),
            "expected a surface and, around the body, the",
        ),
        (
            lambda g: EllipsoidOracle(background_conductivity=0.1, layered=g, mirrored=False),
            "got no surface and 0.1 S/m",
        ),
        (lambda g: oracle(g, 2.0).secondary_potential(*at(1.1)), "is not in the layer, which ends at 1.2 m"),
        (
            lambda g: oracle(g, 2.0).secondary_potential(*at(0.7)[:3], np.array([[0.0, 0.0, -2.0]]), RECEIVERS),
            "on the surface of a layered ground, got some below it",
        ),
    ],
)
def test_what_it_cannot_do_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(CASES["in a resistive layer"][0])
