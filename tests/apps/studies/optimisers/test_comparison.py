"""Comparison of methods: its statistics by hand, its protocol, and the studies that use it."""

import json
import math

import numpy as np
import pytest

from gnvpro.apps.studies import cdr, dcr
from gnvpro.apps.studies.optimisers.compare_methods import MethodComparison, advantage, compare_methods
from gnvpro.apps.studies.optimisers.grids import GRIDS, LABELS, tried, usual
from gnvpro.apps.studies.optimisers.presentation import curves, tables
from gnvpro.apps.studies.optimisers.statistics import Band, first_reach, paired_interval, stepwise
from gnvpro.apps.studies.optimisers.surrogates import Settings, SurrogateProblems
from gnvpro.apps.studies.optimisers.trials import Curve, Metric, Trial, Tuned, run_trial, tune
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.training.fitting.methods import METHODS
from tests.training.problems import smooth_samples

METHODS_HERE = ("varpro-lbfgs", "varpro-kf-lbfgs", "lbfgs", "adam")
SETTINGS = Settings(
    budget=60.0, train=40, validation=20, test=20, seeds=3, network="dense", widths=(4,), gain=1.0
)  # fmt: skip


def silent(done, total, note):
    pass


def problems():
    return SurrogateProblems(smooth_samples(), SETTINGS)


@pytest.fixture(scope="module")
def compared():
    return compare_methods(problems(), METHODS_HERE, budget=60.0, seeds=(0, 1, 2), settings_tried=2)


def test_interval_is_students():
    found = paired_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    # t_(0.975, 4) = 2.776445, standard deviation sqrt(2.5)
    assert (found.mean, found.high - 3) == pytest.approx((3.0, 2.776445 * math.sqrt(2.5 / 5)), rel=1e-6)
    assert found.low == pytest.approx(6 - found.high)
    assert paired_interval(np.array([2.0])).low is None


def test_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [paired_interval(rng.standard_normal(5)) for _ in range(2000)]
    assert abs(np.mean([f.low <= 0 <= f.high for f in found]) - 0.95) < 0.015
    narrow = [paired_interval(rng.standard_normal(5), level=0.8) for _ in range(2000)]
    assert np.mean([f.low <= 0 <= f.high for f in narrow]) < 0.85


def test_curves_are_steps():
    position, values = np.array([1.0, 3.0, 10.0]), np.array([9.0, 5.0, 2.0])
    np.testing.assert_array_equal(
        stepwise(np.array([0.5, 1.0, 2.9, 3.0, 50.0]), position, values), [np.nan, 9.0, 9.0, 5.0, 2.0]
    )
    assert first_reach(5.0, position, values) == 3.0
    assert first_reach(1.0, position, values) == math.inf


def test_band_is_median_and_range():
    position = np.array([1.0, 10.0])
    band = Band.of([(position, np.array([v, v / 2])) for v in (1.0, 2.0, 6.0)], n_points=5)
    assert (band.at[0], band.at[-1]) == (1.0, 10.0)
    assert (band.low[0], band.median[0], band.high[0]) == (1.0, 2.0, 6.0)
    assert (band.low[-1], band.median[-1], band.high[-1]) == (0.5, 1.0, 3.0)


def test_advantage_is_a_ratio_or_a_difference():
    mine, others = np.array([1.0, 2.0]), np.array([2.0, 8.0])
    assert advantage(Metric(), mine, others).mean == pytest.approx(math.sqrt(2 * 4))
    assert advantage(Metric(ratio=False), mine, others).mean == pytest.approx(3.5)


def trial(method, seed, work, loss):
    looks = Curve(np.array(work), np.array(work) / 100, *[np.array(loss)] * 4)
    return Trial(method, seed, {}, looks, loss[-1], loss[-1], work[-1], work[-1] / 100, "budget_spent", None)  # type: ignore[arg-type]


