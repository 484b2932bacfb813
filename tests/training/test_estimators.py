"""The estimators under scikit-learn's own contract, and what is particular to them."""

import math
import pickle
import re

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.training.estimators import GNvproClassifier, GNvproRegressor


@parametrize_with_checks(
    [GNvproRegressor(), GNvproRegressor((8,), budget=60), GNvproClassifier(), GNvproClassifier((8,), budget=40)]
)
def test_contract_of_scikit_learn(estimator, check):
    check(estimator)


def wave(n=150, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (n, 2)) * [1.0, 100.0] + [0.0, 1000.0]
    return x, np.stack([np.sin(2 * x[:, 0]) + 5, 1e-3 * x[:, 1] * x[:, 0]], 1)


@pytest.mark.parametrize("solver", ["lbfgs", "krylov"])
def test_several_outputs_are_fitted_and_the_surrogate_says_the_same(solver, tmp_path):
    x, y = wave()
    model = GNvproRegressor((16, 16), solver=solver, tol=0, random_state=0).fit(x, y)
    x_new, y_new = wave(seed=1)
    assert model.score(x_new, y_new) > 0.995
    model.surrogate_.save(tmp_path / "model")
    np.testing.assert_array_equal(Surrogate.load(tmp_path / "model").evaluate(x_new), model.predict(x_new))
    assert model.history_[-1]["work_units"] >= 500
    values = [line["objective"] for line in model.history_]
    assert model.loss_ == min(values) == values[-1]


@pytest.mark.parametrize("share", [None, 0.25])
@pytest.mark.parametrize("kind", [GNvproRegressor, GNvproClassifier])
def test_a_weight_is_as_many_repetitions_in_any_order_to_the_last_bit(kind, share):
    x, y = wave(60)
    y = y if kind is GNvproRegressor else np.where(y[:, 1] > 0, "high", "low")
    weights = np.random.default_rng(0).integers(0, 4, 60)
    order = np.random.default_rng(1).permutation(weights.sum())
    settings = dict(hidden_widths=(6,), budget=60, random_state=0, validation_fraction=share)
    weighted = kind(**settings).fit(x, y, weights)
    repeated = kind(**settings).fit(x.repeat(weights, 0)[order], y.repeat(weights, 0)[order])
    assert weighted.loss_ == repeated.loss_
    np.testing.assert_array_equal(weighted.surrogate_.theta, repeated.surrogate_.theta)
    np.testing.assert_array_equal(weighted.predict(x), repeated.predict(x))


def test_a_weight_is_as_many_repetitions_where_models_compete():
    x, y = wave(60)
    weights = np.random.default_rng(0).integers(0, 4, 60)
    weighted = GNvproRegressor(random_state=0).fit(x, y, weights)
    repeated = GNvproRegressor(random_state=0).fit(x.repeat(weights, 0)[::-1], y.repeat(weights, 0)[::-1])
    np.testing.assert_array_equal(weighted.predict(x), repeated.predict(x))


def linear(n, d, noise, seed):
    rng = np.random.default_rng(seed)
    x, slopes = rng.standard_normal((n, d)), rng.standard_normal(d)
    return x, x @ slopes + noise * math.sqrt(d) * rng.standard_normal(n), slopes


def test_by_default_ridge_regression_on_what_is_linear_or_noise():
    x, y, slopes = linear(100, 12, 0.7, 0)
    x_new = np.random.default_rng(1).standard_normal((400, 12))
    ridge = RidgeCV(np.logspace(-3, 4, 30)).fit(x, y)
    errors = [np.sqrt(np.mean((m.predict(x_new) - x_new @ slopes) ** 2)) for m in (GNvproRegressor().fit(x, y), ridge)]
    assert errors[0] < 1.1 * errors[1]
    y = np.random.default_rng(2).standard_normal(100)
    assert np.std(GNvproRegressor(random_state=0).fit(x, y).predict(x_new)) < 0.5


def test_by_default_what_is_smooth_is_fitted_closely_and_what_competed_is_told(tmp_path):
    rng = np.random.default_rng(0)
    x, x_new = rng.uniform(-1, 1, (150, 3)) * [1, 1e6, 1e-9], rng.uniform(-1, 1, (200, 3)) * [1, 1e6, 1e-9]

    def smooth(x):
        return np.sin(2 * x[:, 0]) + x[:, 1] * 1e-6 * x[:, 0] + (x[:, 2] * 1e9) ** 2

    for effort in ("quick", "full"):
        model = GNvproRegressor(effort=effort, random_state=0).fit(x, smooth(x))
        assert model.score(x_new, smooth(x_new)) > 0.9999
        choice = model.surrogate_.training["choice"]
        kinds = [one["kind"] for one in choice["contenders"]]
        assert kinds[:2] == ["ridge", "polynomial"]
        assert len(kinds) == 3 if effort == "quick" else len(kinds) > 4
        assert choice["error_left_out"] < 0.01 < choice["contenders"][0]["error"]
        model.surrogate_.save(tmp_path / effort)
        np.testing.assert_array_equal(Surrogate.load(tmp_path / effort).evaluate(x_new)[:, 0], model.predict(x_new))


