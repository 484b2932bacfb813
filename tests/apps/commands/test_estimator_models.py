"""What an estimator's surrogate saves is a model like any other: info, predict and serve work on it."""

import csv
import json

import numpy as np
import pytest
import requests
from typer.testing import CliRunner

from gnvpro.apps.cli import app
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.training.estimators import GNvproClassifier, GNvproRegressor
from tests.apps.serving.conftest import serving

X = np.random.default_rng(0).uniform(-1, 1, (80, 2))
OUTSIDE = np.array([[0.0, 0.0], [9.0, 0.0]])


def regressor():
    y = np.stack([np.sin(2 * X[:, 0]) + 5, X[:, 0] * X[:, 1] + 2], 1)
    return GNvproRegressor((8,), budget=80, validation_fraction=0.25, random_state=np.int64(3)).fit(X, y)


def classifier():
    return GNvproClassifier((4,), budget=60, random_state=np.random.RandomState(3)).fit(
        X, np.where(X[:, 0] > 0, "b", "a")
    )


@pytest.fixture(params=[regressor, classifier], ids=["regressor", "classifier"])
def estimator(request):
    return request.param()


@pytest.fixture
def saved(estimator, tmp_path):
    estimator.surrogate_.save(tmp_path / "model")
    return tmp_path / "model"


def run(*words):
    outcome = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def test_info_tells_how_it_was_trained(saved, estimator):
    numbers = json.loads(run("info", saved, "--json"))
    training, n = numbers["training"], 60 if estimator.validation_fraction else 80
    assert training["samples"] == {"train": n, "validation": 80 - n, "calibration": 0, "test": 0}
    assert training["method"] == "varpro-kf-lbfgs"
    assert training["status"] == "budget_spent"
    assert training["work_units"] >= estimator.budget
    assert training["settings"]["hidden_widths"] == list(estimator.hidden_widths)
    assert training["settings"]["alpha_w"] == estimator.alpha_w
    if isinstance(estimator, GNvproRegressor):
        assert set(numbers["errors"]) == {"train", "validation"}
        assert numbers["errors"]["validation"] < 0.1
        assert training["settings"]["random_state"] == 3
    else:
        assert numbers["errors"] == {}
        assert training["accuracy"] == {"train": estimator.score(X, np.where(X[:, 0] > 0, "b", "a"))}
        assert training["settings"]["random_state"] == "RandomState"
    said = run("info", saved)
    assert "2 parameters → 2 " in said
    assert "varpro-kf-lbfgs" in said


def test_predict_flags_what_is_outside_of_the_training_range(saved, estimator, tmp_path):
    np.savez(tmp_path / "points.npz", parameters=np.concatenate([X, OUTSIDE]))
    words = "predict", saved, "--parameters", tmp_path / "points.npz", "--out", tmp_path / "out.csv", "--json"
    numbers = json.loads(run(*words))
    assert numbers["n_outside_training_range"] == 1
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [row["inside_training_range"] for row in rows[-2:]] == ["1", "0"]
    expected = Surrogate.load(saved).evaluate(OUTSIDE)[0]
    names = estimator.surrogate_.observables.names
    np.testing.assert_allclose([float(rows[-2][name]) for name in names], expected, rtol=1e-12)


def test_serve_answers_inside_and_refuses_outside(saved, estimator, tmp_path):
    with serving(tmp_path / "log", saved) as server:
        asked = {"name": "model", "input": [[0.0, 0.0]]}
        answer = requests.post(f"{server.url}/Evaluate", json=asked)
        np.testing.assert_allclose(answer.json()["output"], estimator.surrogate_.evaluate(OUTSIDE[:1]), rtol=1e-12)
        refused = requests.post(f"{server.url}/Evaluate", json={**asked, "input": [[9.0, 0.0]]})
        assert refused.status_code == 400
        assert "where it was trained" in refused.text
