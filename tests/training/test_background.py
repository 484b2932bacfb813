"""Few parameters end to end: polynomials in the race, the background, and the refit of the outer layer."""

import dataclasses

import numpy as np
import pytest
import torch

from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.none import NoFeatures
from gnvpro.surrogate.samples import Samples
from gnvpro.training.train import TrainSettings, train
from tests.training.problems import smooth_samples

SMOOTH = smooth_samples(200)
BACKGROUND = np.linspace(50.0, 80.0, SMOOTH.observables.shape[1])
SHIFTED = dataclasses.replace(SMOOTH, observables=SMOOTH.observables + BACKGROUND, background=BACKGROUND)
SHORT = TrainSettings(widths=(6, 8), gain=1.0, budget=60)


def polynomial_samples(n=120):
    """Observables that are polynomials of degree three of two parameters."""
    rng = np.random.default_rng(8)
    y, mixing = rng.uniform(-1, 1, (n, 2)), rng.normal(size=(4, 6))
    c = 3 + np.stack([y[:, 0] ** 3, y[:, 0] * y[:, 1], y[:, 1] ** 2, y[:, 0]], 1) @ mixing
    spaces = [
        dataclasses.replace(SMOOTH.parameter_space.observed(values, name)) for values, name in ((y, "p"), (c, "c"))
    ]
    return Samples(y, c, *spaces)


def test_training_from_the_background_is_training_on_the_difference():
    settings = dataclasses.replace(SHORT, polynomial="off", goal="relative")
    shifted, plain = train(SHIFTED.split(0), settings), train(SMOOTH.split(0), settings)
    y = SMOOTH.parameters[:9]
    np.testing.assert_allclose(shifted.surrogate.evaluate(y) - BACKGROUND, plain.surrogate.evaluate(y), rtol=1e-4)
    for name in ("train", "validation", "test"):
        assert shifted.errors_anomalous[name] == pytest.approx(plain.errors[name], rel=1e-3)
        assert shifted.errors[name] < 0.2 * shifted.errors_anomalous[name]


def test_the_summary_names_the_anomalous_error_only_where_there_is_a_background():
    trained = train(SHIFTED.split(0), SHORT)
    assert set(trained.numbers()["error_anomalous"]) == {"train", "validation", "test"}
    assert [what for what, _ in trained.rows()][:2] == ["error, anomalous", "error"]
    assert "of observables less background" in repr(trained)
    assert "error_anomalous" not in train(SMOOTH.split(0), SHORT).numbers()


def test_a_sample_that_is_the_background_is_one_sample():
    observables = SHIFTED.observables.copy()
    observables[3] = BACKGROUND
    training = train(dataclasses.replace(SHIFTED, observables=observables).split(0), SHORT)
    assert all(np.isfinite(error) for error in (*training.errors.values(), *training.errors_anomalous.values()))


@pytest.mark.parametrize("solver", ["lbfgs", "krylov"])
def test_polynomials_join_the_race_and_win_on_a_smooth_map(solver, tmp_path):
    settings = TrainSettings(contender="network", solver=solver, budget=500)
    trained = train(SHIFTED.split(0), settings)
    choice = trained.numbers()["choice"]
    assert {one["polynomial"] for one in choice["candidates"]} == {True, False}
    assert choice["polynomial"]["n_terms"] >= choice["polynomial_alone"]["n_terms"] > 20
    without = train(SHIFTED.split(0), dataclasses.replace(settings, polynomial="off"))
    assert trained.errors_anomalous["test"] < 0.5 * without.errors_anomalous["test"]
    trained.save(tmp_path / "model")
    loaded = Surrogate.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.evaluate(SMOOTH.parameters), trained.surrogate.evaluate(SMOOTH.parameters))
    assert loaded.errors_anomalous == trained.errors_anomalous


