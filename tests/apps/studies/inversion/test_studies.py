"""The studies of inversion as a whole, on a problem that costs nothing; and what they refuse."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gnvpro.apps.studies import STUDIES
from gnvpro.apps.studies.inversion import invert_cdr, invert_dcr
from gnvpro.apps.studies.inversion.cases import pde_of, samples_of, trained
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.surrogate.samples import Samples
from tests.apps.studies.inversion.toy import Smooth


def silent(*_):
    pass


@pytest.fixture
def on_toys(monkeypatch):
    simplex = Smooth(constraint="simplex")
    samples = Samples(np.full((8, 3), 1 / 3), np.ones((8, 24)), simplex.parameters, simplex.observables)
    models = Smooth(), Smooth(1e-5, errors={"train": 1e-5}), Smooth(3e-3)
    monkeypatch.setattr(invert_dcr, "_models", lambda *_: (*models, "toys"))
    monkeypatch.setattr(invert_cdr, "samples_of", lambda *_: (samples, "toys"))
    monkeypatch.setattr(invert_cdr, "trained", lambda *_: Smooth(1e-4, "simplex"))
    monkeypatch.setattr(invert_cdr, "pde_of", lambda *_: simplex)


@pytest.mark.exhaustive
def test_dcr_answers_all_four_questions(on_toys):
    # Draws differ by processor: 140 effective ones in a chain, give or take 25; 11 times fewer solves, within 2.
    lengths = dict(walk=1600, gradient=30, delayed=160, cheap=50, cheap_tune=50)
    sizes = dict(
        coverage_truths=4, coverage_draws=30, coverage_tune=30, minima=2, scipy_starts=2, draws=500, tune=50, starts=4,
        lengths=lengths,
    )  # fmt: skip
    result = invert_dcr.run(StudySettings(set=sizes), silent)
    found = json.loads(json.dumps(result.numbers()))
    assert found["posterior_on_the_surrogate"]["effective_of_a_chain_min"] > 30
    assert found["routes"]["delayed acceptance"]["fewer_solves_than_random_walk"] > 3
    assert found["minima"]["distance_max"] < 1e-3
    assert len(found["minima"]["problems"]) == 2
    assert [row["truths"] for row in found["coverage"].values()] == [4, 4, 2]
    assert found["coverage"]["by the PDE"]["pooled"] > 0.6
    assert 0 < found["error_in_noise"]["surrogate against the PDE"]["max"] < 0.01
    assert set(result.figures) == {"routes", "ranks"}
    # The goals: a row for the seconds, two for the solves, three for coverage, one for the most probable point.
    assert result.tables[-1].row_count == 7


def test_cdr_tells_what_is_informed(on_toys):
    sizes = dict(seeds=2, truths=1, chains=2, draws=60, tune=40, points=4)
    result = invert_cdr.run(StudySettings(set=sizes), silent)
    found = json.loads(json.dumps(result.numbers()))
    assert len(found["posteriors"]) == 2 * 2
    for row in found["posteriors"]:
        assert row["informed_by_pde"] == len(row["eigenvalues_by_pde"]) == 2, "three parameters that sum to one"
        assert row["against_pde"]["eigenvalues_max"] < 0.01
        assert row["variance_ratio_by_direction"][0] < 0.1
    two, one = ([row["nats"] for row in found["posteriors"] if row["noise"] == size] for size in ("2%", "1%"))
    assert np.mean(one) > np.mean(two) + 1
    assert set(result.figures) == {"spectrum", "parameters", "directions", "ranks"}
    assert set(found["coverage"]) == {"noise 2%", "noise 1%"}


@pytest.mark.parametrize("module", [invert_dcr, invert_cdr])
def test_an_unknown_setting_and_wrong_noise_are_refused(module, on_toys):
    given = StudySettings(quick=True)
    with pytest.raises(ValueError, match="unknown option 'noize'; did you mean noise"):
        module.run(replace(given, set={"noize": "2%"}), silent)
    wrong = "two" if module is invert_dcr else ["two"]
    with pytest.raises(ValueError, match="expected noise such as 2%"):
        module.run(replace(given, set={"noise": wrong}), silent)


def test_they_are_among_the_studies():
    assert {"invert-dcr", "invert-cdr"} <= set(STUDIES)


def test_data_of_another_problem_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("gnvpro.apps.studies.inversion.cases.problem_of", lambda _: Smooth())
    with pytest.raises(ValueError, match="of the problem dcr, and .* of smooth; give a data set of dcr"):
        pde_of("dcr", tmp_path / "other.zarr", Smooth())


def test_a_surrogate_of_a_data_set(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.random((80, 3))
    np.savez(tmp_path / "some.npz", parameters=y, observables=Smooth().evaluate(y))
    samples, source = samples_of("dcr", tmp_path / "some.npz", 0, silent)
    surrogate = trained(samples, 40, 20, 0, 60.0, silent)
    assert source.endswith("some.npz")
    assert surrogate.errors["test"] < 0.05
    with pytest.raises(ValueError, match="names no PDE"):
        pde_of("dcr", tmp_path / "some.npz", surrogate)
