"""The search along a line: the conditions of Wolfe, and what is kept where one of them is never met."""

import math
from types import SimpleNamespace

import pytest
import torch

from gnvpro.training.solvers import line_search
from gnvpro.training.solvers.line_search import CURVATURE, SUFFICIENT_DECREASE, wolfe_search


class Line:
    """A function of one variable as an objective; counts its points."""

    def __init__(self, value, slope, is_iterative):
        self._value, self._slope, self.count = value, slope, 0
        self.elimination = SimpleNamespace(is_iterative=is_iterative)

    def at(self, theta, *, near=None, accuracy=0.0):
        self.count += 1
        value, slope = self._value(float(theta)), self._slope(float(theta))
        return SimpleNamespace(
            objective=self,
            theta=theta,
            value=value,
            gradient=torch.tensor([slope]),
            value_and=lambda *others: [value, *map(float, others)],
            gradient_norm_and=lambda *others: [abs(slope), *map(float, others)],
        )


def searched(value, slope, direction=1.0, growth=2.0, is_iterative=False):
    line = Line(value, slope, is_iterative)
    start = line.at(torch.zeros(1))
    end = wolfe_search(start, torch.tensor([direction]), growth)
    return start, end, line.count - 1


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 30.0])
def test_a_step_satisfies_both_conditions(scale):
    start, end, _ = searched(lambda x: (x - scale) ** 2, lambda x: 2 * (x - scale))
    slope = float(start.gradient)
    assert end.point.value <= start.value + SUFFICIENT_DECREASE * end.length * slope
    assert float(end.point.gradient) >= CURVATURE * slope


def test_where_curvature_is_never_met_the_last_sufficient_decrease_is_kept():
    start, end, trials = searched(lambda x: -x, lambda x: -1.0)  # falls for ever
    assert trials == line_search.MAX_TRIALS
    assert end.length == 2.0 ** (line_search.MAX_TRIALS - 1)
    assert end.point.value < start.value


def test_a_wall_behind_which_nothing_is_finite_is_approached():
    def value(x):
        return -x if x < 0.3 else math.nan

    start, end, _ = searched(value, lambda x: -1.0)
    assert end.point.value < start.value
    assert end.length == pytest.approx(0.3, rel=1e-3)


def test_nothing_is_kept_where_nothing_falls_enough():
    assert searched(lambda x: abs(x), lambda x: -1.0)[1] is None  # the slope promises what the values do not keep


def test_a_direction_that_does_not_descend_is_refused():
    # An iterative inner solve is told how exact to be, by the slope; that of a closed form is read with the first value.
    assert searched(lambda x: x, lambda x: 1.0, is_iterative=True)[1:] == (None, 0)
    assert searched(lambda x: x, lambda x: 1.0)[1:] == (None, 1)
