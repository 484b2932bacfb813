"""Error bands and in-domain score as the commands show them, the fallback to the PDE, and its data set."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from gnvpro.apps.comparison.fresh_solves import compare_with_solves, fresh_points
from gnvpro.apps.comparison.jacobian import check_jacobian
from gnvpro.apps.trust.calibrate import held_out_samples, own_parameters
from gnvpro.apps.trust.fallback import doubtful, with_pde
from gnvpro.apps.trust.predictions import Predictions
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.solving import SolvedBlock, solve_block
from gnvpro.pde_data.storage.append import append
from gnvpro.pde_data.storage.dataset import describe, read_samples
from gnvpro.surrogate.model.surrogate import Surrogate
from tests.apps.conftest import TOY
from tests.pde_data.toy import Decay, DecayProblem, Fragile, OnBackground

FRAGILE = "tests.pde_data.toy:Fragile"
INSIDE, OUTSIDE = [1.5, 0.5], [[3.0, 0.5], [1.5, 2.0]]


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    path = tmp_path_factory.mktemp("points") / "points.npz"
    np.savez(path, parameters=np.array([INSIDE, *OUTSIDE]))
    return path


def test_predictions_have_bands_scores_and_flags(gnvpro, model, points, tmp_path):
    ran = gnvpro("predict", model, "-p", points, "-o", tmp_path / "out.npz", "--level", "0.8", "--json")
    assert ran.exit_code == 0, ran.stderr
    assert (ran.numbers["n_not_trusted"], ran.numbers["n_by_pde"]) == (2, 0)
    assert ran.numbers["bands"]["source"] == "test"
    surrogate = Surrogate.load(model)
    with np.load(tmp_path / "out.npz") as out:
        half = (out["upper"] - out["lower"]) / 2
        np.testing.assert_allclose(half, np.tile(surrogate.half_width(0.8), (3, 1)), rtol=1e-6)
        together = (out["upper_simultaneous"] - out["lower_simultaneous"]) / 2
        np.testing.assert_allclose(together[0], surrogate.half_width(0.8, simultaneous=True), rtol=1e-6)
        assert out["trusted"].tolist() == [True, False, False]
        np.testing.assert_allclose(out["score"], surrogate.score(np.array([INSIDE, *OUTSIDE])))


def test_a_csv_names_its_bands(gnvpro, model, points, tmp_path):
    assert gnvpro("predict", model, "-p", points, "-o", tmp_path / "out.csv").exit_code == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        names, *lines = csv.reader(file)
    table = dict(zip(names, np.array(lines, dtype=float).T, strict=True))
    assert names[6:10] == ["inside_training_range", "score", "trusted", "by_pde"]
    assert len(names) == 6 + 4 + 4 * 6
    for name in Surrogate.load(model).observables.names:
        assert (table[f"{name} lower"] < table[name]).all()
        assert (table[name] < table[f"{name} upper simultaneous"]).all()


def test_a_level_that_is_not_stored_is_one_sentence(gnvpro, model, points, tmp_path):
    ran = gnvpro("predict", model, "-p", points, "-o", tmp_path / "out.npz", "--level", "0.7")
    assert ran.exit_code == 2
    assert "levels 0.5, 0.68, 0.8, 0.9, 0.95, 0.99; 0.7 is none" in ran.stderr


def test_the_pde_answers_where_the_score_says_so(gnvpro, model, points, tmp_path):
    arguments = ("predict", model, "-p", points, "--fallback", "pde", "--problem", TOY, "--json")
    ran = gnvpro(*arguments, "-o", tmp_path / "out.npz", "--append", tmp_path / "asked.zarr")
    assert ran.exit_code == 0, ran.stderr
    assert (ran.numbers["n_by_pde"], ran.numbers["n_appended"], ran.numbers["n_pde_failed"]) == (2, 2, 0)
    assert "row 1 (outside the training range, score" in ran.stderr
    with np.load(tmp_path / "out.npz") as out:
        assert out["by_pde"].tolist() == [False, True, True]
        np.testing.assert_array_equal(out["observables"][1:], DecayProblem().evaluate(np.array(OUTSIDE)))
        np.testing.assert_array_equal(out["lower"][1:], out["upper"][1:])
    added = read_samples(tmp_path / "asked.zarr")
    np.testing.assert_array_equal(added.parameters, OUTSIDE)
    again = gnvpro(*arguments, "-o", tmp_path / "again.npz", "--append", tmp_path / "asked.zarr")
    assert "2 solves added" in again.stderr
    assert len(read_samples(tmp_path / "asked.zarr")) == 4


def test_a_tolerance_asks_the_pde_where_the_band_is_wider(model):
    surrogate = Surrogate.load(model)
    two = Predictions.of(surrogate, np.array([INSIDE, [1.02, 0.88]]), 0.8)
    width = np.linalg.norm(surrogate.half_width(0.8, simultaneous=True)) / np.linalg.norm(two.observables, axis=1)
    assert width[0] < width[1]
    assert doubtful(two, float(width.mean())).tolist() == [False, True]
    assert doubtful(two, 2 * width[1]).tolist() == [False, False]
    few = Predictions.of(surrogate, np.array([INSIDE]), 0.99)  # 20 samples do not vouch for it
    assert doubtful(few, 1e9).tolist() == [True]


def test_failed_solves_are_recorded_and_leave_the_surrogate_s_answer(gnvpro, tmp_path):
    data, model = tmp_path / "fragile.zarr", tmp_path / "model"
    assert gnvpro("generate", FRAGILE, "--samples", 80, "--seed", 3, "--out", data).exit_code == 0
    assert gnvpro("train", data, "--out", model, "--widths", 6, "--budget", 60, "--polynomial", "off").exit_code == 0
    surrogate, y = Surrogate.load(model), np.array([[2.5, 0.5], [1.2, 1.8], [1.2, 0.5]])
    found = with_pde(Predictions.of(surrogate, y, 0.5), Fragile(), data=tmp_path / "asked.zarr")
    assert found.reliability.by_pde.tolist() == [False, True, False]
    assert found.reliability.failed.tolist() == [True, False, False]
    np.testing.assert_array_equal(found.observables[0], surrogate.evaluate(y)[0])
    assert found.log[0].startswith("row 0 (outside the training range, score")
    assert found.log[0].endswith("could not be solved: FloatingPointError: amplitude 2.500: Newton diverged")
    found = with_pde(Predictions.of(surrogate, np.array([[1.55, 1.8]]), 0.5), Fragile())
    assert "could not be solved: range exceeded" in found.log[-1]
    about = describe(tmp_path / "asked.zarr")
    assert about["counts"] == {"ok": 1, "exception": 1}
    assert "Newton diverged" in about["failures"][0]["message"]


def test_the_log_says_why_a_point_was_asked_and_what_became_of_it(model, monkeypatch):
    """A point outside of the training range whose score is low, and one that the parameter space does not have."""
    found = Predictions.of(Surrogate.load(model), np.array([[3.0, 0.5]]), 0.5)
    found = replace(found, reliability=replace(found.reliability, score=np.array([0.5])))
    (solved,) = with_pde(found, DecayProblem()).log
    outside = np.full((1, 1), np.nan), np.array([SolveStatus.OUTSIDE_PARAMETER_SPACE], np.int8), ("",)
    monkeypatch.setattr("gnvpro.apps.trust.fallback.solve_block", lambda *_: SolvedBlock(*outside))
    (refused,) = with_pde(found, DecayProblem()).log
    assert "row 0 (outside the training range, score 0.5): " in solved
    assert solved.endswith(" solved")
    assert refused.endswith("could not be solved: outside parameter space")


def test_fallback_needs_bands_and_its_options_need_a_fallback(gnvpro, model, points, tmp_path):
    out = ("-p", points, "-o", tmp_path / "out.npz")
    ran = gnvpro("predict", model, *out, "--append", tmp_path / "asked.zarr")
    assert (ran.exit_code, "belong to --fallback pde" in ran.stderr) == (2, True)
    ran = gnvpro("predict", model, *out, "--fallback", "pde")  # the name in the model is not a registered one
    assert (ran.exit_code, "give it with --problem" in ran.stderr) == (2, True)
    old = without_trust(model, tmp_path / "old")
    ran = gnvpro("predict", old, *out, "--fallback", "pde", "--problem", TOY)
    assert (ran.exit_code, "gnvpro calibrate" in ran.stderr) == (2, True)
    assert gnvpro("predict", old, *out, "--json").numbers["bands"] is None


def without_trust(model, place):
    replace(Surrogate.load(model), trust=None).save(place)
    return place


def test_data_sets_that_are_no_list_of_solves_are_not_appended_to(data, tmp_path):
    y = np.array([INSIDE])
    solved = solve_block(DecayProblem(), y)
    with pytest.raises(ValueError, match="placed by the design"):
        append(DecayProblem(), data, y, solved, 1.0)
    append(DecayProblem(), tmp_path / "asked.zarr", y, solved, 1.0)
    with pytest.raises(ValueError, match="of other solves"):
        append(DecayProblem(2.0), tmp_path / "asked.zarr", y, solved, 1.0)
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not a data set"):
        append(DecayProblem(), tmp_path / "stranger", y, solved, 1.0)


@pytest.mark.parametrize("problem", [DecayProblem(), Fragile(), OnBackground()])
def test_appended_samples_are_those_given_across_blocks(problem, tmp_path):
    rng, given, kept = np.random.default_rng(0), [], tmp_path / "asked.zarr"
    for n in (1, 30, 7, 40):
        y = rng.uniform([1.0, 0.1], [1.49, 0.9], (n, 2))
        given.append(y)
        total = append(problem, kept, y, solve_block(problem, y), 0.5)
    samples, every = read_samples(kept), np.concatenate(given)
    assert total == len(samples) == 78
    np.testing.assert_array_equal(samples.parameters, every)
    np.testing.assert_array_equal(samples.observables, solve_block(problem, every).observables)
    assert describe(kept)["damaged"] == []


def test_appended_solves_train(gnvpro, tmp_path):
    y = np.random.default_rng(0).uniform([1.0, 0.1], [2.0, 0.9], (60, 2))
    append(DecayProblem(), tmp_path / "asked.zarr", y, solve_block(DecayProblem(), y), 1.0)
    quick = ("--widths", 4, "--budget", 30, "--polynomial", "off")
    assert gnvpro("train", tmp_path / "asked.zarr", "--out", tmp_path / "model", *quick).exit_code == 0
    found = compare_with_solves(Surrogate.load(tmp_path / "model"), DecayProblem(), 4, seed=0, repeats=1)
    assert len(found.errors) == 4
    assert gnvpro("info", tmp_path / "asked.zarr").exit_code == 0


def test_an_append_that_was_killed_is_taken_over(tmp_path, monkeypatch):
    from gnvpro.pde_data.storage import store

    y = np.random.default_rng(0).uniform([1.0, 0.1], [2.0, 0.9], (9, 2))
    kept, solved = tmp_path / "asked.zarr", solve_block(DecayProblem(), y)
    append(DecayProblem(), kept, y[:3], solve_block(DecayProblem(), y[:3]), 1.0)

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store, "write_block", dies)
        with pytest.raises(KeyboardInterrupt):
            append(DecayProblem(), kept, y, solved, 1.0)
    assert append(DecayProblem(), kept, y[3:5], solve_block(DecayProblem(), y[3:5]), 1.0) == 5
    np.testing.assert_array_equal(read_samples(kept).parameters, y[:5])


def test_calibrating_again_on_its_own_data_gives_the_same_bands(gnvpro, model, data, tmp_path):
    old = without_trust(model, tmp_path / "old")
    assert "none; gnvpro calibrate" in gnvpro("info", old).stdout
    ran = gnvpro("calibrate", old, data, "--out", tmp_path / "new", "--json")
    assert ran.exit_code == 0, ran.stderr
    found, expected = (Surrogate.load(path) for path in (tmp_path / "new", model))
    for level in (0.5, 0.8):
        np.testing.assert_array_equal(found.half_width(level), expected.half_width(level))
    np.testing.assert_array_equal(found.score(np.array(OUTSIDE)), expected.score(np.array(OUTSIDE)))
    assert ran.numbers["trust"]["source"] == "test"
    refused = gnvpro("calibrate", old, data, "--out", tmp_path / "new")
    assert (refused.exit_code, "or overwrite it" in refused.stderr) == (2, True)


def test_samples_the_model_has_seen_do_not_calibrate(gnvpro, model, data, tmp_path):
    more = tmp_path / "more.zarr"
    shutil.copytree(data, more)
    assert gnvpro("generate", TOY, "--samples", 120, "--seed", 3, "--out", more).exit_code == 0
    seen = {row.tobytes() for row in read_samples(data).parameters}
    held_out = held_out_samples(Surrogate.load(model), read_samples(more), seed=0)
    assert held_out.source == "calibration"
    assert (len(held_out.calibration), len(held_out.scale)) == (30, 10)
    assert not seen & {row.tobytes() for part in (held_out.calibration, held_out.scale) for row in part.parameters}


def test_data_that_cannot_calibrate_are_refused(gnvpro, model, data, tmp_path):
    y = np.random.default_rng(0).uniform([1.0, 0.1], [2.0, 0.9], (20, 2))
    append(DecayProblem(), tmp_path / "asked.zarr", y, solve_block(DecayProblem(), y), 1.0)
    ran = gnvpro("calibrate", model, tmp_path / "asked.zarr", "--out", tmp_path / "x")
    assert (ran.exit_code, "follow no law" in ran.stderr) == (2, True)
    assert gnvpro("generate", TOY, "-n", 8, "--out", tmp_path / "o.zarr", "--set", "factor=2.0").exit_code == 0
    ran = gnvpro("calibrate", model, tmp_path / "o.zarr", "--out", tmp_path / "x")
    assert (ran.exit_code, "data of the same problem" in ran.stderr) == (2, True)


def test_an_observable_that_too_few_new_samples_have_is_named(gnvpro, model, tmp_path):
    assert gnvpro("generate", TOY, "-n", 30, "--seed", 8, "--out", tmp_path / "new.zarr").exit_code == 0
    surrogate, samples = Surrogate.load(model), read_samples(tmp_path / "new.zarr")
    for there in (0, 2):
        observables = samples.observables.copy()
        observables[there:, 1] = np.nan
        with pytest.raises(
            ValueError, match=rf"in 10 samples at least, got {samples.observable_space.names[1]} in {there} of 30"
        ):
            held_out_samples(surrogate, replace(samples, observables=observables), seed=0)


def test_solves_that_were_asked_for_do_not_calibrate_what_they_may_have_trained(gnvpro, tmp_path):
    """The data set has grown since: the model's own samples are among those that are there now."""
    y, asked = np.random.default_rng(0).uniform([1.0, 0.1], [2.0, 0.9], (80, 2)), tmp_path / "asked.zarr"
    append(DecayProblem(), asked, y[:60], solve_block(DecayProblem(), y[:60]), 1.0)
    quick = ("--widths", 4, "--budget", 30, "--polynomial", "off")
    assert gnvpro("train", asked, "--out", tmp_path / "model", *quick).exit_code == 0
    assert gnvpro("calibrate", tmp_path / "model", asked, "--out", tmp_path / "own").exit_code == 0
    append(DecayProblem(), asked, y[60:], solve_block(DecayProblem(), y[60:]), 1.0)
    ran = gnvpro("calibrate", tmp_path / "model", asked, "--out", tmp_path / "new")
    assert (ran.exit_code, "nothing tells which of them the model has seen" in ran.stderr) == (2, True)


