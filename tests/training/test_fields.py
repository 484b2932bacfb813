"""Training on fields is training on the coefficients of their modes: the same models, errors and bands as of all values."""

from dataclasses import replace

import numpy as np
import pytest

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.calibration import calibrated, residuals
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.surrogate.spaces import Axis, Space
from gnvpro.surrogate.trust.bands import spread
from gnvpro.training.fields import in_modes
from gnvpro.training.train import TrainSettings, coarse_level, train
from tests.surrogate.fields import Bump

PROBLEM = Bump(9, times=(0.5, 1.0))
PLAIN = Space((Axis("node", tuple(map(float, range(PROBLEM.observables.size)))),), ("K",))


def errors(model, samples):
    misfit = residuals(model, samples)
    return np.linalg.norm(misfit, axis=1) / np.linalg.norm(samples.observables, axis=1)


@pytest.fixture(scope="module")
def trained():
    return train(PROBLEM.samples(80), quick=True, seed=1)


def test_errors_are_those_of_fields(trained):
    model, fresh = trained.surrogate, PROBLEM.samples(200, seed=9)
    assert model.observables == PROBLEM.observables
    assert model.modes.shape == (model.training["modes"]["used"], 162)
    assert model.modes.shape[0] <= model.training["modes"]["number"] < 80
    stated = model.errors
    again = errors(model, PROBLEM.samples(80)).mean()
    assert again == pytest.approx(stated["train"], abs=0.1 * stated["cross-validated"])
    assert errors(model, fresh).mean() < 3 * model.errors["cross-validated"]
    assert "errors_by_output" not in model.training
    assert any("162 values" in value for what, value in model.rows() if what == "modes")


def test_a_field_and_its_values_give_the_same_closed_form():
    samples = PROBLEM.samples(60)
    plain = replace(samples, observable_space=PLAIN)
    of_field = train(samples, contender="polynomial", field_error=1e-7)
    of_values = train(plain, contender="polynomial")
    assert of_values.surrogate.modes is None
    y = PROBLEM.samples(20, seed=5).parameters
    expected = of_values.surrogate.evaluate(y)
    np.testing.assert_allclose(of_field.surrogate.evaluate(y), expected, atol=0.02 * np.ptp(expected))
    assert of_field.errors["cross-validated"] == pytest.approx(of_values.errors["cross-validated"], rel=0.1)


def test_bands_are_of_every_value(trained):
    model = trained.surrogate
    assert model.half_width(0.9).shape == model.half_width(0.9, simultaneous=True).shape == (162,)
    fresh = PROBLEM.samples(300, seed=4)
    coverage = model.trust.bands.coverage(residuals(model, fresh), 0.9)
    assert coverage.marginal > 0.8
    assert coverage.simultaneous > 0.8
    # Where the field is zero throughout, so is the band, but for what is in no mode.
    at_zero = np.tile(PROBLEM.mesh.points[:, 0] == 0, 2)
    assert 0 < model.half_width(0.9)[at_zero].max() <= 1e-2 * model.half_width(0.9).max()
    again = calibrated(model, None, fresh, "test", spread(residuals(model, PROBLEM.samples(50, seed=6))))
    assert again.half_width(0.9).shape == (162,)


def test_a_field_model_is_the_same_after_saving(trained, tmp_path):
    trained.save(tmp_path / "model")
    model = Surrogate.load(tmp_path / "model")
    y = PROBLEM.samples(5, seed=2).parameters
    np.testing.assert_array_equal(model.evaluate(y), trained.surrogate.evaluate(y))
    np.testing.assert_array_equal(model.observables.mesh.points, PROBLEM.mesh.points)
    assert model.observables == trained.surrogate.observables
    assert (tmp_path / "model/model.json").stat().st_size < 20_000


def test_derivatives_of_a_field_are_adjoint(trained):
    model, rng = trained.surrogate, np.random.default_rng(0)
    y, dy = PROBLEM.samples(4, seed=3).parameters, rng.standard_normal((4, 2))
    dc = rng.standard_normal((4, 162))
    np.testing.assert_allclose((model.jvp(y, dy) * dc).sum(1), (model.vjp(y, dc) * dy).sum(1), rtol=1e-4, atol=1e-5)
    step = 1e-3
    difference = (model.evaluate(y + step * dy) - model.evaluate(y - step * dy)) / (2 * step)
    assert np.abs(model.jvp(y, dy) - difference).max() < 1e-2 * np.abs(difference).max()


