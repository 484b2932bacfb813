"""Comparison with fresh solves: its statistics, its bookkeeping, and the mistakes it refuses."""

import json
import re

import numpy as np
import pytest

from gnvpro.apps.arguments import problem_of
from gnvpro.apps.comparison.comparison import Comparison
from gnvpro.apps.comparison.costs import Costs, median_cpu_seconds
from gnvpro.apps.comparison.fresh_solves import compare_with_solves
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.model.surrogate import Surrogate
from tests.apps.conftest import TOY
from tests.pde_data.toy import DecayProblem


@pytest.fixture(scope="module")
def comparison(model):
    return compare_with_solves(Surrogate.load(model), DecayProblem(), n=20, seed=3, repeats=1)


def test_errors_are_those_of_the_definition(comparison, model):
    exact = DecayProblem().evaluate(comparison.parameters)
    predicted = Surrogate.load(model).evaluate(comparison.parameters)
    by_hand = [np.linalg.norm(p - c) / np.linalg.norm(c) for p, c in zip(predicted, exact, strict=True)]
    np.testing.assert_allclose(comparison.errors, by_hand)
    stated = comparison.numbers()["surrogate_error"]
    assert stated["mean"] == pytest.approx(np.mean(by_hand))
    assert stated["max"] == pytest.approx(max(by_hand), rel=1e-12)
    assert stated["median"] <= stated["p95"] <= stated["max"]
    assert list(stated["by_observable"]) == list(comparison.observables.names)


def test_a_wrong_surrogate_is_found_out(comparison):
    """The checker is checked: predictions 1 % off have an error of 1 %."""
    off = Comparison(**{**vars_of(comparison), "predicted": 1.01 * comparison.expected})
    np.testing.assert_allclose(off.errors, 0.01)
    np.testing.assert_allclose(off.errors_by_observable, 0.01)


def vars_of(comparison):
    return {name: getattr(comparison, name) for name in type(comparison).__dataclass_fields__}


def test_fresh_parameters_are_in_no_data_set_even_of_the_same_seed(comparison, data):
    used = {row.tobytes() for row in read_samples(data).parameters}
    assert not used & {row.tobytes() for row in comparison.parameters}
    assert DecayProblem.parameters.contains(comparison.parameters).all()


def test_the_pde_states_its_own_error(comparison):
    assert comparison.pde_error == pytest.approx(8e-4)  # what the toy's reference is off
    assert comparison.numbers()["estimated_error"]["n_samples"] == 8


def test_a_reference_that_solves_nothing_is_said(model, monkeypatch):
    monkeypatch.setattr(DecayProblem, "references", lambda self: {"finer": lambda y: np.full((len(y), 6), np.nan)})
    comparison = compare_with_solves(Surrogate.load(model), DecayProblem(), n=5, seed=0, repeats=1)
    assert comparison.pde_error is None
    assert "reference 'finer' solved none of the 5" in comparison.numbers()["estimated_error_failure"]
    assert "solved none" in dict(comparison.rows())["the PDE's own error"]


def test_a_broken_scene_costs_no_comparison(model, monkeypatch):
    def scene(self, y):
        raise RuntimeError("my scene is broken")

    monkeypatch.setattr(DecayProblem, "scene", scene, raising=False)
    with pytest.warns(UserWarning, match="my scene is broken"):
        found = compare_with_solves(Surrogate.load(model), DecayProblem(), n=5, seed=0, repeats=1)
    assert found.views == ()
    assert len(found.expected) == 5


def test_a_reference_that_raises_is_said(model, monkeypatch):
    def references(self):
        return {"finer": lambda y: y.no_such_method()}

    monkeypatch.setattr(DecayProblem, "references", references)
    comparison = compare_with_solves(Surrogate.load(model), DecayProblem(), n=5, seed=0, repeats=1)
    assert comparison.pde_error is None
    assert "AttributeError: " in comparison.numbers()["estimated_error_failure"]


def test_failed_solves_are_counted_and_left_out(model, monkeypatch):
    def first_fails(self, y):
        observables = self.evaluate(y)
        observables[0] = np.nan
        return observables, np.array([1] + [0] * (len(y) - 1), dtype=np.int8)

    monkeypatch.setattr(DecayProblem, "solve", first_fails)
    comparison = compare_with_solves(Surrogate.load(model), DecayProblem(), n=5, seed=0, repeats=1)
    assert (comparison.n_failed, len(comparison.errors)) == (1, 4)
    assert np.isfinite(comparison.errors).all()


def test_payoff_counts_data_and_training_against_the_production_route():
    costs = Costs(
        plain=2.0,
        production_single=0.1,
        production_batched=0.01,
        production_batch=128,
        surrogate_single=1e-4,
        surrogate_batched=1e-6,
    )
    n = costs.payoff(n_generated=800, training=5.0)
    assert n * costs.production_batched == pytest.approx(800 * 0.01 + 5.0 + n * 1e-6)
    assert (costs.speedup_single, costs.speedup_plain) == pytest.approx((1e3, 2e4))
    slow = Costs(None, 0.1, 1e-6, 1, 1e-4, 1e-5)
    assert slow.payoff(800, 5.0) == float("inf")
    assert slow.speedup_plain is None


def test_a_median_leaves_the_first_run_out():
    runs = []
    assert median_cpu_seconds(lambda: runs.append(1), repeats=3) >= 0
    assert len(runs) == 4


def test_a_model_is_compared_with_the_problem_it_was_trained_on_only(model):
    surrogate = Surrogate.load(model)
    assert problem_of(surrogate, TOY).name == "decay"
    with pytest.raises(ValueError, match=r"trained on 'decay': give it with problem="):
        problem_of(surrogate)
    with pytest.raises(ValueError, match=r"definition .* has "):
        problem_of(surrogate, "cdr")


def test_data_without_a_pde_have_nothing_to_compare_with(gnvpro, data, tmp_path):
    samples = read_samples(data)
    np.savez(tmp_path / "bare.npz", parameters=samples.parameters, observables=samples.observables)
    assert gnvpro("train", tmp_path / "bare.npz", "--out", tmp_path / "m", "--widths", 4, "--budget", 20).exit_code == 0
    ran = gnvpro("compare", tmp_path / "m")
    assert ran.exit_code == 2
    assert "trained on bare.npz, which names no PDE" in ran.stderr


def test_command_and_report(gnvpro, model, tmp_path):
    out = tmp_path / "comparison"
    arguments = ("compare", model, "--problem", TOY, "--samples", 12, "--repeats", 1, "--out", out)
    ran = gnvpro(*arguments, "--json")
    assert ran.exit_code == 0, ran.stderr
    assert ran.numbers["n_samples"] == 12
    assert json.loads((out / "comparison.json").read_text()) == ran.numbers
    page = (out / "report.html").read_text()
    assert page.count('<img src="data:image/svg+xml;base64,') == 7
    assert not re.search(r"https?://|src=\"(?!data:)|<link|<script", page), "the report needs nothing from outside"
    assert "gnvpro compare" in page
    assert "samples wholly in the simultaneous band" in page
    assert gnvpro(*arguments).exit_code == 2, "the folder is there already"