def test_reach_is_counted_seed_by_seed():
    ours = [trial("varpro-lbfgs", s, [1.0, 4.0, 8.0], [1.0, 0.3, 0.2]) for s in (0, 1)]
    theirs = [
        trial("adam", 0, [1.0, 50.0, 100.0], [1.0, 0.4, 0.25]),
        trial("adam", 1, [1.0, 40.0, 100.0], [1.0, 0.1, 0.5]),
    ]
    tuned = {name: Tuned({}, 0.1, []) for name in ("varpro-lbfgs", "adam")}
    found = MethodComparison(Metric(), 100.0, {"varpro-lbfgs": ours, "adam": theirs}, tuned)
    # Adam's best on the second seed was at 40 units, and we never reach it.
    np.testing.assert_array_equal(found.reach("varpro-lbfgs").work, [8.0, math.inf])
    np.testing.assert_array_equal(found.reach("adam").work, [100.0, 40.0])
    np.testing.assert_allclose(found.share("varpro-lbfgs").seconds, [0.08, math.inf])


def test_the_protocol(compared):
    assert set(compared.trials) == set(METHODS_HERE)
    for name, trials in compared.trials.items():
        assert [one.seed for one in trials] == [0, 1, 2]
        chosen = dict(compared.tuned[name].setting)
        chosen.pop("solved", None)
        assert chosen in GRIDS[name]
        # A start from W solved for is tried besides, where W is kept.
        assert len(compared.tuned[name].values) == len(tried(name, 2)) + (not METHODS[name].eliminates)
        for one in trials:
            assert max(one.curve.work) <= compared.budget
            assert one.best.work_units <= compared.budget
            assert one.best.validation_error == pytest.approx(one.curve.error.min())
            assert (np.diff(one.curve.work) >= 0).all()
    # All begin from the same weights, and those that keep W from the same W.
    for alike in (METHODS_HERE[:2], METHODS_HERE[2:]):
        settings = [compared.tuned[name].setting for name in alike]
        first = {compared.trials[name][0].curve.loss[0] for name in alike}
        assert len(first) == len({setting.get("solved") for setting in settings})


def test_training_is_measured_by_the_yardstick_of_validation(compared):
    task, one = problems()(0), compared.trials["varpro-lbfgs"][0]
    again = run_trial("varpro-lbfgs", task, 60.0, one.setting, 0)
    np.testing.assert_array_equal(again.curve.loss, one.curve.loss)
    point = task.reduced.at(task.theta)
    loss, error = task.measures("train").measure(point)
    assert (one.curve.train_loss[0], one.curve.train_error[0]) == pytest.approx((loss, error))
    assert error == pytest.approx(point.training_error(), rel=1e-9)


def test_best_varpro_method_is_chosen_by_tuning_alone(compared):
    values = {name: compared.tuned[name].value for name in ("varpro-lbfgs", "varpro-kf-lbfgs")}
    assert compared.best_varpro == min(values, key=values.get)
    interval = compared.advantage(compared.best_varpro)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((1.0, 1.0, 1.0))


def test_numbers_tables_and_figure_agree(compared):
    numbers = json.loads(json.dumps(compared.numbers()))
    assert numbers["metric"]["better"] == "lower"
    for name, one in numbers["methods"].items():
        assert one["best"] == pytest.approx(compared.final(name).tolist())
        assert len(one["trials"]) == 3
    assert len(curves(compared).axes) == 4
    assert [table.row_count for table in tables(compared)] == [4, 3]


def test_settings_tried_are_spread_over_the_grid():
    grid = GRIDS["varpro-adam"]
    assert tried("varpro-adam", 9) == list(grid)
    assert tried("varpro-adam", 1) == [usual("varpro-adam")]
    assert tried("varpro-adam", 3) == [grid[0], grid[4], grid[8]]


