"""The saved classifier: round trips, kinds that are told apart, folders that cannot be trusted."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from gnvpro.surrogate.errors import SavedModelError
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.folder import DESCRIPTION, canonical, kind_of, sha256
from gnvpro.surrogate.model.spectra import SpectralFeatures
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.spaces import Space
from tests import MODELS

FIXTURES = MODELS
SPECTRA = np.random.default_rng(0).uniform(1, 5, (30, 7))
# Of the fixture of schema 3, when it was written.
SCHEMA_3 = [[0.201368334614, 0.12583038974, 0.672801275647], [0.239526097389, 0.0808623910782, 0.679611511532]]


TRAINING = {"method": "none", "work_units": 0.0, "cpu_seconds": 0.0}


def classifier(dtype=torch.float64):
    features = SpectralFeatures(7).fitted(SPECTRA)
    network = DenseNetwork(9, (5, 4))
    weights = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    bands = Space.vector([f"band_{j}" for j in range(7)], axis="band", lower=(1.0,) * 7, upper=(5.0,) * 7)
    classes = Space.vector(["corn", "oats", "woods"], axis="class", lower=(0.0,) * 3, upper=(1.0,) * 3)
    theta = network.initial(0).to(dtype)
    return Classifier(network, theta, weights, features, bands, classes, {"test": 0.5}, TRAINING)


@pytest.fixture
def folder(tmp_path):
    classifier().save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_round_trip(tmp_path, dtype):
    model = classifier(dtype)
    model.save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.evaluate(SPECTRA), model.evaluate(SPECTRA))
    assert loaded.class_names == ("corn", "oats", "woods")
    assert (loaded.accuracy, loaded.training, loaded.dtype) == (model.accuracy, model.training, model.dtype)


def test_probabilities_sum_to_one_and_label_is_the_largest():
    model = classifier()
    probabilities = model.evaluate(SPECTRA)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-14)
    np.testing.assert_array_equal(model.labels(SPECTRA), probabilities.argmax(1))
    assert model.evaluate(SPECTRA[:0]).shape == (0, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["scaled", "raw"])
def test_rows_that_are_not_finite_have_no_class(name, value):
    features = SpectralFeatures.named(name, 7).fitted(SPECTRA)
    network = DenseNetwork(features.n_features, (5, 4))
    model = dataclasses.replace(classifier(), features=features, network=network, theta=network.initial(0))
    y = SPECTRA[:3].copy()
    y[1, 2] = value
    assert np.isnan(model.evaluate(y)).all(axis=1).tolist() == [False, True, False]
    assert model.labels(y)[1] == -1


def test_range_of_training_is_known():
    y = SPECTRA[:2].copy()
    y[1, 0] = 7.0
    np.testing.assert_array_equal(classifier().inside(y), [True, False])


def test_kinds_are_told_apart(folder):
    assert kind_of(folder) == "classifier"
    assert kind_of(FIXTURES / "schema-2") == "surrogate"
    with pytest.raises(SavedModelError, match="is a classifier, expected a surrogate"):
        Surrogate.load(folder)
    with pytest.raises(SavedModelError, match="is a surrogate, expected a classifier"):
        Classifier.load(FIXTURES / "schema-1")


def test_a_classifier_of_schema_3_is_read():
    model = Classifier.load(FIXTURES / "schema-3")
    np.testing.assert_allclose(model.evaluate(SPECTRA[:2]), SCHEMA_3, rtol=1e-9)
    assert model.features.absolute_floor  # the predictions are those it was trained for


def test_a_classifier_of_schema_5_is_read():
    """Whose spectra are flat by their own size; every later version has to read it."""
    model = Classifier.load(FIXTURES / "schema-5")
    np.testing.assert_allclose(model.evaluate(SPECTRA[:2]), SCHEMA_3, rtol=1e-9)
    assert not model.features.absolute_floor
    np.testing.assert_allclose(model.features(torch.full((1, 7), 2.0))[0, :7] / model.features.scale[:7],
                               -model.features.shift[:7])  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(features=None), "not complete"),
        (dict(features={**SpectralFeatures(6).to_dict()}), "bands"),
        (dict(kind="oracle"), "kind surrogate or classifier"),
        (dict(dtype="float32"), "theta should be float32"),
        (dict(network={"kind": "dense", "n_inputs": 9, "widths": [5, 6]}), "should be"),
    ],
    ids=["no features", "other bands", "unknown kind", "other dtype", "other network"],
)
def test_folders_that_contradict_themselves_are_refused(folder, changes, message):
    description = json.loads((folder / DESCRIPTION).read_text()) | changes
    description.pop("sha256")
    signed = {**description, "sha256": sha256(canonical(description))}
    (folder / DESCRIPTION).write_text(json.dumps(signed))
    with pytest.raises(SavedModelError, match=message):
        Classifier.load(folder)


def test_nothing_is_overwritten_unasked(folder):
    with pytest.raises(FileExistsError, match="or overwrite it"):
        classifier().save(folder)
    classifier().save(folder, overwrite=True)
