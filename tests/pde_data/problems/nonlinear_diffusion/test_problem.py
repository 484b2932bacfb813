"""Nonlinear diffusion: rates of convergence, derivatives, failures that are recorded, coarser versions."""

import pickle

import numpy as np
import pytest

from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.pde_data.problems.nonlinear_diffusion import newton
from gnvpro.pde_data.problems.nonlinear_diffusion.newton import EXCHANGE, FREQUENCIES, NewtonSolver
from gnvpro.pde_data.problems.nonlinear_diffusion.problem import NonlinearDiffusion
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.sampling import draw
from gnvpro.surrogate.errors import UsageError
from tests.calculus import assert_adjoint, assert_taylor

Y = np.array([0.6, -0.4, 0.5, -0.7, 0.3, 0.8, 3.0, 4.0, 2.0, 0.7])
SMALL = NonlinearDiffusion(cells=6, grid=5)


def manufactured_error(cells, degree):
    """At the points of a grid, for u = a sin(pi x / 2) + 0.3 x (1 - x)² cos(pi y), without flux at x = 1, where u = a."""
    import ufl

    def exact(x, a, sin, cos):
        return a * sin(np.pi * x[0] / 2) + 0.3 * x[0] * (1 - x[0]) ** 2 * cos(np.pi * x[1])

    def source(x, y):
        u = exact(x, y[9], ufl.sin, ufl.cos)
        exponent = sum(
            y[j] * ufl.cos(a * ufl.pi * x[0]) * ufl.cos(b * ufl.pi * x[1]) / np.hypot(a, b)
            for j, (a, b) in enumerate(FREQUENCIES)
        )
        return -ufl.div(ufl.exp(exponent) * (1 + y[6] * u) * ufl.grad(u))

    points = np.random.default_rng(0).random((50, 2))
    solved = NewtonSolver(cells, degree, points, source).solve(Y)
    return np.linalg.norm(solved - exact(points.T, Y[9], np.sin, np.cos)) / np.sqrt(50)


@pytest.mark.parametrize(("degree", "order"), [(1, 2), (2, 3)])
def test_errors_of_a_manufactured_solution_fall_at_the_order_of_the_elements(degree, order):
    errors = [manufactured_error(cells, degree) for cells in (4, 8, 16)]
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert rates.min() > order - 0.35, rates
    assert EXCHANGE > 0  # else the condition at x = 1 would not be tested


def test_its_error_is_what_the_page_says():
    y = draw(NonlinearDiffusion().parameters, 0, np.arange(3))
    problem = NonlinearDiffusion()
    solved, exact = problem.evaluate(y), problem.references()["refined"](y)
    assert (np.linalg.norm(solved - exact, axis=1) / np.linalg.norm(exact, axis=1)).max() < 3e-4


def test_derivatives_are_those_of_the_discrete_equations():
    rng = np.random.default_rng(1)
    direction, weights = rng.standard_normal(10), rng.standard_normal(25)
    direction[6] = abs(direction[6])

    def evaluate(y):
        return SMALL._solver.solve(y)  # also outside of the box

    assert_taylor(evaluate, SMALL.jvp(Y[None], direction[None])[0], Y, direction)
    assert_adjoint(
        lambda d: SMALL.jvp(Y[None], d[None])[0], lambda w: SMALL.vjp(Y[None], w[None])[0], direction, weights
    )


def test_tangents_are_the_values_and_the_jvp_of_every_direction():
    y = draw(SMALL.parameters, 2, np.arange(3))
    directions = np.random.default_rng(3).standard_normal((3, 4, 10))
    values, derivatives = SMALL.tangents(y, directions)
    assert np.array_equal(values, SMALL.solve(y)[0])
    for j in range(4):
        np.testing.assert_allclose(derivatives[:, j], SMALL.jvp(y, directions[:, j]), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(
        np.einsum("noi,nri->nro", SMALL.jacobian(y), directions), derivatives, rtol=1e-9, atol=1e-12
    )


def test_conductivity_that_grows_lowers_the_field():
    still, growing = Y.copy(), Y.copy()
    still[6], growing[6] = 0.0, 4.0
    fields = SMALL.evaluate(np.stack([still, growing]))
    assert (fields[1] < fields[0]).all()


def test_what_is_outside_or_does_not_converge_is_recorded(monkeypatch):
    outside = Y.copy()
    outside[6] = -1.0
    block = solve_block(SMALL, np.stack([Y, outside]))
    assert block.status.tolist() == [SolveStatus.OK, SolveStatus.OUTSIDE_PARAMETER_SPACE]
    assert np.isnan(block.observables[1]).all()
    monkeypatch.setattr(newton, "_MOST_STEPS", 1)
    failed = solve_block(SMALL, Y[None])
    assert failed.status.tolist() == [SolveStatus.EXCEPTION]
    assert "did not converge in 1 steps" in failed.messages[0]


def test_a_sample_has_the_same_bits_whatever_was_solved_before():
    problem = NonlinearDiffusion(cells=6, grid=5)
    alone = problem.evaluate(Y[None])
    others = draw(problem.parameters, 5, np.arange(2))
    assert np.array_equal(problem.evaluate(np.concatenate([others, Y[None]]))[2:], alone)


def test_coarser_versions_end_and_keep_the_spaces():
    problem, cells = load_problem("nonlinear-diffusion"), []
    while problem is not None:
        cells.append(problem.cells)
        assert problem.observables.size == 1024
        problem = problem.coarser()
    assert cells == [32, 16, 8]


def test_it_can_be_sent_to_workers_after_a_solve():
    SMALL.evaluate(Y[None])
    again = pickle.loads(pickle.dumps(SMALL))
    assert again == SMALL
    assert np.array_equal(again.evaluate(Y[None]), SMALL.evaluate(Y[None]))


@pytest.mark.parametrize("option", ["cells", "degree", "grid"])
def test_sizes_are_positive(option):
    with pytest.raises(UsageError, match=f"expected {option} >= 1"):
        NonlinearDiffusion(**{option: 0})