@pytest.mark.parametrize(
    "settings", [dict(widths=(8, 8), budget=60.0), dict(contender="kernel"), dict(polynomial="on", budget=60.0)]
)
def test_every_way_of_training_has_fields(settings):
    trained = train(PROBLEM.samples(80), calibration=15, test=15, **settings)
    model = trained.surrogate
    assert model.evaluate(model.parameters.lower_bounds[None]).shape == (1, 162)
    assert errors(model, PROBLEM.samples(50, seed=8)).mean() < 3 * model.errors["test"] + 1e-3


def test_derivatives_of_samples_are_in_the_modes_too():
    samples = PROBLEM.samples(30)
    step = 1e-5
    directions = np.tile(np.eye(2)[None], (30, 1, 1))
    derivatives = np.stack(
        [(PROBLEM.evaluate(samples.parameters + step * d) - samples.observables) / step for d in np.eye(2)], axis=1
    )
    with_derivatives = replace(samples, directions=directions, derivatives=derivatives)
    (reduced,), modes = in_modes([with_derivatives], 1e-6)
    np.testing.assert_allclose(reduced.observables @ modes.values, samples.observables, atol=1e-5)
    np.testing.assert_allclose(reduced.derivatives @ modes.values.astype(float), derivatives, atol=2e-5)
    model = train(with_derivatives, contender="polynomial").surrogate
    assert errors(model, PROBLEM.samples(50, seed=8)).mean() < 0.2


def test_a_background_is_left_out_of_the_modes_and_added():
    background = np.full(162, 1e3)
    samples = replace(Bump(9, times=(0.5, 1.0), offset=1e3).samples(60), background=background)
    model = train(samples, contender="polynomial").surrogate
    plain = train(PROBLEM.samples(60), contender="polynomial").surrogate
    assert model.errors_anomalous["cross-validated"] == pytest.approx(plain.errors["cross-validated"], rel=0.05)
    y = PROBLEM.samples(5, seed=2).parameters
    np.testing.assert_allclose(model.evaluate(y) - 1e3, plain.evaluate(y), atol=0.02)


def test_coarse_fields_share_the_modes():
    coarse = PROBLEM.samples(80, seed=3)
    coarse = replace(coarse, observables=1.1 * coarse.observables)
    model = train(PROBLEM.samples(30), coarse=coarse, quick=True).surrogate
    assert errors(model, PROBLEM.samples(50, seed=8)).mean() < 0.1
    level = coarse_level(coarse, TrainSettings(quick=True))
    assert level.surrogate.observables == PROBLEM.observables
    assert level.left_out.shape == coarse.observables.shape
    again = train(PROBLEM.samples(30), coarse=level, quick=True).surrogate
    assert errors(again, PROBLEM.samples(50, seed=8)).mean() < 0.1


def test_sets_of_a_split_share_the_modes():
    split = Split(*(PROBLEM.samples(n, seed=n) for n in (60, 20, 20, 20)))
    model = train(split, quick=True).surrogate
    assert errors(model, split.test).mean() == pytest.approx(model.errors["test"], rel=0.05, abs=1e-5)


def test_coefficients_and_fields_are_not_mixed():
    (reduced,), _ = in_modes([PROBLEM.samples(30)], 1e-6)
    assert isinstance(reduced, Samples)
    with pytest.raises(UsageError, match="give all as fields"):
        in_modes([reduced, PROBLEM.samples(30)], 1e-6)


def test_a_background_elsewhere_than_the_anomaly_stays_in_the_field():
    """Of a rank-one anomaly that is orthogonal to its background, which one mode alone would not hold."""
    x = PROBLEM.mesh.points
    parameters = Space.vector(["p", "q"], lower=(1.0, 1.0), upper=(2.0, 2.0), law="uniform")
    y = np.random.default_rng(0).uniform(1, 2, (60, 2))
    background = np.where(x[:, 0] <= 0.5, 3 + x[:, 0], 0.0)
    fields = background + np.sin(y[:, :1]) * y[:, 1:] ** 2 * np.where(x[:, 0] > 0.5, np.sin(6 * x[:, 1]), 0.0)
    samples = Samples(y, fields, parameters, Space((Axis.of_mesh("node", PROBLEM.mesh),)), background=background)
    model = train(samples, contender="polynomial").surrogate
    assert errors(model, samples).mean() < 1e-3
    np.testing.assert_allclose(model.background.numpy() @ model.modes.numpy(), background, atol=1e-5)
