"""What is bought next is what lowers the error most for its cost."""

import math

import pytest

from gnvpro.apps.build.costs import Costs
from gnvpro.apps.build.holding import Holding
from gnvpro.apps.build.kinds import COARSE, FRESH, WITH_DERIVATIVES, bought
from gnvpro.apps.build.spending import MOST_GROWTH, USUAL_SLOPE, Kind, paired_slope, slope_of


def test_a_power_law_has_its_slope_and_what_is_usual_counts_once():
    sizes = [20, 40, 80, 160]
    steep = slope_of(sizes, [n**-3.0 for n in sizes])
    assert USUAL_SLOPE < steep < 3
    assert slope_of(sizes, [1.0] * 4) < USUAL_SLOPE
    assert slope_of([20], [0.1]) == USUAL_SLOPE
    assert slope_of([20, 20], [0.1, 0.2]) == USUAL_SLOPE


def test_more_that_did_not_help_has_no_slope():
    assert paired_slope(0.1, 0.2, 40, 60) == 0
    assert paired_slope(0.2, 0.1, 40, 80) == pytest.approx(1)


def test_a_cheap_kind_wins_by_its_cost():
    fine, coarse = Kind(FRESH, 20, 1.0, 1.0), Kind(COARSE, 100, 0.05, 1.0)
    assert coarse.gain > fine.gain
    assert Kind(COARSE, 100, 0.05, 0.0).gain == 0


def test_growth_aims_at_the_error_within_limits():
    kind = Kind(FRESH, 100, 1.0, 2.0)
    assert kind.growth(1.2**2) == 20
    assert kind.growth(100.0) == round(100 * (MOST_GROWTH - 1))
    assert Kind(FRESH, 2, 1.0, 2.0).growth(0.5) == 1
    assert kind.to_halve() == pytest.approx(100 * (math.sqrt(2) - 1))
    assert math.isinf(Kind(FRESH, 100, 1.0, 0.0).to_halve())


def test_what_is_bought_is_had_and_costs_what_it_costs():
    costs = Costs(derivative=0.5, coarse=0.1, coarse_derivative=0.05, measuring=2.0)
    has = Holding(samples=10, fresh=4, directions=2, coarse=20, coarse_directions=2)
    assert has.cost(costs) == pytest.approx(2 + 10 * 2 + 4 + 20 * 0.2)
    assert Holding.of(has.to_dict()) == has
    for name, cost in ((FRESH, 3.0), (WITH_DERIVATIVES, 6.0), (COARSE, 0.6)):
        more = bought(has, Kind(name, 10, 1.0, 1.0), 3)
        assert more.cost(costs) - has.cost(costs) == pytest.approx(cost)
    assert has.uses_coarse
    assert not Holding(coarse=20, alone=True).uses_coarse
