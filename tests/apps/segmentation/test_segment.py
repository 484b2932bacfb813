"""The verb `segment` on arrays: no file, no command line."""

import json

import numpy as np
import pytest

from gnvpro.apps.console import jsonable
from gnvpro.apps.segmentation.segment import segment
from gnvpro.surrogate.model.classifier import Classifier

QUICK = dict(budget=8, finish="none", widths=(6,))


@pytest.fixture(scope="module")
def image():
    """Patches of three classes with a spectrum each, and noise."""
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 4, (6, 7)), np.ones((6, 6), dtype=int))
    spectra = rng.uniform(1, 2, (4, 8))
    return spectra[labels] * rng.normal(1, 0.02, (*labels.shape, 8)), labels


def test_arrays_are_segmented_and_saved(image, tmp_path):
    cube, labels = image
    segmentation = segment(
        cube, labels, class_names=("corn", "woods", "road"), split="class-capped", cap=40, out=tmp_path / "s", **QUICK
    )
    assert list(segmentation.splits) == ["class-capped"]
    assert (segmentation.predicted == labels)[labels > 0].mean() > 0.9
    assert segmentation.probabilities.shape == (*labels.shape, 3)
    numbers = segmentation.numbers()
    assert numbers["accuracy"]["validation"] > 0.9
    assert numbers["settings"]["cube"] is None
    assert json.loads((tmp_path / "s" / "segmentation.json").read_text()) == jsonable(json.loads(json.dumps(numbers)))
    saved = Classifier.load(tmp_path / "s" / "model")
    np.testing.assert_array_equal(saved.labels(cube.reshape(-1, 8)) + 1, segmentation.predicted.reshape(-1))
    assert "gnvpro.segment(…)" in (tmp_path / "s" / "report.html").read_text()


def test_what_it_returns_is_told_in_words(image):
    segmentation = segment(*image, split="blocks", block_size=6, cap=40, **QUICK)
    told = repr(segmentation)
    assert told.startswith("the cube, varpro-kf-lbfgs")
    assert "36 × 42 pixels of 8 bands, 3 classes" in told
    assert "right: train" in told
    assert f"1 class 1  {int((image[1] == 1).sum())} pixels, right" in told
    assert "<caption>the cube, varpro-kf-lbfgs</caption>" in segmentation._repr_html_()
    assert segmentation.failure is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(split="rows"), "unknown split 'rows'; expected both, class-capped, random, blocks"),
        (dict(widht=3), "unknown setting .widht."),
        (dict(method="newton"), "unknown method 'newton'"),
        (dict(class_names=("a",)), "name every class"),
    ],
)
def test_wrong_arguments_are_said(image, arguments, message):
    with pytest.raises(ValueError, match=message):
        segment(*image, **arguments)


def test_labels_and_cube_belong_together(image):
    with pytest.raises(ValueError, match="labels without a cube"):
        segment(labels=image[1])
    with pytest.raises(ValueError, match="no labels"):
        segment(image[0])
    with pytest.raises(ValueError, match="transpose the labels"):
        segment(image[0], image[1].T)