@pytest.mark.parametrize("name", METHODS)
def test_grids_have_nine_settings_and_twice_as_many_for_baselines_on_batches_and_all_make_a_solver(name):
    grid = GRIDS[name]
    expected = 18 if METHODS[name].objective == "batches" else 9
    assert len(grid) == len({tuple(setting.items()) for setting in grid}) == expected
    assert usual(name) in grid
    for setting in grid:
        METHODS[name].solver(setting, 10.0, 0)


def test_every_method_has_a_label_and_a_grid():
    assert list(LABELS) == list(GRIDS) == list(METHODS)


def test_baselines_on_batches_get_twice_the_settings():
    assert tried("adam", 9) == list(GRIDS["adam"])
    assert len(tried("adam", 3)) == 6


def test_the_start_is_tuned_where_w_is_kept():
    found = tune("lbfgs", problems()(0), 30.0, Metric(), 2, 0)
    best, value = min(found.values[:-1], key=lambda pair: pair[1])
    assert found.values[-1][0] == {**best, "solved": 1.0}
    assert found.value == min(value, found.values[-1][1])
    assert len(tune("varpro-lbfgs", problems()(0), 30.0, Metric(), 2, 0).values) == 2


def test_tuning_prefers_the_better_setting_and_refuses_a_divergent_one(monkeypatch):
    task, metric = problems()(3), Metric()
    found = tune("adam", task, 60.0, metric, 9, 3)
    assert found.value == min(value for _, value in found.values)
    grid = 9 * ({"rate": 1e300, "batch": 8}, {"rate": 1e-2, "batch": 8})
    monkeypatch.setitem(GRIDS, "sgd", grid)
    found = tune("sgd", task, 30.0, metric, 2, 3)
    assert {value for setting, value in found.values if setting["rate"] == 1e300} == {math.inf}
    assert found.setting["rate"] == 1e-2


def test_comparisons_that_cannot_be_made_are_refused():
    ask = dict(budget=10.0, seeds=(0,))
    with pytest.raises(ValueError, match="unknown methods newton"):
        compare_methods(problems(), ("newton", "adam"), **ask)
    with pytest.raises(ValueError, match="needs adam and a VarPro method"):
        compare_methods(problems(), ("varpro-lbfgs",), **ask)
    for seeds in ((), (0, 1000)):
        with pytest.raises(ValueError, match="without the first plus 1000: it tunes"):
            compare_methods(problems(), ("varpro-lbfgs", "adam"), budget=10.0, seeds=seeds)
    with pytest.raises(ValueError, match="budget"):
        cdr.Settings(budget=-1.0)


def test_predictions_of_an_iterate_are_those_validation_measures():
    at, seed = problems(), 0
    one = run_trial("adam", at(seed), 30.0, GRIDS["adam"][0], seed)
    test = at.split(seed).test
    surrogate = at.surrogate(seed, one.best)
    misfit = surrogate.evaluate(test.parameters) - test.observables
    error = ErrorMeasure.of(surrogate.training).errors(misfit, test.observables)
    assert float(error.mean()) == pytest.approx(one.test_error, rel=1e-3)  # compressed targets


@pytest.mark.long
@pytest.mark.parametrize("study", [cdr, pytest.param(dcr, marks=pytest.mark.exhaustive)], ids=["cdr", "dcr"])
def test_quick_studies_reach_adam_with_half_of_its_work(study, monkeypatch):
    monkeypatch.delenv("GNVPRO_PAPER_DATA", raising=False)
    found = study.run(StudySettings(quick=True), silent)
    numbers = json.loads(json.dumps(found.numbers()))
    best = numbers["methods"][numbers["best_varpro"]]
    assert best["to_reference"]["median_share_of_work_units"] <= 0.5
    for one in numbers["methods"].values():
        for trial in one["trials"]:
            assert max(trial["curve"]["work"]) <= numbers["budget"]
    assert numbers["samples"]["calibration"] == 0
    assert {"curves"} <= set(found.figures) <= {"curves", "predictions"}
