"""The study of pixels: its quick version as it is, and another scene."""

import json

import numpy as np
import pytest

from gnvpro.apps.segmentation.cubes import indian_pines as real_scene
from gnvpro.apps.studies import indian_pines
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.training.fitting.methods import METHODS


def run(**more):
    return indian_pines.run(StudySettings(quick=True, **more), lambda *_: None)


@pytest.fixture(scope="module")
def result():
    return run(set=dict(budget=16, cap=25, methods=["varpro-kf-lbfgs", "lbfgs", "adam"]))


def test_maps_and_matrices_are_those_of_the_trials(result):
    numbers = result.numbers()
    json.dumps(numbers)
    assert list(numbers["by_class"]) == list(numbers["methods"])
    for name, found in numbers["by_class"].items():
        trial = numbers["methods"][name]["trials"][0]
        # The map is made anew from the chosen weights: the share of errors has to be the one that chose them.
        assert found["overall_accuracy"] == pytest.approx(1 - trial["validation_error"], abs=1e-6)
        assert np.sum(found["confusion"]) == numbers["samples"]["validation"]
        assert {f"map-{name}", f"confusion-{name}"} <= set(result.figures)
    assert {"curves", "confusion"} <= set(result.figures)


def test_the_support_vector_machine_is_judged_on_the_same_seeds(result):
    trials = result.numbers()["svm"]["trials"]
    assert [trial["seed"] for trial in trials] == result.numbers()["seeds"]
    # Far above the largest class, which is a quarter of the pixels.
    assert all(0.4 < trial["validation"] < 1 for trial in trials)


def test_quick_settings_keep_every_kind_of_method():
    kinds = {METHODS[name].objective for name in indian_pines.QUICK["methods"]}
    assert kinds == {"reduced", "full", "batches"}


def test_a_scene_of_ones_own(tmp_path):
    pines = real_scene()
    rows = slice(40, 90)
    labels = pines.labels[rows]
    common = np.flatnonzero(np.bincount(labels.ravel())[1:] > 100) + 1
    renumbered = np.searchsorted(common, labels) + 1
    renumbered[~np.isin(labels, common)] = 0
    np.savez(tmp_path / "own.npz", cube=pines.cube[rows], gt=renumbered)
    given = dict(data=tmp_path / "own.npz:cube")
    with pytest.raises(ValueError, match="--set labels=FILE"):
        run(**given)
    small = dict(budget=6, cap=20, methods=["varpro-lbfgs", "adam"], labels=f"{tmp_path / 'own.npz'}:gt")
    found = run(**given, seeds=1, set=small).numbers()
    assert len(found["by_class"]["adam"]["per_class"]) == len(common)
    assert sum(found["samples"].values()) == (renumbered > 0).sum()