def test_by_default_a_network_where_it_is_much_better():
    rng = np.random.default_rng(0)
    x, x_new = rng.uniform(-1, 1, (700, 3)), rng.uniform(-1, 1, (300, 3))

    def fronts(x):
        return np.tanh(20 * (x[:, 0] + x[:, 1] - 0.3)) + np.tanh(15 * (x @ [1, -1, 2]))

    model = GNvproRegressor(random_state=0).fit(x, fronts(x))
    assert model.surrogate_.training["samples"]["validation"] == 140
    assert model.surrogate_.training["choice"]["reason"].startswith("network")
    assert model.score(x_new, fronts(x_new)) > 0.98


def test_constant_inputs_and_outputs_are_fitted_by_default():
    x, y = np.ones((20, 3)), np.linspace(0, 1, 20)
    np.testing.assert_allclose(GNvproRegressor().fit(x, y).predict(x), y.mean())
    np.testing.assert_allclose(GNvproRegressor().fit(np.eye(20), np.full(20, 3.0)).predict(np.eye(20)), 3.0)


def test_two_equal_samples_are_one():
    x, y = wave(12)
    for model in (
        GNvproRegressor((4,), budget=20).fit(x[[3, 3]], y[[3, 3]]),
        GNvproRegressor().fit(x[[3, 3]], y[[3, 3]]),
    ):
        np.testing.assert_allclose(model.predict(x), np.tile(y[3], (12, 1)), rtol=1e-6)


def test_a_warm_start_goes_on_where_the_last_fit_ended():
    x, y = wave(80)
    settings = dict(hidden_widths=(6,), budget=40, tol=0, random_state=0)
    model = GNvproRegressor(**settings, warm_start=np.bool_(True)).fit(x, y)
    first, loss = model.surrogate_, model.loss_
    model.fit(x, y)
    assert model.history_[0]["objective"] == loss
    assert model.loss_ < loss
    np.testing.assert_array_equal(GNvproRegressor(**settings).fit(x, y).surrogate_.theta, first.theta)
    # Other samples and other widths: the scaling stays with the weights, or everything begins anew.
    model.fit(x[:40] * 2, y[:40])
    np.testing.assert_array_equal(model.surrogate_.input_scale, first.input_scale)
    model.set_params(hidden_widths=(5,)).fit(x[:40] * 2, y[:40])
    anew = GNvproRegressor(**{**settings, "hidden_widths": (5,)}).fit(x[:40] * 2, y[:40])
    np.testing.assert_array_equal(model.predict(x), anew.predict(x))


def test_a_fit_ends_where_it_has_settled():
    x, y = load_iris(return_X_y=True)
    settled, spent = (GNvproClassifier(tol=tol, budget=500, random_state=0).fit(x, y) for tol in (1e-3, 0))
    assert settled.surrogate_.training["status"] == "converged"
    assert settled.history_[-1]["work_units"] < 0.5 * spent.history_[-1]["work_units"]
    assert settled.loss_ < 1.01 * spent.loss_


@pytest.mark.long
def test_folds_on_two_processes_are_those_on_one():
    x, y = wave(60)
    model = GNvproRegressor((6,), budget=30, random_state=0)
    scores = [cross_val_score(model, x, y, cv=2, n_jobs=n_jobs) for n_jobs in (1, 2)]
    np.testing.assert_allclose(*scores, rtol=1e-9)


def test_held_out_samples_stop_the_fit():
    x, y = load_diabetes(return_X_y=True)
    settings = dict(hidden_widths=(16, 16), budget=2000, alpha_theta=1e-9, random_state=0)
    stopped = GNvproRegressor(**settings, validation_fraction=0.25, patience=60).fit(x, y)
    assert stopped.history_[-1]["work_units"] < 1000
    assert stopped.surrogate_.training["status"] == "no_improvement"
    errors = [line["validation_error"] for line in stopped.history_ if line["validation_error"] is not None]
    assert errors[-1] > min(errors)
    best = min((h for h in stopped.history_ if h["validation_error"] is not None), key=lambda h: h["validation_error"])
    assert stopped.n_iter_ == max(1, best["iteration"])
    assert stopped.loss_ == best["objective"]


def test_the_last_layer_is_scikit_learns_logistic_regression():
    x, y = load_iris(return_X_y=True)
    model = GNvproClassifier((6,), alpha_w=1e-3, budget=150, random_state=0).fit(x, y)
    found = model.surrogate_
    inputs = (torch.as_tensor(x) - found.input_shift) * found.input_scale
    columns = np.column_stack([found.network.bind(found.theta)(inputs).numpy(), np.ones(len(x))])
    # Its objective is the sum over samples, and the bias is a column that is regularised like the others.
    rival = LogisticRegression(C=1 / (1e-3 * len(x)), fit_intercept=False, solver="newton-cg", tol=1e-10)
    rival.fit(columns, y)
    # The line search asks of the inner solve what it expects to gain: next to nothing where the fit has converged.
    np.testing.assert_allclose(model.predict_proba(x), rival.predict_proba(columns), atol=1e-4)


