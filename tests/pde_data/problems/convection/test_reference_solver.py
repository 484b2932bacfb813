"""The reference solver: second order in time, and agreement with the fast one, on a short interval."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.convection.coefficients import ConvectionCoefficients
from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction
from gnvpro.pde_data.problems.convection.reference_solver import PlainConvectionDiffusionReaction
from gnvpro.pde_data.problems.convection.settings import ImexSettings

SHORT = ConvectionCoefficients(times=(0.05, 0.1), final_time=0.1)
Y = np.random.default_rng(12).dirichlet(np.ones(55), size=1)


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.long
@pytest.mark.usefixtures("fenicsx")
def test_crank_nicolson_is_second_order_in_time():
    c = [PlainConvectionDiffusionReaction(SHORT, cells=4, steps=n).evaluate(Y) for n in (8, 16, 32)]
    assert np.linalg.norm(c[0] - c[1]) / np.linalg.norm(c[1] - c[2]) == pytest.approx(4, rel=0.1)


@pytest.mark.long
@pytest.mark.usefixtures("fenicsx")
def test_the_two_routes_agree():
    """Triangles against squares, quadrature against nodal reaction, Newton against explicit steps.

    Crank–Nicolson's error in time is the largest of all by far; extrapolation removes it.
    """
    coarse, fine = (PlainConvectionDiffusionReaction(SHORT, cells=16, degree=4, steps=n).evaluate(Y) for n in (16, 32))
    production = ConvectionDiffusionReaction(SHORT, ImexSettings(cells=4, steps=40)).evaluate(Y)
    assert relative(fine, production) < relative(coarse, production) / 3.5
    assert relative((4 * fine - coarse) / 3, production) < 5e-6


@pytest.mark.usefixtures("fenicsx")
def test_inadmissible_parameters_give_nan():
    model = PlainConvectionDiffusionReaction(SHORT, cells=4, steps=8)
    c = model.evaluate(np.vstack([Y, 2 * Y]))
    np.testing.assert_array_equal(np.isnan(c).all(axis=1), [False, True])


@pytest.mark.usefixtures("fenicsx")
def test_a_failed_newton_iteration_gives_nan():
    # One step over a whole unit of time, with the strongest runaway reaction alone.
    model = PlainConvectionDiffusionReaction(ConvectionCoefficients(times=(1.0,)), cells=4, steps=1)
    assert np.isnan(model.evaluate(np.eye(55)[[54]])).all()


def test_steps_must_meet_the_observation_times():
    with pytest.raises(ValueError, match="steps = 80"):
        PlainConvectionDiffusionReaction(steps=75)
    with pytest.raises(ValueError, match="cells >= 1"):
        PlainConvectionDiffusionReaction(cells=0)
