"""Nonlinear diffusion: order by manufactured solutions, an oracle, derivatives, failures, coarser versions."""

import json
import pickle

import numpy as np
import pytest

from gnvpro.pde_data.problems.accuracy import estimated_error
from gnvpro.pde_data.problems.contract import Problem, SolveStatus, coarser_version
from gnvpro.pde_data.problems.linear_systems import SolverFailure
from gnvpro.pde_data.problems.loading import registered_problem
from gnvpro.pde_data.problems.nonlinear_diffusion import solver as numerics
from gnvpro.pde_data.problems.nonlinear_diffusion.problem import NonlinearDiffusion
from gnvpro.pde_data.problems.nonlinear_diffusion.solver import Coefficients, NewtonSolver
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.sampling import draw
from tests.calculus import assert_adjoint, assert_taylor

PROBLEM = NonlinearDiffusion(cells=6, grid=5)


def parameters(n, seed=0):
    return draw(PROBLEM.parameters, seed, np.arange(n))


def manufactured(nodes, growth):
    """a = x₁ + x₂ / 2 and f of u = sin πx₁ sin πx₂: f = −∇k·∇u − k Δu with k = e^a (1 + g u²)."""
    x1, x2 = nodes.T
    u = np.sin(np.pi * x1) * np.sin(np.pi * x2)
    d1 = np.pi * np.cos(np.pi * x1) * np.sin(np.pi * x2)
    d2 = np.pi * np.sin(np.pi * x1) * np.cos(np.pi * x2)
    a, k = x1 + x2 / 2, 1 + growth * u**2
    along = k * (d1 + d2 / 2) + 2 * growth * u * (d1**2 + d2**2)
    return Coefficients(a, growth, np.exp(a) * (2 * np.pi**2 * k * u - along)), u


@pytest.mark.usefixtures("fenicsx")
class TestSolver:
    def test_order_by_a_manufactured_solution(self):
        errors = []
        for cells in (4, 8, 16):
            solver = NewtonSolver(cells, np.array([[0.5, 0.5]]))
            coefficients, exact = manufactured(solver.nodes, 1.5)
            errors.append(np.sqrt(np.mean((solver.solve(coefficients) - exact) ** 2)))
        rates = np.log2(np.array(errors[:-1]) / errors[1:])
        assert (rates > 2.8).all()

    def test_kirchhoff_transformation(self):
        """With a = 0, u + g u³ / 3 solves the linear equation."""
        solver = NewtonSolver(24, np.array([[0.5, 0.5]]))
        _, exact = manufactured(solver.nodes, 0.0)
        source = 60 * exact
        linear = solver.solve(Coefficients(0 * exact, 0.0, source))
        u = solver.solve(Coefficients(0 * exact, 2.0, source))
        np.testing.assert_allclose(u + 2 * u**3 / 3, linear, atol=2e-4 * linear.max())
        assert u.max() < 0.7 * linear.max()

    def test_points_need_no_nodes(self):
        points = np.array([[0.3137, 0.6411], [0.9, 0.05]])
        solver = NewtonSolver(5, points)
        quadratic = solver.nodes[:, 0] * (1 - solver.nodes[:, 1])
        np.testing.assert_allclose(solver.observe @ quadratic, points[:, 0] * (1 - points[:, 1]), atol=1e-13)


def test_spaces_definition_and_pickle():
    problem = NonlinearDiffusion()
    assert isinstance(problem, Problem)
    assert (problem.parameters.size, problem.observables.size) == (10, 1024)
    assert json.loads(json.dumps(problem.definition))["options"]["cells"] == 32
    assert registered_problem("nonlinear-diffusion", {"cells": 8}) == NonlinearDiffusion(cells=8)
    assert pickle.loads(pickle.dumps(PROBLEM)) == PROBLEM
    assert [coarser_version(problem, k).cells for k in range(2)] == [32, 8]
    assert coarser_version(problem).coarser() is None


@pytest.mark.usefixtures("fenicsx")
class TestSolves:
    def test_error_against_half_the_mesh_width(self):
        y = parameters(2)
        problem = NonlinearDiffusion(cells=12, grid=5)
        error = estimated_error(problem, y, problem.evaluate(y))
        assert error["against"] == "half the mesh width"
        assert 1e-5 < error["relative_l2"] < 3e-3

    def test_the_solution_matters_to_the_conductivity(self):
        y = np.tile(parameters(1), (2, 1))
        y[:, 6] = 0.1, 2.0
        c = PROBLEM.evaluate(y)
        assert c[1].max() < 0.9 * c[0].max()

    def test_a_bad_sample_costs_one_sample(self, monkeypatch):
        y = parameters(4)
        clean = PROBLEM.solve(y)[0]
        solve = NewtonSolver.solve

        def diverging(self, coefficients):
            if coefficients.growth == y[2, 6]:
                raise SolverFailure("Newton's method did not converge in 30 iterations")
            return solve(self, coefficients)

        monkeypatch.setattr(NewtonSolver, "solve", diverging)
        y[1, 0] = 2.0
        solved = solve_block(PROBLEM, y)
        assert solved.status.tolist() == [0, SolveStatus.OUTSIDE_PARAMETER_SPACE, SolveStatus.EXCEPTION, 0]
        assert "did not converge" in solved.messages[2]
        np.testing.assert_array_equal(solved.observables[[0, 3]], clean[[0, 3]])
        observables, derivatives = PROBLEM.tangents(y, np.ones((4, 2, 10)))
        for values in (observables, derivatives[:, 0], derivatives[:, 1]):
            np.testing.assert_array_equal(np.isfinite(values).all(axis=1), [True, False, False, True])

    def test_newton_that_does_not_converge_is_said(self, monkeypatch):
        monkeypatch.setattr(numerics, "_MOST_ITERATIONS", 2)
        assert "did not converge in 2 iterations" in solve_block(PROBLEM, parameters(1)).messages[0]
        assert np.isnan(PROBLEM.vjp(parameters(1), np.ones((1, 25)))).all()

    @pytest.mark.parametrize("j", range(10))
    def test_jvp_by_every_parameter(self, j):
        y, direction = np.full((1, 10), 0.3), np.zeros((1, 10))
        y[0, 6:] = 1.0, 50.0, 40.0, 0.55
        direction[0, j] = 0.1 * (PROBLEM.parameters.upper[j] - PROBLEM.parameters.lower[j])
        assert_taylor(PROBLEM.evaluate, PROBLEM.jvp(y, direction), y, direction)

    def test_vjp_is_adjoint(self):
        rng = np.random.default_rng(3)
        y, dy, dc = parameters(2), rng.standard_normal((2, 10)), rng.standard_normal((2, 25))
        assert_adjoint(lambda d: PROBLEM.jvp(y, d), lambda w: PROBLEM.vjp(y, w), dy, dc, rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 0}, "cells >= 1"),
        ({"grid": 0}, "grid >= 1"),
        ({"contrast": -1.0}, "contrast >= 0"),
        ({"growth": (2.0, 1.0)}, "ascending range of growth"),
        ({"strength": (-1.0, 1.0)}, "ascending range of strength"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        NonlinearDiffusion(**options)
