"""The oracle against what is known without it: series, symmetries, conservation, and its own refinement."""

import numpy as np
import pytest
from scipy.special import elliprd, eval_legendre

from gnvpro.pde_data.problems.resistivity.boundary_elements.oracle import EllipsoidOracle
from gnvpro.pde_data.problems.resistivity.boundary_elements.sphere import sphere_grid, spherical_harmonics

ELECTRODES = np.array([[-1.5, 0.0], [0.4, 0.9]])
RECEIVERS = np.random.default_rng(0).uniform(-1, 1, (12, 2))
CENTRE = np.array([0.1, -0.2, -0.6])


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_harmonics_are_orthonormal():
    points, weights = sphere_grid(9, 18)
    harmonics = spherical_harmonics(8, points)
    np.testing.assert_allclose(harmonics.T @ (harmonics * weights[:, None]), np.eye(81), atol=1e-13)


@pytest.mark.parametrize("inside", [10.0, 0.1])
def test_sphere_in_a_whole_space_is_the_classical_series(inside):
    outside, radius, away = 0.5, 0.8, 2.0
    oracle = EllipsoidOracle((1.0, 1.0, 1.0), outside, inside, degree=16, mirrored=False)
    receivers = np.array([[0.0, 1.2, 0.5], [1.0, 0.3, -0.9], [-0.4, 0.2, 1.5]])
    found = oracle.secondary_potential(np.zeros(3), radius, 0.0, np.array([[0.0, 0.0, away]]), receivers)[0]
    r = np.linalg.norm(receivers, axis=1)
    # Landau & Lifshitz: the n-th multipole of a point source is reflected by n (m0 - m1) / (n m1 + (n + 1) m0).
    series = sum(
        n * (outside - inside) / (n * inside + (n + 1) * outside)
        * radius ** (2 * n + 1) / (away * r) ** (n + 1) * eval_legendre(n, receivers[:, 2] / r)
        for n in range(1, 80)
    ) / (4 * np.pi * outside)  # fmt: skip
    assert relative(found, series) < 1e-9
    wrong = EllipsoidOracle((1.0, 1.0, 1.0), outside, 1.001 * inside, degree=16, mirrored=False)
    noticed = wrong.secondary_potential(np.zeros(3), radius, 0.0, np.array([[0.0, 0.0, away]]), receivers)[0]
    assert relative(noticed, series) > 1e-5, "a conductivity that is 0.1 % off would go unnoticed"


def test_converges_exponentially():
    exact = EllipsoidOracle(degree=16).secondary_potential(CENTRE, 0.3, 0.7, ELECTRODES, RECEIVERS)
    errors = [
        relative(EllipsoidOracle(degree=degree).secondary_potential(CENTRE, 0.3, 0.7, ELECTRODES, RECEIVERS), exact)
        for degree in (4, 7, 10, 13)
    ]
    assert (np.diff(np.log10(errors)) < -1).all(), errors
    assert errors[-1] < 1e-7


@pytest.mark.parametrize("conductivity", [10.0, 0.1, 1000.0])
@pytest.mark.parametrize(("ratio", "size"), [((2.0, 1.0, 1.0), 0.3), ((4.0, 1.0, 1.0), 0.25), ((2.0, 1.5, 1.0), 0.4)])
def test_estimates_its_error(ratio, size, conductivity):
    at = (CENTRE, size, 0.7, ELECTRODES, RECEIVERS)
    exact = EllipsoidOracle(ratio, 1.0, conductivity, degree=16).secondary_potential(*at)
    oracle = EllipsoidOracle(ratio, 1.0, conductivity, degree=8)
    found = oracle.secondary_potential(*at)
    error = max(relative(*rows) for rows in zip(found, exact, strict=True))
    assert error / 2 < oracle.estimated_error(*at) < 2 * error


def test_estimates_no_error_without_contrast():
    assert (
        EllipsoidOracle(body_conductivity=1.0, degree=4).estimated_error(CENTRE, 0.2, 0.0, ELECTRODES, RECEIVERS) == 0
    )


