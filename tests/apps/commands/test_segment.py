"""`gnvpro segment` on a corner of Indian Pines: what it writes, what it prints, what it refuses."""

import json

import numpy as np
import pytest
import xarray as xr

from gnvpro.apps.segmentation.cubes import indian_pines
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.training.classification import ClassTraining

QUICK = ("--budget", 15, "--finish", "none", "--widths", "12")
FILES = {"report.html", "segmentation.json", "maps.png", "confusion.png", "probabilities.zarr", "model", "blocks"}


@pytest.fixture(scope="module")
def corner(tmp_path_factory):
    """60 × 60 pixels with their large classes, and a pixel that is not finite."""
    pines, path = indian_pines(), tmp_path_factory.mktemp("corner") / "corner.npz"
    cube, labels = pines.cube[:60, 85:].copy(), pines.labels[:60, 85:]
    large = [k for k in range(1, 17) if (labels == k).sum() > 60]
    cube[0, 0, 8] = np.nan
    np.savez(path, cube=cube[:, :, ::8], labels=sum((labels == k) * i for i, k in enumerate(large, 1)))
    return path


@pytest.fixture(scope="module")
def made(gnvpro, corner, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "deep" / "segmentation"
    ran = gnvpro("segment", corner, "--labels", f"{corner}:labels", "--out", out, *QUICK, "--json")
    assert ran.exit_code == 0, ran.stderr
    return out, ran.numbers


def test_numbers_are_complete(made):
    out, numbers = made
    assert set(numbers["accuracy"]) == {"train", "validation", "test"}
    assert numbers["accuracy"]["train"] > 0.6
    assert numbers["method"] == "varpro-kf-lbfgs"
    assert numbers["work_units"] > 0
    assert numbers["cpu_seconds"] > 0
    assert list(numbers["splits"]) == ["class-capped", "blocks"]
    for name, one in numbers["splits"].items():
        assert one["split"] == name
        known = [share for share in one["per_class"].values() if share is not None]
        assert one["average_accuracy"] == pytest.approx(np.mean(known))
        counts = np.array(one["sets"]["test"]["confusion"])
        assert counts.sum() == one["samples"]["test"]
        assert one["accuracy"]["test"] == pytest.approx(np.trace(counts) / counts.sum())
    assert any("1 pixels with values that are not finite" in note for note in numbers["notes"])
    assert json.loads((out / "segmentation.json").read_text()) == numbers


def test_folder_holds_the_report_the_maps_and_the_model(made, corner):
    out, numbers = made
    assert {item.name for item in out.iterdir()} == FILES
    assert {item.name for item in (out / "blocks").iterdir()} == FILES - {"report.html", "segmentation.json", "blocks"}
    page = (out / "report.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "").replace("https://matplotlib.org", "")
    assert f"gnvpro segment {corner.name} --labels {corner.name}:labels" in page
    with np.load(corner) as stored:
        cube, labels = stored["cube"], stored["labels"]
    with xr.open_zarr(out / "probabilities.zarr", consolidated=False) as data:
        probability, predicted = data["probability"].load(), data["predicted"].load()
        np.testing.assert_array_equal(data["label"], labels)
    assert probability.dims == ("y", "x", "class")
    assert probability.dtype == np.float32
    assert np.isnan(probability[0, 0]).all()
    assert predicted[0, 0] == 0
    np.testing.assert_allclose(probability.sum("class").values.reshape(-1)[1:], 1, rtol=1e-5)
    model = Classifier.load(out / "model")
    np.testing.assert_allclose(model.evaluate(cube[10]), probability[10], atol=1e-6)
    np.testing.assert_array_equal(model.labels(cube.reshape(-1, cube.shape[2])) + 1, predicted.values.reshape(-1))
    assert model.provenance["split"] == "class-capped"
    assert model.accuracy == pytest.approx(numbers["accuracy"])


def test_nothing_is_overwritten(gnvpro, made):
    out, _ = made
    refused = gnvpro("segment", "--out", out, *QUICK)
    assert refused.exit_code == 2
    assert "exists already; choose another place" in refused.stderr


def test_the_same_seed_gives_the_same_numbers(gnvpro, corner, made):
    _, numbers = made
    again = gnvpro(
        "segment", corner, "--labels", f"{corner}:labels", "--split", "class-capped", *QUICK, "--json"
    ).numbers
    assert list(again["splits"]) == ["class-capped"]
    assert again["sets"] == numbers["sets"]
    assert again["work_units"] == numbers["work_units"]


def test_other_methods_features_and_names(gnvpro, corner):
    names = "--class-names=a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p"
    arguments = ("segment", corner, "--labels", f"{corner}:labels", *QUICK, "--split", "random", "--features", "paper")
    n = len(gnvpro(*arguments, "--method", "adam", "--json").numbers["per_class"])
    shown = gnvpro(*arguments, names[: len("--class-names=") + 2 * n - 1])
    assert shown.exit_code == 0, shown.stderr
    assert "1 a " in shown.stdout
    assert "no, only the numbers" in shown.stdout


def test_a_failed_training_is_said_and_its_best_kept(gnvpro, corner, monkeypatch):
    def broken(data, settings, on_progress=None, coupling=None):
        made = train(data, settings)
        made.classifier.training["status"] = "nonfinite"
        return ClassTraining(made.classifier, made.history)

    from gnvpro.apps.segmentation import segment

    train = segment.train_classes
    monkeypatch.setattr(segment, "train_classes", broken)
    ran = gnvpro("segment", corner, "--labels", f"{corner}:labels", *QUICK, "--split", "random")
    assert ran.exit_code == 1
    assert "the objective became infinite" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("{corner}",), "give a label image with --labels FILE"),
        (("--labels", "{corner}:labels"), "labels without a cube"),
        (("{corner}", "--labels", "{corner}:nothing"), "no variable nothing"),
        (("{corner}", "--labels", "{corner}:labels", "--class-names", "a,b"), "name every class"),
        (("{corner}", "--labels", "{corner}:labels", "--method", "newton"), "unknown method 'newton'"),
        (
            ("{corner}", "--labels", "{corner}:labels", "--split", "blocks", "--block-size", "60"),
            "make the blocks smaller",
        ),
        (("{corner}", "--labels", "{corner}:labels", "--split", "rows"), "split"),
    ],
)
def test_wrong_input_is_one_sentence(gnvpro, corner, tmp_path, arguments, complaint):
    out = tmp_path / "out"
    ran = gnvpro("segment", *(text.format(corner=corner) for text in arguments), "--out", out, *QUICK)
    assert ran.exit_code == 2
    assert complaint in " ".join(ran.stderr.split())
    assert not out.exists()
