"""Accuracies and kappa: by hand, and against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score

from gnvpro.apps.segmentation.class_metrics import ClassMetrics


def test_numbers_of_a_small_table():
    made = ClassMetrics.of([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0], 3)
    assert made.confusion.tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert made.overall_accuracy == pytest.approx(4 / 6)
    assert made.average_accuracy == pytest.approx((3 / 4 + 1 / 2) / 2)
    np.testing.assert_allclose(made.per_class, [3 / 4, 1 / 2, np.nan])
    # Chance: 4/6 · 4/6 + 2/6 · 2/6 = 20/36.
    assert made.kappa == pytest.approx((24 / 36 - 20 / 36) / (16 / 36))
    assert made.to_dict()["confusion"] == made.confusion.tolist()


def test_numbers_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 400)
    predicted = np.where(rng.random(400) < 0.6, labels, rng.integers(0, 5, 400))
    made = ClassMetrics.of(labels, predicted, 5)
    assert made.overall_accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert made.average_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert made.kappa == pytest.approx(cohen_kappa_score(labels, predicted))
    np.testing.assert_allclose(made.normalised.sum(axis=1), 1)


def test_nothing_to_compare_is_no_number():
    empty = ClassMetrics.of(np.zeros(0, int), np.zeros(0, int), 3)
    assert math.isnan(empty.overall_accuracy)
    assert math.isnan(empty.average_accuracy)
    assert math.isnan(empty.kappa)
    assert math.isnan(ClassMetrics.of([1, 1], [1, 1], 2).kappa)


def test_wrong_arrays_are_answered():
    with pytest.raises(ValueError, match="as many labels as predictions"):
        ClassMetrics.of([0, 1], [0], 2)
    with pytest.raises(ValueError, match="predictions from 0 to 1, got -1 to 1; leave out"):
        ClassMetrics.of([0, 1], [-1, 1], 2)
    with pytest.raises(ValueError, match="labels from 0 to 1, got 0 to 2"):
        ClassMetrics.of([0, 2], [0, 1], 2)
