"""What solves cost, as a build decides by it."""

import numpy as np
import pytest

from gnvpro.apps.build.costs import Costs, SolveCost, measured_costs, solve_cost
from gnvpro.apps.build.settings import BuildSettings
from gnvpro.pde_data.problems.loading import as_problem
from tests.apps.build.problems import Bumps


def test_costs_add_up():
    assert SolveCost(2.0, 0.5).of(10, 3) == pytest.approx(35)
    costs = Costs(derivative=0.5, coarse=0.1, coarse_derivative=0.05)
    assert costs.sample(3) == pytest.approx(2.5)
    assert costs.coarse_sample(2) == pytest.approx(0.2)
    assert Costs().sample(3) == 1


class Work(Bumps):
    """Takes time that grows with the size of a matrix; its coarser version is smaller."""

    def __init__(self, size=160):
        super().__init__()
        self.size = size

    def evaluate(self, y):
        for _ in y:
            np.linalg.svd(np.ones((self.size, self.size)) + np.eye(self.size))
        return super().evaluate(y)

    def jvp(self, y, dy):
        return self.evaluate(y) * 0

    def coarser(self):
        return Work(self.size // 4) if self.size > 40 else None


@pytest.mark.parametrize("block", [None, 4])
def test_what_is_not_given_is_measured_and_the_rest_is_kept(block):
    problem, coarse = as_problem(Work()), as_problem(Work()).coarser()
    if block:
        problem.model.block_size = coarse.model.block_size = block
    costs = measured_costs(problem, coarse, BuildSettings(error=0.1))
    assert 0 < costs.coarse < 0.7
    assert costs.derivative > 0.3  # a `jvp` that solves once more
    assert costs.coarse_derivative == pytest.approx(costs.coarse * costs.derivative)
    assert (costs.measuring > 2) == (block is None)
    given = BuildSettings(error=0.1, derivative_cost=0.5, coarse_cost=0.1)
    assert measured_costs(problem, coarse, given) == Costs(0.5, 0.1, 0.05, 0.0)
    assert measured_costs(as_problem(Bumps()), None, BuildSettings(error=0.1)) == Costs()


def test_the_cost_of_a_block_is_that_of_its_samples():
    fine, coarse = solve_cost(as_problem(Work()), 2), solve_cost(as_problem(Work(40)), 0)
    assert fine.solve > coarse.solve > 0
    assert fine.derivative > 0
    assert coarse.derivative == 0