def test_its_own_samples_are_those_of_the_data_set_where_something_says_how(model, data):
    surrogate = Surrogate.load(model)
    np.testing.assert_array_equal(own_parameters(surrogate), read_samples(data).parameters)
    for change in ({"design": "given"}, {"design": "by hand"}, {"seed": ...}):
        left = {k: v for k, v in {**surrogate.provenance, **change}.items() if v is not ...}
        without = replace(surrogate, provenance=left)
        assert own_parameters(without) is None
        assert fresh_points(without, DecayProblem(), 3, seed=0).shape == (3, 2)


class DiesAt(DecayProblem):
    """Interrupted in its second block."""

    blocks = 0

    def solve(self, y):
        self.blocks += 1
        if self.blocks == 2:
            raise KeyboardInterrupt
        return super().solve(y)


def test_solves_are_kept_before_the_next_are_begun(gnvpro, model, tmp_path, monkeypatch):
    y = np.random.default_rng(0).uniform([2.5, 0.1], [3.0, 0.9], (10, 2))
    np.savez(tmp_path / "far.npz", parameters=y)
    monkeypatch.setattr("gnvpro.apps.trust.predict.problem_of", lambda *_: DiesAt())
    asked, out = tmp_path / "asked.zarr", tmp_path / "out.npz"
    ran = gnvpro("predict", model, "-p", tmp_path / "far.npz", "--fallback", "pde", "--append", asked, "-o", out)
    assert ran.exit_code == 130
    assert f"no predictions were written; 4 solves are in {asked}" in " ".join(ran.stderr.split())
    assert not out.exists()
    np.testing.assert_array_equal(read_samples(asked).parameters, y[:4])
    monkeypatch.undo()
    found = with_pde(Predictions.of(Surrogate.load(model), y, 0.8), DecayProblem())
    np.testing.assert_allclose(found.observables, DecayProblem().evaluate(y), rtol=1e-14)


