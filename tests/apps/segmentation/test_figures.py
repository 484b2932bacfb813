"""Figures of a segmentation: colours that differ, counts that are right, many classes, missing ones."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from gnvpro.apps.segmentation.class_metrics import ClassMetrics
from gnvpro.apps.segmentation.figures import class_colours, confusions, maps


@pytest.mark.parametrize("n", [2, 16, 20, 40])
def test_colours_differ(n):
    colours = np.array([to_rgb(colour) for colour in class_colours(n)])
    apart = np.linalg.norm(colours[:, None] - colours, axis=2) + np.eye(n)
    assert apart.min() > (0.15 if n <= 20 else 0.02)


def test_difference_counts_labelled_and_usable_pixels():
    truth, predicted = np.array([[1, 1, 2], [0, 2, 2]]), np.array([[1, 2, 2], [1, 0, 1]])
    figure = maps(truth, predicted, ("a", "b"))
    shown = figure.axes[2].images[0].get_array()
    np.testing.assert_array_equal(shown, [[1, 2, 1], [0, 0, 2]])
    assert figure.axes[2].get_title() == "different: 2 of 4 labelled (50.0 %)"
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries == ["1 a", "2 b", "unlabelled or not usable", "the same", "different"]


def test_confusions_stand_side_by_side_and_name_missing_classes():
    one = ClassMetrics.of([0, 0, 1], [0, 1, 1], 3)
    figure = confusions({"first": one, "second": one}, ("a", "b", "c"))
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array()[:2], [[50, 50, 0], [0, 100, 0]])
    assert figure.axes[1].get_title().startswith("second\noverall 66.7 %")
    assert "no pixels" in [text.get_text() for text in figure.axes[0].texts]
    with pytest.raises(ValueError, match="at least one method"):
        confusions({}, ("a",))
