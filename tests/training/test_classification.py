"""From labelled samples to a saved classifier."""

import dataclasses

import numpy as np
import pytest
import torch

from gnvpro.surrogate.labelled import LabelledSamples, LabelledSplit
from gnvpro.training.class_settings import ClassSettings
from gnvpro.training.classification import FINISH_BUDGET, train_classes
from gnvpro.training.fitting.class_preparation import ClassPreparation
from tests.calculus import assert_adjoint, assert_taylor

NAMES = ("low", "middle", "high")
SHORT = ClassSettings(widths=(8, 6), budget=25, seed=1)


def spectra(n, seed):
    """Bumps at three places in 12 bands, of random height and brightness, with noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    bands = np.arange(12)
    bump = np.exp(-0.5 * ((bands - 2 - 3.5 * labels[:, None] + rng.normal(0, 0.8, (n, 1))) / 1.5) ** 2)
    return LabelledSamples((1 + bump + 0.1 * rng.standard_normal((n, 12))) * rng.uniform(1, 3, (n, 1)), labels)


SPLIT = LabelledSplit(spectra(150, 0), spectra(80, 1), spectra(80, 2), NAMES)


@pytest.fixture(scope="module")
def training():
    return train_classes(SPLIT, SHORT)


def test_classifier_is_better_than_guessing_by_far_and_says_what_it_cost(training):
    summary = training.numbers()
    assert summary["accuracy"]["test"] > 0.8
    assert summary["samples"] == {"train": 150, "validation": 80, "test": 80}
    # A last line search and a last epoch may cost more than what is left, by a few passes each.
    assert 25 + FINISH_BUDGET <= summary["work_units"] < 25 + FINISH_BUDGET + 15
    for name in ("train", "validation", "test"):
        samples = getattr(SPLIT, name)
        found = training.classifier.labels(samples.inputs)
        assert summary["accuracy"][name] == pytest.approx((found == samples.labels).mean())


def test_finish_never_lowers_what_is_chosen_on():
    plain = train_classes(SPLIT, dataclasses.replace(SHORT, finish="none"))
    finished = train_classes(SPLIT, dataclasses.replace(SHORT, finish="adam"))
    assert finished.numbers()["accuracy"]["validation"] >= plain.numbers()["accuracy"]["validation"]


def test_same_seed_gives_the_same_bits_and_another_seed_another_model(training):
    again = train_classes(SPLIT, SHORT)
    assert (again.classifier.weights == training.classifier.weights).all()
    assert not (
        train_classes(SPLIT, dataclasses.replace(SHORT, seed=2)).classifier.theta == again.classifier.theta
    ).all()


@pytest.mark.parametrize(
    "settings",
    [
        ClassSettings(method="varpro-krylov", widths=(6, 5), budget=60, features="paper"),
        ClassSettings(network="paper", budget=20, features="paper", dtype="float64"),
        ClassSettings(method="adam", widths=(6, 5), budget=40, finish="none"),
        ClassSettings(widths=(6, 5), budget=25, features="per-band", dtype="float64"),
        ClassSettings(widths=(6, 5), budget=15, class_weight_power=0.5, label_smoothing=0.2, curvature="paper"),
    ],
    ids=["krylov", "paper's network", "adam", "features by name", "weights and smoothing"],
)
def test_every_way_to_train_beats_the_largest_class(settings):
    share = np.bincount(SPLIT.validation.labels).max() / len(SPLIT.validation)
    assert train_classes(SPLIT, settings).numbers()["accuracy"]["validation"] > share + 0.1


def test_shares_of_training_are_corrected_towards_those_of_all_labelled_samples():
    keep = np.sort(np.concatenate([np.flatnonzero(SPLIT.train.labels == k)[:n] for k, n in enumerate((10, 20, 40))]))
    capped = LabelledSamples(SPLIT.train.inputs[keep], SPLIT.train.labels[keep])
    split = dataclasses.replace(SPLIT, train=capped)
    prepared = [ClassPreparation(split, dataclasses.replace(SHORT, share_correction=c)) for c in (0.0, 1.0)]
    task = prepared[0].task()
    point = task.reduced.at(task.theta)
    plain, corrected = (
        each.classifier(point.theta, point.outer.weights).evaluate(SPLIT.test.inputs) for each in prepared
    )
    trained, others = np.bincount(capped.labels), np.bincount(SPLIT.validation.labels)
    bayes = plain * (trained + others) / trained
    np.testing.assert_allclose(corrected, bayes / bayes.sum(1, keepdims=True), rtol=1e-6)
    # What chooses the iterate sees the same classes.
    right = prepared[1].classifier(point.theta, point.outer.weights).accuracy["validation"]
    assert 1 - prepared[1].task().validation.measure(point)[1] == pytest.approx(right)


def test_a_class_without_training_samples_is_not_corrected():
    train = LabelledSamples(*(part[SPLIT.train.labels > 0] for part in (SPLIT.train.inputs, SPLIT.train.labels)))
    offset = ClassPreparation(dataclasses.replace(SPLIT, train=train), SHORT).offset
    assert offset[0] == 0
    assert torch.isfinite(offset).all()


def test_probabilities_are_those_of_the_fit(training):
    settings = dataclasses.replace(SHORT, finish="none", dtype="float64", share_correction=0.0)
    prepared = ClassPreparation(SPLIT, settings)
    task = prepared.task()
    point = task.reduced.at(task.theta)
    classifier = prepared.classifier(point.theta, point.outer.weights)
    np.testing.assert_allclose(classifier.evaluate(SPLIT.train.inputs), point.inner.probabilities.numpy(), rtol=1e-5)


def test_derivatives_of_probabilities(training):
    model = dataclasses.replace(training.classifier, theta=training.classifier.theta.double())
    y = SPLIT.test.inputs[:6]
    rng = np.random.default_rng(0)
    dy, dc = rng.standard_normal(y.shape), rng.standard_normal((6, 3))
    assert_taylor(model.evaluate, model.jvp(y, 0.1 * dy), y, 0.1 * dy)
    assert_adjoint(lambda v: model.jvp(y, v), lambda u: model.vjp(y, u), dy, dc)


def test_rows_that_are_not_finite_have_no_class(training):
    y = SPLIT.test.inputs[:3].copy()
    y[1, 4] = np.nan
    labels = training.classifier.labels(y)
    assert labels[1] == -1
    assert (labels[[0, 2]] >= 0).all()
    assert np.isnan(training.classifier.evaluate(y)[1]).all()


def test_interruption_keeps_the_best_so_far():
    def stop(now):
        if now.work_units > 10:
            raise KeyboardInterrupt

    summary = train_classes(SPLIT, SHORT, stop).numbers()
    assert summary["status"] == "interrupted"
    assert summary["work_units"] < 25
    assert summary["accuracy"]["train"] > 0.3


def test_network_sees_float32_and_the_outer_layer_float64(training):
    assert training.classifier.theta.dtype == torch.float32
    assert training.classifier.weights.dtype == torch.float64


def test_bad_settings_and_data_are_refused():
    with pytest.raises(ValueError, match="unknown method 'newton'"):
        ClassSettings(method="newton")
    with pytest.raises(ValueError, match="budget > 0"):
        ClassSettings(budget=0.0)
    with pytest.raises(ValueError, match="at least two classes"):
        LabelledSplit(SPLIT.train, SPLIT.validation, SPLIT.test, ("one",))
    with pytest.raises(ValueError, match="validation set is empty"):
        LabelledSplit(SPLIT.train, spectra(0, 0), SPLIT.test, NAMES)
    with pytest.raises(ValueError, match="labels 0 to 1"):
        LabelledSplit(SPLIT.train, SPLIT.validation, SPLIT.test, NAMES[:2])
    with pytest.raises(ValueError, match="sample 0 are not finite"):
        LabelledSamples(np.full((2, 3), np.nan), np.zeros(2, int))
    with pytest.raises(ValueError, match="integer labels"):
        LabelledSamples(np.ones((2, 3)), np.zeros(2))


def test_a_training_is_printed_with_its_accuracy_and_cost(training):
    assert repr(training).startswith("Training of a classifier\n")
    assert [what for what, _ in training.rows()] == ["accuracy", "method", "cost", "chosen because"]
    assert "varpro-kf-lbfgs, " in training._repr_html_()
    assert repr(training.classifier).startswith("Classifier\n")
