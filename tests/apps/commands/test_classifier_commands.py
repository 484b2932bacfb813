"""A classifier is a saved model like any other: predict and info."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from gnvpro.apps.cli import app
from tests.surrogate.model.test_classifier import FIXTURES, SPECTRA, classifier

MODEL = FIXTURES / "schema-3"


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_predict_writes_probabilities_and_labels(tmp_path):
    np.savez(tmp_path / "spectra.npz", parameters=SPECTRA)
    found = run("predict", MODEL, "--parameters", tmp_path / "spectra.npz", "--out", tmp_path / "out.npz", "--json")
    assert found.exit_code == 0, found.output
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_allclose(out["observables"], classifier().evaluate(SPECTRA), rtol=1e-9)
        np.testing.assert_array_equal(out["labels"], classifier().labels(SPECTRA))
    assert json.loads(found.stdout)["expected_error"] == pytest.approx(0.5)


def test_predict_names_the_classes_in_a_table(tmp_path):
    np.savez(tmp_path / "spectra.npz", parameters=SPECTRA)
    assert run("predict", MODEL, "-p", tmp_path / "spectra.npz", "-o", tmp_path / "out.csv").exit_code == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    names = classifier().class_names
    assert [row["class"] for row in rows] == [names[j] for j in classifier().labels(SPECTRA)]


def test_info_tells_classes_and_accuracy():
    found = json.loads(run("info", MODEL, "--json").stdout)
    assert found["kind"] == "classifier"
    assert found["classes"] == ["corn", "oats", "woods"]
    assert found["accuracy"] == {"test": 0.5}
    assert "corn, oats, woods" in run("info", MODEL).stdout


@pytest.fixture
def scene(tmp_path):
    """An image of the spectra whose labels are the predictions, two of them changed, one absent, one not usable."""
    cube, labels = SPECTRA.reshape(5, 6, 7).copy(), classifier().labels(SPECTRA).reshape(5, 6) + 1
    labels[0, :2] = labels[0, :2] % 3 + 1
    labels[1, 1] = 0
    cube[2, 2, 3] = np.nan
    np.savez(tmp_path / "scene.npz", cube=cube, gt=labels)
    return tmp_path / "scene.npz"


def compared(scene, *arguments):
    return run("compare", MODEL, "--cube", scene, "--labels", f"{scene}:gt", *arguments)


def test_compare_judges_by_labels(scene, tmp_path):
    found = compared(scene, "--out", tmp_path / "deep" / "out", "--json")
    assert found.exit_code == 0, found.output
    numbers = json.loads(found.stdout)
    confusion = np.array(numbers["confusion"])
    assert numbers["n_pixels"] == confusion.sum() == 28
    assert numbers["accuracy"] == pytest.approx(26 / 28)
    known = [share for share in numbers["per_class"].values() if share is not None]
    assert numbers["average_accuracy"] == pytest.approx(np.mean(known))
    assert list(numbers["per_class"]) == ["corn", "oats", "woods"]
    assert any("1 pixels with values that are not finite" in note for note in numbers["notes"])
    assert {item.name for item in (tmp_path / "deep" / "out").iterdir()} == {
        "comparison.json", "maps.png", "confusion.png"
    }  # fmt: skip
    assert json.loads((tmp_path / "deep" / "out" / "comparison.json").read_text()) == numbers
    assert "exists already" in compared(scene, "--out", tmp_path / "deep" / "out").output
    assert "corn" in compared(scene).stdout


def test_compare_judges_an_image_with_few_of_the_classes(scene, tmp_path):
    labels = np.zeros((5, 6), dtype=int)
    labels[0, 0] = 2
    np.save(tmp_path / "one.npy", labels)
    found = run("compare", MODEL, "--cube", scene, "--labels", tmp_path / "one.npy", "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["n_pixels"] == 1
    assert json.loads(found.stdout)["per_class"]["corn"] is None


def test_compare_says_what_it_needs_of_a_classifier(scene, tmp_path):
    np.savez(tmp_path / "narrow.npz", cube=np.ones((5, 6, 4)), gt=np.ones((5, 6), int))
    np.savez(tmp_path / "more.npz", cube=SPECTRA.reshape(5, 6, 7), gt=np.full((5, 6), 4))
    np.savez(tmp_path / "none.npz", cube=SPECTRA.reshape(5, 6, 7), gt=np.zeros((5, 6), int))
    for arguments, complaint in (
        ((), "is a classifier: give an image with --cube"),
        (("--cube", scene), "a classifier is judged on labelled pixels"),
        (("--labels", f"{scene}:gt"), "is a classifier: give an image with --cube"),
        (("--cube", scene, "--labels", f"{scene}:gt", "--problem", "cdr"), "replaces no PDE"),
        (("--cube", tmp_path / "narrow.npz", "--labels", f"{tmp_path / 'narrow.npz'}:gt"), "has 4 bands"),
        (("--cube", tmp_path / "more.npz", "--labels", f"{tmp_path / 'more.npz'}:gt"), "labels go to 4 and 3 classes"),
        (("--cube", tmp_path / "none.npz", "--labels", f"{tmp_path / 'none.npz'}:gt"), "no usable pixel is labelled"),
    ):
        found = run("compare", MODEL, *arguments)
        assert found.exit_code == 2, found.output
        assert complaint in " ".join(found.output.split())


def test_a_surrogate_is_not_compared_with_labels(scene):
    found = run("compare", FIXTURES / "schema-2", "--cube", scene, "--labels", f"{scene}:gt")
    assert found.exit_code == 2
    assert "is a surrogate; --cube and --labels are for a classifier" in " ".join(found.output.split())