def test_a_good_conductor_near_the_surface_gives_no_current():
    """A quadrature through which a constant potential has a flux would be wrong by the contrast times its error."""
    errors = []
    for conductivity in (10.0, 1e3, 1e5):
        oracle, exact = (EllipsoidOracle(body_conductivity=conductivity, degree=n) for n in (10, 14))
        at = (np.array([0.0, 0.0, -0.375]), 0.3, 0.4, ELECTRODES[:1], RECEIVERS)
        errors.append(relative(oracle.secondary_potential(*at), exact.secondary_potential(*at)))
    assert max(errors) < 2 * errors[0]


@pytest.mark.parametrize("conductivity", [10.0, 0.1])
def test_an_ellipsoid_in_a_uniform_field_is_the_classical_dipole(conductivity):
    """Its moment by depolarisation factors, which hold the jump of the flux across its surface."""
    semi_axes, azimuth = np.array([1.5, 1.0, 0.6]), 0.6
    oracle = EllipsoidOracle((1.5, 1.0, 0.6), 1.0, conductivity, degree=14, mirrored=False)
    source, receivers = np.array([600.0, -500.0, 700.0]), np.array([[90.0, 50, -70], [-30.0, 80, 60], [10.0, -20, 120]])
    found = oracle.secondary_potential(np.zeros(3), 1.0, azimuth, source[None], receivers)[0]
    others = [np.delete(semi_axes, j) for j in range(3)]
    factors = np.array([
        semi_axes.prod() / 3 * elliprd(*other**2, axis**2) for axis, other in zip(semi_axes, others, strict=True)
    ])  # fmt: skip
    assert factors.sum() == pytest.approx(1.0)
    turn = np.array([[np.cos(azimuth), -np.sin(azimuth), 0], [np.sin(azimuth), np.cos(azimuth), 0], [0, 0, 1]])
    field = -source / (4 * np.pi * np.linalg.norm(source) ** 3)
    kappa = conductivity - 1
    moment = 4 / 3 * np.pi * semi_axes.prod() * turn @ (kappa / (1 + kappa * factors) * (turn.T @ field))
    dipole = receivers @ moment / (4 * np.pi * np.linalg.norm(receivers, axis=1) ** 3)
    assert relative(found, dipole) < 2e-3  # the next multipoles and the source's curvature: (1.5 / 100)² and 1.5 / 1000
    assert relative(found, 1.01 * dipole) > 5e-3


def test_no_current_leaves_a_surface_around_the_body():
    oracle = EllipsoidOracle(degree=10)
    normals, weights = sphere_grid(24, 48)
    points, h = CENTRE + 0.5 * normals, 1e-4
    outer, inner = (
        oracle.secondary_potential(CENTRE, 0.2, 0.7, ELECTRODES[:1], points + step * normals)[0] for step in (h, -h)
    )
    flux = (outer - inner) / (2 * h)
    assert abs(flux @ weights) < 1e-7 * (np.abs(flux) @ weights)


@pytest.mark.parametrize("ratio", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (1.5, 1.0, 0.5)])
def test_reciprocity(ratio):
    oracle = EllipsoidOracle(ratio, degree=14)
    there = oracle.secondary_potential(CENTRE, 0.2, 0.7, ELECTRODES, RECEIVERS)
    back = oracle.secondary_potential(CENTRE, 0.2, 0.7, RECEIVERS, ELECTRODES)
    assert relative(there, back.T) < 1e-5


def test_no_contrast_no_anomaly():
    oracle = EllipsoidOracle(background_conductivity=2.0, body_conductivity=2.0, degree=4)
    np.testing.assert_array_equal(oracle.secondary_potential(CENTRE, 0.2, 0.0, ELECTRODES, RECEIVERS), 0.0)


