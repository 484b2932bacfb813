"""Work and seconds to an error: counted along one training, the same for all methods."""

import json
import math

import numpy as np
import pytest

from gnvpro.apps.studies.ablation.goals import goal_figure, goal_table, measure_goals, reach
from tests.training.problems import smooth_samples

SPLIT = smooth_samples(n=160, n_in=4, n_out=9).split(0, train=80, validation=40, test=40)


def test_a_lower_error_takes_more_work_and_one_out_of_reach_takes_for_ever():
    found = reach(SPLIT, "varpro-kf-lbfgs", 0, (0.3, 0.05, 1e-9), 60.0)
    first, second, last = found.work_units
    assert 0 < first < second <= 60
    assert 0 < found.cpu_seconds[0] < found.cpu_seconds[1]
    assert last == found.cpu_seconds[2] == math.inf


def test_a_training_goes_no_further_than_its_last_goal():
    # The same goal, asked for alone or with a budget that nothing of is needed: the same work.
    alone, more = (reach(SPLIT, "varpro-lbfgs", 1, (0.1,), budget) for budget in (100.0, 1e9))
    assert alone.work_units == more.work_units
    assert math.isfinite(alone.work_units[0])


def test_table_and_figure_tell_what_did_not_arrive():
    found = measure_goals({3: SPLIT}, ("varpro-kf-lbfgs", "lbfgs"), (0.5, 1e-9), 30.0, 2, lambda *_: None)
    json.dumps(found)
    assert found["runs"] == 2
    assert np.shape(found["methods"]["lbfgs"]["work_units"]) == (2, 2)
    table = goal_table(found)
    assert list(table.columns[2].cells) == ["– (0 of 2)"] * 2
    assert len(goal_figure(found).axes) == 2


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="known ones"):
        reach(SPLIT, "newton", 0, (0.1,), 10.0)