def test_coverage_is_counted_on_fresh_solves(model):
    surrogate = Surrogate.load(model)
    comparison = compare_with_solves(surrogate, DecayProblem(), n=40, seed=3, repeats=1)
    found = {one["level"]: one for one in comparison.numbers()["coverage"]}
    assert set(found) == {0.5, 0.68, 0.8}  # of 20 test samples, weighted
    residuals = np.abs(comparison.predicted - comparison.expected)
    assert found[0.8]["marginal"] == pytest.approx((residuals <= surrogate.half_width(0.8)).mean())
    inside = (residuals <= surrogate.half_width(0.8, simultaneous=True)).all(axis=1)
    assert found[0.8]["simultaneous"] == pytest.approx(inside.mean())
    assert "whole samples" in dict(comparison.rows())["in their 80% bands"]


class Differentiable(DecayProblem):
    """With derivatives; `wrong` makes them wrong by that share."""

    def __init__(self, wrong=0.0):
        super().__init__()
        self.wrong = wrong

    def jacobian(self, y):
        t, x = np.array([0.5, 1.0, 1.5]), np.cos([0.25, 0.75])
        decay = np.exp(-y[:, 1:] * t)
        both = np.stack([decay, -y[:, :1] * t * decay], axis=-1)
        return (1 + self.wrong) * (both[:, :, None, :] * x[:, None]).reshape(len(y), 6, 2)

    def jvp(self, y, dy):
        return np.einsum("noi,ni->no", self.jacobian(y), dy)

    def vjp(self, y, dc):
        return np.einsum("noi,no->ni", self.jacobian(y), dc)