def test_derivatives_pass_through_amplitude_polynomials_and_network():
    model = train(SHIFTED.split(0), dataclasses.replace(SHORT, polynomial="on")).surrogate
    assert model.polynomials is not None
    y, rng = SMOOTH.parameters[:5], np.random.default_rng(0)
    dy, dc = rng.normal(size=y.shape), rng.normal(size=(5, len(BACKGROUND)))
    assert np.sum(model.jvp(y, dy) * dc) == pytest.approx(np.sum(model.vjp(y, dc) * dy), rel=1e-11)
    t = 1e-5
    difference = (model.evaluate(y + t * dy) - model.evaluate(y - t * dy)) / (2 * t)
    np.testing.assert_allclose(model.jvp(y, dy), difference, rtol=1e-5, atol=1e-5 * np.abs(difference).max())


def test_on_and_off_decide_for_every_candidate():
    on = train(SMOOTH.split(0), TrainSettings(polynomial="on", budget=60)).numbers()["choice"]
    off = train(SMOOTH.split(0), TrainSettings(polynomial="off", budget=60)).numbers()["choice"]
    assert all(one["polynomial"] for one in on["candidates"])
    assert not any(one["polynomial"] for one in off["candidates"])
    assert "polynomial_alone" not in off


def test_a_polynomial_is_saved_as_one(tmp_path):
    trained = train(polynomial_samples().split(0), TrainSettings(contender="network", budget=100))
    choice = trained.numbers()["choice"]
    assert isinstance(trained.surrogate.network, NoFeatures)
    assert choice["reason"].startswith("polynomial of")
    assert trained.errors["test"] < 1e-9
    trained.save(tmp_path / "model")
    y = np.random.default_rng(0).uniform(-1, 1, (4, 2))
    np.testing.assert_array_equal(Surrogate.load(tmp_path / "model").evaluate(y), trained.surrogate.evaluate(y))


def test_widths_that_were_asked_for_are_kept():
    trained = train(polynomial_samples().split(0), TrainSettings(widths=(5,), polynomial="on", budget=60))
    assert trained.surrogate.network.width == 5
    assert trained.numbers()["choice"]["polynomial_alone"]["validation_error"] < 1e-9


def test_the_outer_layer_is_refitted_on_train_and_validation():
    split = SHIFTED.split(0)
    trained = train(split, dataclasses.replace(SHORT, polynomial="on", goal="relative"))
    model, everything = trained.surrogate, split.train.joined(split.validation)
    assert "refitted" in trained.numbers()["choice"]
    looked = [record.validation_error for record in trained.history if record.validation_error is not None]
    assert trained.errors_anomalous["validation"] == pytest.approx(min(looked), rel=1e-6)  # of before the refit
    # At the minimum over both sets no change of W lowers the weighted error.
    y = torch.as_tensor(everything.parameters)
    columns = model._bound_features(torch.device("cpu"))(y)
    columns = torch.cat([columns, torch.ones(len(y), 1, dtype=torch.float64)], 1).numpy()
    amplitude = 1.0 if model.amplitude is None else model.amplitude(y).numpy()
    scale = np.sqrt((split.train.anomalous**2).mean(axis=0))  # few outputs without a unit: each has its own
    weights = 1 / np.linalg.norm(everything.anomalous / scale, axis=1)[:, None]
    misfit = (model.evaluate(everything.parameters) - everything.observables) / scale * weights
    slopes = (columns * amplitude * weights).T @ misfit
    assert np.abs(slopes).max() < 1e-5 * np.abs(misfit).sum()


def test_polynomials_are_refused_where_they_cannot_be():
    rng = np.random.default_rng(0)
    y, c = rng.uniform(size=(60, 6)), rng.uniform(1, 2, (60, 2))
    many = Samples(y, c, SMOOTH.parameter_space.observed(y, "p"), SMOOTH.parameter_space.observed(c, "c"))
    with pytest.raises(ValueError, match="at most 5 parameters, got 6"):
        train(many.split(0), dataclasses.replace(SHORT, polynomial="on"))
    with pytest.raises(ValueError, match="no polynomial basis fits 3"):
        train(SMOOTH.split(0, train=3), dataclasses.replace(SHORT, polynomial="on"))
    with pytest.raises(ValueError, match="paper's network"):
        TrainSettings(network="paper", polynomial="on")
