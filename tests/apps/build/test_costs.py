"""What solves cost, as a build decides by it."""

import pytest

from gnvpro.apps.build import costs
from gnvpro.apps.build.costs import Costs, SolveCost, measured_costs, solve_cost
from gnvpro.apps.build.settings import BuildSettings
from gnvpro.pde_data.problems.loading import as_problem
from tests.apps.build.problems import Bumps


def test_costs_add_up():
    assert SolveCost(2.0, 0.5).of(10, 3) == pytest.approx(35)
    measured = Costs(derivative=0.5, coarse=0.1, coarse_derivative=0.05)
    assert measured.sample(3) == pytest.approx(2.5)
    assert measured.coarse_sample(2) == pytest.approx(0.2)
    assert Costs().sample(3) == 1


class Work(Bumps):
    """Takes as long as it is large, by the clock `SPENT`; its coarser version is a quarter of it."""

    def __init__(self, size=8):
        super().__init__()
        self.size = size

    def evaluate(self, y):
        SPENT[0] += self.size * len(y)
        return super().evaluate(y)

    def jvp(self, y, dy):
        SPENT[0] += 0.5 * self.size * len(y)
        return 0 * dy[:, :3]

    def coarser(self):
        return Work(self.size // 4) if self.size > 2 else None


SPENT = [0.0]


def by_work(action, repeats):
    before = SPENT[0]
    action()
    return SPENT[0] - before


@pytest.mark.parametrize("block", [None, 4])
def test_what_is_not_given_is_measured_and_the_rest_is_kept(block, monkeypatch):
    monkeypatch.setattr(costs, "median_cpu_seconds", by_work)
    monkeypatch.setattr(costs.time, "perf_counter", lambda: SPENT[0])
    problem = Work()
    if block:
        monkeypatch.setattr(Work, "block_size", block, raising=False)
    problem = as_problem(problem)
    measured = measured_costs(problem, problem.coarser(), BuildSettings(error=0.1))
    assert measured == Costs(0.5, 0.25, 0.125, 0.0 if block else 2 * (1 + 0.5))
    given = BuildSettings(error=0.1, derivative_cost=0.3, coarse_cost=0.1)
    assert measured_costs(problem, problem.coarser(), given) == Costs(0.3, 0.1, pytest.approx(0.03), 0.0)
    assert measured_costs(as_problem(Bumps()), None, BuildSettings(error=0.1)) == Costs()


def test_the_cost_of_a_block_is_that_of_its_samples(monkeypatch):
    monkeypatch.setattr(costs, "median_cpu_seconds", by_work)
    assert solve_cost(as_problem(Work()), 2) == SolveCost(8.0, 4.0)
    assert solve_cost(as_problem(Work(2)), 0) == SolveCost(2.0, 0.0)