def test_derivatives_are_compared_with_those_of_the_pde(model):
    surrogate, y = Surrogate.load(model), np.random.default_rng(0).uniform([1.0, 0.1], [2.0, 0.9], (12, 2))
    assert check_jacobian(surrogate, Decay(), y, 0) is None
    right, wrong = (check_jacobian(surrogate, Differentiable(w), y, 0).numbers() for w in (0.0, 0.5))
    assert right["n_points"] == 8
    for name in ("jvp", "vjp"):
        assert 0 < right[name]["mean"] < 0.1
        assert wrong[name]["mean"] == pytest.approx(1 / 3, abs=0.1)


class Stiff(Differentiable):
    """Not differentiable for large amplitudes; of zero derivative nowhere."""

    def jvp(self, y, dy):
        if (y[:, 0] > 1.6).any():
            raise FloatingPointError("diverged")
        return super().jvp(y, dy)


class Broken:
    """A surrogate whose derivatives are not finite in the last point."""

    def __init__(self, surrogate):
        self._surrogate = surrogate

    def __getattr__(self, name):
        return getattr(self._surrogate, name)

    def jvp(self, y, dy):
        found = self._surrogate.jvp(y, dy)
        found[-1] = np.nan
        return found


def test_a_point_without_derivatives_costs_that_point(model):
    surrogate, y = Surrogate.load(model), np.array([[1.2, 0.3], [1.9, 0.5], [1.5, 0.8]])
    everywhere = check_jacobian(surrogate, Differentiable(), y, 0)
    found = check_jacobian(surrogate, Stiff(), y, 0)
    np.testing.assert_allclose(found.forward, everywhere.forward[[0, 2]])
    np.testing.assert_allclose(found.reverse, everywhere.reverse[[0, 2]])
    broken = check_jacobian(Broken(surrogate), Differentiable(), y, 0)
    assert np.isinf(broken.forward).tolist() == [False, False, True]


def test_info_shows_the_bands(gnvpro, model):
    text = " ".join(gnvpro("info", model).stdout.split())
    assert "from 20 test samples" in text
    assert "20 samples calibrated, 99% needs at least about 245" in text
    about = json.loads(gnvpro("info", model, "--json").stdout)["trust"]
    assert about["median_half_width"]["0.8"]["marginal"] > 0
    assert about["median_half_width"]["0.99"]["marginal"] is None
