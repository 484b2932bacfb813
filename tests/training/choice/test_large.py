"""Many samples: one wide network on batches, judged on samples it has not seen, its last layer solved for on all."""

import numpy as np
import pytest
import torch

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.training.choice import large
from gnvpro.training.choice.folds import folds_of
from gnvpro.training.choice.large import budget_of, decide_many
from gnvpro.training.fitting.outcome import relative_error
from gnvpro.training.fitting.preparation import Preparation
from gnvpro.training.fitting.run import Run
from gnvpro.training.settings import TrainSettings
from gnvpro.training.train import train
from tests.training.problems import smooth_samples

SAMPLES = smooth_samples(2600, n_in=4)
SETTINGS = TrainSettings(budget=12)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr("gnvpro.training.regression.MANY_SAMPLES", 2500)
    monkeypatch.setattr(large, "WIDTHS", (12, 8))


def test_budgets_by_hand():
    # 60 epochs of a million samples; 2,600 batches of 1,024 are 88.7 epochs of 30,000.
    assert budget_of(1_000_000, quick=False) == 121
    assert budget_of(30_000, quick=False) == 179
    assert budget_of(1_000_000, quick=True) == 37


def test_the_last_layer_is_that_of_all_samples_at_the_features_of_the_fit():
    folds = folds_of(len(SAMPLES), 0)
    decision = decide_many(Run(1.0), SETTINGS, SAMPLES, folds)
    fit, network = decision.fit, DenseNetwork(4, (12, 8))
    everything, fitted = Preparation.of_all(SAMPLES, SETTINGS), SAMPLES.subset(np.flatnonzero(folds < 0))
    formulation = Preparation.of_all(fitted, SETTINGS).standardised(2.0)  # gain sqrt(4)
    weights = everything.task(network, formulation).reduced.at(fit.best.theta).outer_weights
    expected = everything.surrogate(network, fit.best.theta, weights, formulation)
    torch.testing.assert_close(decision.surrogate.weights, expected.weights, rtol=1e-7, atol=1e-9)
    assert np.array_equal(np.isnan(decision.predictions).all(1), folds < 0)
    unseen = SAMPLES.subset(np.flatnonzero(folds >= 0))
    before = everything.surrogate(network, fit.best.theta, fit.best.weights, formulation)
    np.testing.assert_allclose(decision.predictions[folds >= 0], before.evaluate(unseen.parameters), rtol=1e-12)
    assert 0 < relative_error(decision.predictions[folds >= 0], unseen) < 0.3


def test_training_of_many_samples_goes_on_batches_and_says_so():
    training = train(SAMPLES, SETTINGS)
    record = training.surrogate.training
    assert record["method"] == "varpro-batches"
    assert "one wide network" in record["choice"]["reason"]
    assert 12 <= record["work_units"] < 12 + 2
    assert set(training.errors) == {"train", "cross-validated"}
    assert training.surrogate.trust is not None
    assert torch.equal(train(SAMPLES, SETTINGS).surrogate.theta, training.surrogate.theta)


def test_resumed_it_ends_with_the_same_bits(tmp_path):
    whole, left = train(SAMPLES, SETTINGS), [3]

    class Killed(Exception):
        pass

    def kill(_):
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    with pytest.raises(Killed):
        train(SAMPLES, SETTINGS, kill, checkpoint=tmp_path / "run", every=1)
    resumed = train(SAMPLES, SETTINGS, checkpoint=tmp_path / "run")
    assert torch.equal(resumed.surrogate.theta, whole.surrogate.theta)
    assert torch.equal(resumed.surrogate.weights, whole.surrogate.weights)


def test_fewer_samples_are_contested():
    few = train(smooth_samples(60), TrainSettings(contender="polynomial"))
    assert few.surrogate.training["method"] != "varpro-batches"
