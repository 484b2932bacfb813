"""The forward model of measurements with four electrodes and of a body anywhere: oracle, reciprocity, derivatives."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.resistivity.boundary_elements.oracle import EllipsoidOracle
from gnvpro.pde_data.problems.resistivity.boundary_elements.reference import BoundaryElements
from gnvpro.pde_data.problems.resistivity.problem import Resistivity
from gnvpro.pde_data.problems.resistivity.reference_solver import PlainResistivity
from gnvpro.pde_data.problems.resistivity.surveys import arrays
from gnvpro.pde_data.problems.resistivity.surveys.four_electrode_survey import FourElectrodeSurvey
from gnvpro.pde_data.problems.resistivity.surveys.survey import ReceiverPairs, Source, Survey
from tests.calculus import assert_adjoint, assert_taylor

pytestmark = pytest.mark.usefixtures("fenicsx")

# Electrodes right above the body, which serve for current and for potential; poles; two lines beside each other.
LINE = arrays.together(
    arrays.dipole_dipole(9, 0.4, separations=3, first=(3.0, -2.0)),
    arrays.pole_dipole(5, 0.5, separations=2, first=(4.0, -1.7), azimuth=0.4),
    arrays.pole_pole(3, 0.7, first=(4.2, -2.4)),
)
OPTIONS = dict(centre=(4.6, -2.1), background_conductivity=0.01, body_conductivity=0.1)
PROBLEM = Resistivity(LINE, mesh="coarsest", **OPTIONS)
FREE = Resistivity(LINE, mesh="coarsest", **{**OPTIONS, "centre": ((4.0, 5.0), (-2.5, -1.5))})
Y = np.array([[0.6, 0.1, 0.4]])
Y_FREE = np.array([[0.6, 0.1, 0.4, 4.6, -2.1]])


def anomaly(problem, y=Y):
    return problem.evaluate(y) - problem.background


def oracle(problem, y):
    """Anomalous data by boundary elements of a degree that is enough here: 16 changes the data by less than 1e-4."""
    exact = EllipsoidOracle((2.0, 1.0, 1.0), background_conductivity=0.01, body_conductivity=0.1, degree=12)
    reference = BoundaryElements(problem)
    return reference._anomalous_by(exact, y)


def test_against_the_oracle():
    problem = Resistivity(LINE, **OPTIONS)
    y = np.array([[0.6, 0.1, 0.4], [0.65, 0.06, 0.0]])
    expected = oracle(problem, y)
    error = anomaly(problem, y) - expected
    assert (np.linalg.norm(error, axis=1) < 3e-3 * np.linalg.norm(expected, axis=1)).all()
    assert (np.abs(error).max(axis=1) < 5e-3 * np.abs(expected).max(axis=1)).all()


@pytest.mark.exhaustive
def test_the_degree_that_is_found_for_a_body_that_moves_along_a_line():
    found = BoundaryElements(FREE)
    worst = found._worst_bodies()
    assert set(map(tuple, worst[:, 3:].tolist())) <= set(map(tuple, LINE.positions.tolist())), (
        "right below an electrode"
    )
    assert found.oracle.degree > 13


def test_measurements_are_those_of_sources_and_receivers():
    """Measurement by measurement by the other kind of survey, which shares no numbering with this one."""
    found = anomaly(PROBLEM)[0]
    for k in (0, 7, 14):
        a, b, m, n = (LINE.electrodes[e - 1] if e else None for e in LINE.measurements[k])
        alone = Resistivity(Survey((Source(a, b),), ReceiverPairs(((m, n),))), mesh="coarsest", **OPTIONS)
        assert found[k] == pytest.approx(anomaly(alone)[0, 0], rel=1e-9)


def test_the_forward_response_is_reciprocal():
    swapped = FourElectrodeSurvey(LINE.electrodes, tuple((m, n, a, b) for a, b, m, n in LINE.measurements))
    here, there = anomaly(PROBLEM), anomaly(Resistivity(swapped, mesh="coarsest", **OPTIONS))
    # The quadrature on the body's surface is left, a thousandth of this mesh's error; electrodes stand right above it.
    assert np.abs(here - there).max() < 5e-5 * np.abs(here).max()


def test_moving_the_body_is_moving_the_electrodes():
    shifted = FourElectrodeSurvey(tuple((x1 - 4.6, x2 + 2.1) for x1, x2 in LINE.electrodes), LINE.measurements)
    still = Resistivity(shifted, mesh="coarsest", **{**OPTIONS, "centre": (0.0, 0.0)})
    expected = anomaly(still)
    np.testing.assert_allclose(anomaly(PROBLEM), expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    np.testing.assert_allclose(anomaly(FREE, Y_FREE), expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_the_centre_is_a_parameter_where_it_has_a_range():
    assert PROBLEM.parameters.names == ("depth", "volume", "azimuth")
    assert FREE.parameters.names == ("depth", "volume", "azimuth", "centre_x1", "centre_x2")
    one = Resistivity(LINE, centre=(1.0, (0.0, 2.0)))
    assert one.parameters.names[3:] == ("centre_x2",)
    assert one.placed(np.array([0.6, 0.1, 0.4, 0.3])).centre == (1.0, 0.3)
    with pytest.raises(ValueError, match="ascending range of centre, x2"):
        Resistivity(LINE, centre=(1.0, (2.0, 0.0)))


def test_apparent_resistivity_is_resistance_times_the_factor():
    apparent = Resistivity(LINE, mesh="coarsest", observable="apparent_resistivity", **OPTIONS)
    np.testing.assert_allclose(apparent.evaluate(Y), PROBLEM.evaluate(Y) * LINE.geometric_factors, rtol=1e-13)
    np.testing.assert_allclose(apparent.jacobian(Y), PROBLEM.jacobian(Y) * LINE.geometric_factors[:, None], rtol=1e-13)


def test_taylor_in_the_centre():
    problem = FREE
    direction = np.array([[0.05, 0.03, 0.2, 0.2, -0.3]])
    assert_taylor(problem.evaluate, problem.jvp(Y_FREE, direction), Y_FREE, direction)
    wrong = problem.jvp(Y_FREE, direction * [1, 1, 1, 1.01, 1])
    with pytest.raises(AssertionError):
        assert_taylor(problem.evaluate, wrong, Y_FREE, direction)


def test_adjoint_with_the_centre():
    rng = np.random.default_rng(0)
    dy, dc = rng.standard_normal((1, 5)), rng.standard_normal((1, len(LINE.measurements)))
    assert_adjoint(lambda d: FREE.jvp(Y_FREE, d), lambda w: FREE.vjp(Y_FREE, w), dy, dc)


def test_derivatives_by_the_centre_are_those_of_the_equation():
    """Against differences of the boundary elements."""
    problem = Resistivity(LINE, **{**OPTIONS, "centre": FREE.centre})
    jacobian = problem.jacobian(Y_FREE)[0]
    for j in (3, 4):
        step = 1e-3 * np.eye(5)[j]
        difference = ((oracle(problem, Y_FREE + step) - oracle(problem, Y_FREE - step)) / 2e-3)[0]
        assert np.linalg.norm(jacobian[:, j] - difference) < 5e-3 * np.linalg.norm(difference)


@pytest.mark.exhaustive
def test_the_plain_route_knows_centre_and_list():
    problem = Resistivity(LINE, **OPTIONS)
    y = np.array([[0.6, 0.2, 0.0]])
    found = PlainResistivity(problem, 0.1).evaluate(y) - problem.background
    expected = anomaly(problem, y)
    assert np.linalg.norm(found - expected) < 0.5 * np.linalg.norm(expected)
    free = PlainResistivity(Resistivity(LINE, **{**OPTIONS, "centre": ((4.5, 4.7), (-2.2, -2.0))}), 0.1)
    moved = free.evaluate(np.array([[0.6, 0.2, 0.0, 4.6, -2.1]])) - problem.background
    np.testing.assert_allclose(moved, found, rtol=0, atol=0.05 * np.abs(found).max())
