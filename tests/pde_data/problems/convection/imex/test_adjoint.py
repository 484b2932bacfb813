"""The backward sweep: equal to all tangents, on every kind of propagator and however the observations lie."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.convection.coefficients import ConvectionCoefficients, GaussianSource
from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction
from gnvpro.pde_data.problems.convection.reactions import Reactions, ReactionTable
from gnvpro.pde_data.problems.convection.settings import ImexSettings
from gnvpro.pde_data.sampling import draw
from tests.calculus import assert_adjoint, assert_taylor

pytestmark = pytest.mark.usefixtures("fenicsx")
PROBLEM = ConvectionDiffusionReaction()
SMALL = ImexSettings(cells=2, degree=3, steps=20)


def parameters(n, seed=0):
    return draw(PROBLEM.parameters, seed, np.arange(n))


def assert_sweep_is_transposed_tangent(problem, n=5, rtol=1e-13):
    y = parameters(n, seed=1)
    weights = np.random.default_rng(2).standard_normal((n, problem.observables.size))
    by_tangents = np.einsum("noi,no->ni", problem.jacobian(y), weights)
    np.testing.assert_allclose(problem.vjp(y, weights), by_tangents, rtol=0, atol=rtol * np.abs(by_tangents).max())


@pytest.mark.parametrize(
    "problem",
    [
        PROBLEM,
        ConvectionDiffusionReaction(settings=SMALL),
        ConvectionDiffusionReaction(settings=ImexSettings(cells=3, degree=2, element="triangle", steps=20)),
        # Observed while the multistep scheme is still being started, and at no later step than that.
        ConvectionDiffusionReaction(ConvectionCoefficients(times=(0.05, 0.1, 0.15, 0.2, 0.25)), SMALL),
        ConvectionDiffusionReaction(ConvectionCoefficients(times=(0.1,)), SMALL),
        ConvectionDiffusionReaction(ConvectionCoefficients(sources=(GaussianSource(0.2, 0.7, 0.1, 1.0),)), SMALL),
    ],
    ids=["default", "small", "triangles", "start-up", "one step", "other source"],
)
def test_sweep_is_the_transpose_of_the_tangents(problem):
    assert_sweep_is_transposed_tangent(problem)


def test_without_parity(monkeypatch):
    from gnvpro.pde_data.problems.convection.imex.propagator import Parity

    monkeypatch.setattr(Parity, "of", lambda system: Parity.none(len(system.nodes)))
    problem = ConvectionDiffusionReaction(settings=SMALL)
    assert_sweep_is_transposed_tangent(problem)
    assert problem._solver.equations.reaction.parity.pairs == 0


def test_sparse_route(monkeypatch):
    from gnvpro.pde_data.problems.convection.imex import propagator

    monkeypatch.setattr(propagator, "DENSE_LIMIT", 10)
    problem = ConvectionDiffusionReaction(settings=SMALL)
    assert_sweep_is_transposed_tangent(problem)
    assert type(problem._solver.equations.multistep).__name__ == "SparsePropagator"


def test_gradient_is_the_derivative_of_a_functional():
    y, other = parameters(1, seed=3), parameters(1, seed=4)
    weights = np.random.default_rng(5).standard_normal((1, 72))
    derivative = np.vdot(PROBLEM.vjp(y, weights), other - y)
    assert_taylor(lambda y: np.vdot(weights, PROBLEM.evaluate(y)), derivative, y, other - y)
    with pytest.raises(AssertionError):
        assert_taylor(lambda y: np.vdot(weights, PROBLEM.evaluate(y)), 1.001 * derivative, y, other - y)


def test_sweep_is_adjoint_to_the_tangent():
    rng = np.random.default_rng(6)
    y, dy, dc = parameters(20), rng.standard_normal((20, 55)), rng.standard_normal((20, 72))
    assert_adjoint(lambda d: PROBLEM.jvp(y, d), lambda w: PROBLEM.vjp(y, w), dy, dc, rtol=1e-13)


def test_a_bounded_trajectory_gives_the_same(monkeypatch):
    from gnvpro.pde_data.problems.convection.imex import solver as convection_imex

    y, weights = parameters(7), np.random.default_rng(7).standard_normal((7, 72))
    whole = PROBLEM.vjp(y, weights)
    seen = []
    sweep_back = convection_imex.sweep_back
    monkeypatch.setattr(convection_imex, "TRAJECTORY_BYTES", 3 * 8 * 441 * 96)
    monkeypatch.setattr(convection_imex, "sweep_back", lambda s, y, w: seen.append(len(y)) or sweep_back(s, y, w))
    np.testing.assert_allclose(PROBLEM.vjp(y, weights), whole, rtol=1e-11, atol=1e-11 * np.abs(whole).max())
    assert seen == [3, 3, 1]


def test_failed_samples_are_nan_and_leave_the_others_alone():
    y = parameters(3)
    weights = np.random.default_rng(8).standard_normal((3, 72))
    clean = PROBLEM.vjp(y, weights)
    y[1] = np.eye(55)[29]  # runs away, out of the table
    swept = PROBLEM.vjp(y, weights)
    np.testing.assert_array_equal(np.isfinite(swept).all(axis=1), [True, False, True])
    np.testing.assert_allclose(swept[::2], clean[::2], rtol=1e-12)
    assert np.isnan(swept[1]).all()


def test_no_samples():
    assert PROBLEM.vjp(np.empty((0, 55)), np.empty((0, 72))).shape == (0, 55)


def test_table_is_pulled_back_by_its_transpose():
    table = ReactionTable(Reactions(count=7), -2.0, 20.0, 1.0)
    rng = np.random.default_rng(9)
    dy, bar = rng.standard_normal((3, 7)), rng.standard_normal((3, 4, table.cells))
    assert_adjoint(table.coefficients, table.pull_back, dy, bar, rtol=1e-14)
