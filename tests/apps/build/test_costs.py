"""What solves cost, as a build decides by it."""

import pytest

from gnvpro.apps.build.costs import Costs, SolveCost, solve_cost
from gnvpro.pde_data.problems.loading import registered_problem


def test_costs_add_up():
    assert SolveCost(2.0, 0.5).of(10, 3) == pytest.approx(35)
    costs = Costs(derivative=0.5, coarse=0.1, coarse_derivative=0.05)
    assert costs.sample(3) == pytest.approx(2.5)
    assert costs.coarse_sample(2) == pytest.approx(0.2)
    assert Costs().sample(3) == 1


def test_a_coarse_solve_and_a_derivative_have_a_cost():
    problem = registered_problem("nonlinear-diffusion")
    fine, coarse = solve_cost(problem, 2), solve_cost(problem.coarser(), 0)
    assert fine.solve > coarse.solve > 0
    assert fine.derivative > 0
    assert coarse.derivative == 0
