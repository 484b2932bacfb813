"""A classifier is a saved model like any other: predict and info."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from apps.cli import app
from tests.surrogate.test_classifier import FIXTURES, SPECTRA, classifier

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


def test_compare_says_that_a_classifier_has_no_pde():
    found = run("compare", MODEL)
    assert found.exit_code == 2
    assert "is a classifier" in found.output