def test_pipeline_grid_search_clone_and_pickle():
    x, y = load_wine(return_X_y=True)
    names = np.array(["barolo", "grignolino", "barbera"])[y]
    search = GridSearchCV(
        make_pipeline(StandardScaler(), GNvproClassifier(budget=60, random_state=0)),
        {"gnvproclassifier__hidden_widths": [(4,), (8, 8)], "gnvproclassifier__alpha_w": [1e-4, 1e-2]},
        cv=3,
    ).fit(x, names)
    assert search.best_score_ > 0.95
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict_proba(x), search.predict_proba(x))
    assert set(search.predict(x)) == set(names)
    copy = clone(search.best_estimator_).fit(x, names)
    np.testing.assert_array_equal(copy.predict_proba(x), search.predict_proba(x))
    assert cross_val_score(copy, x, names, cv=3).mean() > 0.93


def test_training_on_the_gpu_predicts_on_the_cpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    x, y = wave()
    model = pickle.loads(pickle.dumps(GNvproRegressor(device="cuda", random_state=0).fit(x, y)))
    assert model.score(x, y) > 0.995


@pytest.mark.parametrize(
    ("settings", "widths"),
    [
        (dict(hidden_widths=8), [8]),
        (dict(hidden_widths=np.int64(8)), [8]),
        (dict(hidden_widths=np.array(8)), [8]),
        (dict(hidden_widths=[8, np.int32(4)]), [8, 4]),
        (dict(hidden_widths=np.array([8, 4])), [8, 4]),
        (dict(hidden_widths=range(4, 6)), [4, 5]),
        (dict(gain=np.float32(1), alpha_w=np.float32(1e-6), alpha_theta=np.float64(1e-5)), [16, 16]),
        (dict(solver=np.str_("krylov"), validation_fraction=np.float32(0.25), patience=np.int64(50)), [16, 16]),
        (dict(random_state=np.int64(3)), [16, 16]),
        (dict(random_state=np.random.RandomState(3), warm_start=np.bool_(True), tol=np.float32(0)), [16, 16]),
    ],
    ids=lambda value: re.sub(" at 0x[0-9A-F]+", "", str(value)),  # the same in every process
)
def test_settings_of_numpy_are_settings_and_are_saved(settings, widths, tmp_path):
    x, y = wave(40)
    model = clone(GNvproRegressor(**{"hidden_widths": (16, 16), "budget": np.int64(20), **settings})).fit(x, y)
    assert model.surrogate_.training["settings"]["hidden_widths"] == widths
    model.surrogate_.save(tmp_path / "model")
    again = Surrogate.load(tmp_path / "model")
    assert again.training["settings"] == model.surrogate_.training["settings"]


def test_one_width_is_one_layer():
    x, y = wave(40)
    one, several = (GNvproRegressor(w, budget=20, random_state=0).fit(x, y) for w in (np.int64(8), (8,)))
    np.testing.assert_array_equal(one.predict(x), several.predict(x))
    search = GridSearchCV(GNvproRegressor(), {"budget": np.arange(20, 41, 20), "hidden_widths": np.array([4, 8])}, cv=2)
    assert search.fit(x, y).best_params_["hidden_widths"] in (4, 8)


def test_bad_settings_are_answered():
    x, y = wave(20)
    for match, settings in (
        ("hidden_widths", dict(hidden_widths=())),
        ("hidden_widths", dict(hidden_widths=(4, 0.5))),
        ("hidden_widths", dict(hidden_widths=0)),
        ("hidden_widths", dict(hidden_widths=True)),
        ("hidden_widths", dict(hidden_widths="16")),
        ("effort quick or full", dict(effort="some")),
        ("gain > 0", dict(gain=0.0)),
        ("budget a number > 0", dict(budget="many")),
        ("alpha_theta >= 0", dict(alpha_theta=-1)),
        ("solver lbfgs or krylov", dict(solver="adam")),
        ("tol >= 0", dict(tol=-1e-3)),
        ("warm_start True or False", dict(warm_start="no")),
        ("validation_fraction < 1", dict(validation_fraction=1.5)),
        ("torch device", dict(device="abacus")),
        ("None trains on all", dict(hidden_widths=8, validation_fraction=0.99)),
    ):
        with pytest.raises(ValueError, match=match):
            GNvproRegressor(**settings).fit(x, y)
    with pytest.raises(ValueError, match="hidden_widths"):
        GNvproClassifier(hidden_widths=None).fit(x, y[:, 0] > 5)
    with pytest.raises(ValueError, match="alpha_w > 0"):
        GNvproClassifier(alpha_w=0.0).fit(x, y[:, 0] > 5)
    with pytest.raises(ValueError, match="at least two samples of positive weight"):
        GNvproRegressor().fit(x, y, np.eye(20)[0])
    with pytest.raises(ValueError, match="weights >= 0"):
        GNvproRegressor().fit(x, y, -np.ones(20))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            GNvproRegressor(device="cuda").fit(x, y)