def test_a_small_deep_sphere_is_a_dipole_with_its_image():
    depth, radius, contrast = 4.0, 0.1, 10.0
    oracle = EllipsoidOracle((1.0, 1.0, 1.0), 1.0, contrast, degree=6)
    centre = np.array([0.0, 0.0, -depth])
    source, receivers = np.array([[1.0, 0.5]]), np.array([[2.0, -1.0], [0.3, 3.0]])
    found = oracle.secondary_potential(centre, radius, 0.0, source, receivers)[0]
    # Field of the source at the centre (twice that in space), and the moment of a sphere in it.
    towards = centre - np.array([1.0, 0.5, 0.0])
    field = 2 * towards / (4 * np.pi * np.linalg.norm(towards) ** 3)
    moment = radius**3 * (contrast - 1) / (contrast + 2) * field
    away = np.c_[receivers, np.zeros(2)] - centre
    dipole = 2 * (away @ moment) / np.linalg.norm(away, axis=1) ** 3
    assert relative(found, dipole) < 1e-2  # the source's field is not quite uniform over the sphere


def test_moves_and_turns_with_the_body():
    oracle = EllipsoidOracle(degree=6)
    expected = oracle.secondary_potential(CENTRE, 0.2, 0.5, ELECTRODES, RECEIVERS)
    shift, angle = np.array([0.7, -0.4]), 0.9
    shifted = oracle.secondary_potential(
        CENTRE + np.array([*shift, 0]), 0.2, 0.5, ELECTRODES + shift, RECEIVERS + shift
    )
    np.testing.assert_allclose(shifted, expected, rtol=1e-10)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([*(turn @ CENTRE[:2]), CENTRE[2]])
    turned = oracle.secondary_potential(centre, 0.2, 0.5 + angle, ELECTRODES @ turn.T, RECEIVERS @ turn.T)
    np.testing.assert_allclose(turned, expected, rtol=1e-10)


def test_lengths_scale():
    oracle = EllipsoidOracle(degree=6)
    expected = oracle.secondary_potential(CENTRE, 0.2, 0.5, ELECTRODES, RECEIVERS)
    large = oracle.secondary_potential(10 * CENTRE, 2.0, 0.5, 10 * ELECTRODES, 10 * RECEIVERS)
    np.testing.assert_allclose(large, expected / 10, rtol=1e-10)


def test_anomaly_carries_no_current_away():
    """The body is no source: far away the anomaly falls faster than 1 / r."""
    oracle = EllipsoidOracle(degree=8)
    far = oracle.secondary_potential(CENTRE, 0.2, 0.0, ELECTRODES[:1], np.array([[200.0, 0.0], [400.0, 0.0]]))[0]
    assert far[0] / far[1] == pytest.approx(4.0, rel=1e-2)


def test_no_flux_through_the_surface():
    oracle = EllipsoidOracle(degree=8)
    h = 1e-4
    above, below = (
        oracle.secondary_potential(CENTRE, 0.2, 0.0, ELECTRODES, np.c_[RECEIVERS, np.full(12, x3)]) for x3 in (h, -h)
    )
    np.testing.assert_allclose(above, below, rtol=1e-12)
    along = oracle.secondary_potential(CENTRE, 0.2, 0.0, ELECTRODES, RECEIVERS + np.array([h, 0]))
    assert np.abs(along - below).max() > 1e3 * np.abs(above - below).max()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EllipsoidOracle(degree=0), "degree of at least 1"),
        (lambda: EllipsoidOracle(body_conductivity=0.0), "positive semi-axes and conductivities"),
        (
            lambda: EllipsoidOracle(degree=2).secondary_potential(
                np.array([0, 0, -0.2]), 0.2, 0.0, ELECTRODES, RECEIVERS
            ),
            "reaches the surface",
        ),
        (
            lambda: EllipsoidOracle(degree=2).secondary_potential(CENTRE, -0.2, 0.0, ELECTRODES, RECEIVERS),
            "positive size",
        ),
        (
            lambda: EllipsoidOracle(degree=2).secondary_potential(
                CENTRE, 0.2, 0.0, np.array([[0, 0, 0], CENTRE + 0.1]), RECEIVERS
            ),
            "outside the body, got electrode 1",
        ),
        (
            lambda: EllipsoidOracle(degree=2).secondary_potential(CENTRE, 0.2, 0.0, ELECTRODES, CENTRE[None]),
            "outside the body, got receiver 0",
        ),
        (
            lambda: EllipsoidOracle(degree=2).secondary_potential(CENTRE, 0.2, 0.0, np.zeros((2, 4)), RECEIVERS),
            "shape",
        ),
    ],
)
def test_impossible_bodies_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
