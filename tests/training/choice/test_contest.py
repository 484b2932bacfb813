"""The contest of contenders, by way of `train`: what wins where, what it states, and that it is a model like any other."""

import numpy as np
import pytest

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.kernels import has_kernels
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.training.fitting.outcome import mean_relative_error
from gnvpro.training.train import TrainSettings, train
from tests.calculus import assert_adjoint
from tests.training.problems import smooth_samples


def samples_of(function, n, d, seed=0, noise=0.0):
    rng = np.random.default_rng(seed)
    y = rng.uniform(-1, 1, (n, d))
    c = function(y).reshape(n, -1)
    c = c + noise * rng.standard_normal(c.shape)
    parameters = Space.vector([f"p{j}" for j in range(d)], lower=(-1.0,) * d, upper=(1.0,) * d, law="uniform")
    return Samples(y, c, parameters, Space.vector([f"q{j}" for j in range(c.shape[1])], axis="observable"))


def wavy(y):
    return np.stack([np.sin(3 * y[:, 0]) + y[:, 1] * y[:, 2], 2 + np.exp(0.5 * y[:, 0] - y[:, 2])], 1)


def spread_of_errors(model, function, d):
    y = np.random.default_rng(99).uniform(-1, 1, (500, d))
    misfit = model.evaluate(y) - function(y).reshape(len(y), -1)
    return np.sqrt((misfit**2).mean())


def test_a_sparse_polynomial_of_many_parameters_is_found():
    def function(y):
        return 1 + y[:, 0] * y[:, 5] - 3 * y[:, 11] ** 3 + 0.5 * y[:, 2]

    trained = train(samples_of(function, 80, 12))
    assert trained.surrogate.training["choice"]["contenders"][0]["error"] < 1e-8
    assert spread_of_errors(trained.surrogate, function, 12) < 1e-8
    assert trained.surrogate.training["method"] == "closed form"


def test_the_stack_is_as_good_as_its_parts_and_its_error_is_that_of_fresh_samples():
    samples = samples_of(wavy, 60, 4)
    together = train(samples)
    assert set(together.errors) == {"train", "cross-validated"}
    assert together.surrogate.training["samples"]["train"] == 60
    errors = {
        kind: spread_of_errors(train(samples, contender=kind).surrogate, wavy, 4) for kind in ("kernel", "polynomial")
    }
    error = spread_of_errors(together.surrogate, wavy, 4)
    assert error < 1.1 * min(errors.values())
    stated = together.surrogate.training["errors_by_output"]["stated"]
    y = np.random.default_rng(98).uniform(-1, 1, (500, 4))
    fresh = Samples(y, wavy(y), samples.parameter_space, samples.observable_space)
    assert 0.5 < stated / mean_relative_error(together.surrogate, fresh) < 2


def test_a_stack_is_a_model_like_any_other(tmp_path):
    model = train(samples_of(wavy, 45, 3), contender="kernel").surrogate
    assert has_kernels(model.network)
    model.save(tmp_path / "model")
    loaded = Surrogate.load(tmp_path / "model")
    rng = np.random.default_rng(0)
    y, dy, dc = rng.uniform(-1, 1, (6, 3)), rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    np.testing.assert_array_equal(loaded.evaluate(y), model.evaluate(y))
    assert_adjoint(lambda v: model.jvp(y, v), lambda w: model.vjp(y, w), dy, dc)
    # The last layer of kernels is large, and its rounding hides remainders: central differences instead of Taylor's test.
    difference = (model.evaluate(y + 1e-4 * dy) - model.evaluate(y - 1e-4 * dy)) / 2e-4
    np.testing.assert_allclose(model.jvp(y, dy), difference, rtol=1e-4, atol=1e-4)
    far = np.full((1, 3), 3.0)
    assert loaded.trusted(y).mean() > 0.5
    assert not loaded.trusted(far).any()
    assert loaded.half_width(0.8).shape == (2,)


def test_given_validation_samples_choose_and_all_of_them_are_fitted():
    split = samples_of(wavy, 60, 3).split(0, train=36, validation=14, test=10)
    trained = train(split)
    assert set(trained.errors) == {"train", "validation", "test"}
    assert "refitted" in trained.surrogate.training["choice"]
    # Without noise, what was fitted to the validation samples is nearer to them than what was not.
    assert mean_relative_error(trained.surrogate, split.validation) < 0.6 * trained.errors["validation"]


def test_noise_is_not_interpolated():
    def function(y):
        return y[:, 0] + 0.5 * y[:, 1]

    trained = train(samples_of(function, 100, 6, noise=0.5))
    assert spread_of_errors(trained.surrogate, function, 6) < 0.25  # half of the noise


def test_networks_compete_from_forty_samples_on():
    kinds = [
        {one["kind"] for one in train(samples_of(wavy, n, 3), budget=60).surrogate.training["choice"]["contenders"]}
        | (
            {"raced"}
            if "candidates" in train(samples_of(wavy, n, 3), budget=60).surrogate.training["choice"]
            else set()
        )
        for n in (39, 40)
    ]
    assert "raced" not in kinds[0]
    assert "raced" in kinds[1]
    with pytest.raises(UsageError, match="at least 40 samples for a network"):
        train(samples_of(wavy, 20, 3), contender="network")


def test_the_network_of_a_contest_is_trained_on_with_every_sample():
    trained = train(smooth_samples(200), contender="network", budget=200)
    assert [record.stage for record in trained.history][-1] == "all samples"
    assert trained.errors["cross-validated"] < 0.05
    assert trained.surrogate.training["choice"]["kind"] == "network"


@pytest.mark.parametrize("n", [3, 4, 6, 9])
def test_a_handful_of_samples_gives_something_sane(n):
    samples = samples_of(lambda y: 5 + y[:, 0], n, 4)
    trained = train(samples)
    predicted = trained.surrogate.evaluate(np.random.default_rng(1).uniform(-1, 1, (100, 4)))
    assert ((predicted > 2) & (predicted < 8)).all()
    assert "error estimate" in dict(trained.rows())
    with pytest.raises(UsageError, match="at least 3 samples"):
        train(samples.subset(np.arange(2)))


@pytest.mark.parametrize("setting", [dict(widths=(4,)), dict(solver="krylov"), dict(members=2)])
def test_settings_of_networks_go_with_networks_only(setting):
    with pytest.raises(UsageError, match="with the contender kernel"):
        TrainSettings(contender="kernel", **setting)


def test_one_seed_gives_the_same_bits():
    first, second = (train(samples_of(wavy, 50, 3), budget=100).surrogate for _ in range(2))
    y = np.random.default_rng(1).uniform(-1, 1, (5, 3))
    np.testing.assert_array_equal(first.evaluate(y), second.evaluate(y))
