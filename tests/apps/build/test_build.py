"""A build ends with a confirmed error, or the best model and why it is no better; it resumes and loses nothing."""

import json

import numpy as np
import pytest

import gnvpro
from gnvpro.apps.build.build import build
from gnvpro.apps.build.models import errors_of
from gnvpro.apps.build.settings import BuildSettings
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.draws import draw
from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.model.folder import BUILD, read_document
from gnvpro.surrogate.samples import Samples
from tests.apps.build.problems import (
    Bumps,
    Constant,
    Diverging,
    Failing,
    Fixed,
    Levels,
    Never,
    Noisy,
    OneConstant,
    Slopes,
)

# Costs that are given are not measured: what is decided does not depend on a clock.
COSTS = dict(derivative_cost=0.5, coarse_cost=0.05)


def true_error(built, problem, n=2000):
    y = draw(problem.parameters, 12345, np.arange(n))
    values = problem.evaluate(y)
    solved = np.isfinite(values).all(axis=1)
    samples = Samples(y[solved], values[solved], problem.parameters, problem.observables)
    return errors_of(built.surrogate.evaluate(samples.parameters), samples, built.surrogate).mean()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A build of a problem that offers nothing but values."""
    lines = []
    out = tmp_path_factory.mktemp("build") / "model"
    return build(Bumps(), out, 0.01, tell=lines.append), lines


def test_the_error_asked_for_is_confirmed_and_true(plain):
    built, lines = plain
    assert built.confirmed
    assert built.judged["upper"] < 0.01
    assert true_error(built, Bumps()) < 0.01
    assert built.cost == built.solves  # nothing but solves was bought
    assert len(lines) == len(built.record["rounds"])
    assert "fresh solves confirm it" in lines[-1]


def test_judges_never_trained_the_model_that_they_judge(plain):
    built, _ = plain
    for number, one in enumerate(built.record["rounds"]):
        judged = one["judged"]["n_drawn"] if one["judged"] else 0
        assert one["then"]["fresh"] >= one["has"]["fresh"] + judged
        if number:
            assert one["has"] == built.record["rounds"][number - 1]["then"]
    last = built.record["rounds"][-1]
    fresh = read_samples(built.data / "fresh.zarr")
    assert len(fresh) == last["has"]["fresh"] + last["judged"]["n_drawn"]
    errors = errors_of(
        built.surrogate.evaluate(fresh.parameters[-last["judged"]["n"] :]),
        fresh.subset(np.arange(len(fresh))[-last["judged"]["n"] :]),
        built.surrogate,
    )
    assert errors == pytest.approx(last["judged"]["errors"])


def test_the_model_is_one_like_any_other(plain):
    built, _ = plain
    loaded = gnvpro.load(built.path)
    assert loaded.errors["test"] == built.error
    assert read_document(built.path, BUILD)["status"] == "confirmed"
    comparison = gnvpro.compare(built.path, Bumps(), samples=16)
    assert comparison.numbers()["surrogate_error"]["mean"] < 0.02
    assert "confirmed at 95 %" in repr(built)
    assert json.loads(json.dumps(built.numbers()))["confirmed"]
    report = (built.data / "report.html").read_text()
    assert report.count("<img") >= 2
    assert "http" not in report.replace("http://www.w3.org", "")


def test_a_finished_build_is_returned_and_nothing_is_solved(plain):
    built, _ = plain
    before = {path: path.stat().st_mtime_ns for path in built.data.rglob("*") if path.is_file()}
    again = build(Bumps(), built.path, 0.01)
    assert again.record == built.record
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_other_settings_or_problems_are_refused_by_name(plain):
    built, _ = plain
    with pytest.raises(UsageError, match=r"another build: confidence 0\.95 there, 0\.9 asked"):
        build(Bumps(), built.path, 0.01, confidence=0.9)
    with pytest.raises(UsageError, match=r"seed 0 there, 1 asked"):
        build(Bumps(), built.path, 0.01, seed=1)
    with pytest.raises(UsageError, match="another build: .*problem"):
        build(Slopes(), built.path, 0.01)


def test_a_smaller_error_goes_on_from_there(tmp_path):
    first = build(Bumps(), tmp_path / "model", 0.05)
    second = build(Bumps(), tmp_path / "model", 0.005)
    assert second.confirmed
    assert true_error(second, Bumps()) < 0.005
    rounds = second.record["rounds"]
    assert rounds[: len(first.record["rounds"])] == first.record["rounds"]
    assert rounds[len(first.record["rounds"])]["has"] == first.record["rounds"][-1]["then"]  # its judges train
    assert "to 0.5 %" in second.title


def test_the_same_seed_gives_the_same_model_and_another_one_another(plain, tmp_path):
    built, _ = plain
    again, other = build(Bumps(), tmp_path / "again", 0.01), build(Bumps(), tmp_path / "other", 0.01, seed=1)
    assert np.array_equal(again.surrogate.weights.numpy(), built.surrogate.weights.numpy())
    assert not np.array_equal(other.surrogate.weights.numpy(), built.surrogate.weights.numpy())


@pytest.mark.parametrize("problem", [Slopes(), Levels()], ids=["derivatives", "coarse solves"])
def test_what_a_problem_offers_is_used(problem, tmp_path):
    built = build(problem, tmp_path / "model", 0.004, **COSTS)
    assert built.confirmed
    assert true_error(built, problem) < 0.004
    last = built.record["rounds"][-1]["has"]
    assert last["coarse"] if isinstance(problem, Levels) else last["directions"] and last["samples"]
    assert built.cost > built.solves  # coarse solves and derivatives are counted


def test_coarse_solves_make_it_cheaper(tmp_path):
    built = build(Levels(), tmp_path / "model", 0.002, **COSTS)
    alone = build(Levels(), tmp_path / "alone", 0.002, derivatives=0, coarser=0)
    assert built.confirmed
    assert alone.confirmed
    assert built.cost < alone.cost


def test_a_budget_ends_it_and_more_of_it_goes_on(tmp_path):
    out = tmp_path / "model"
    built = build(Bumps(), out, 1e-6, max_solves=30)
    assert built.record["status"] == "max_solves"
    assert built.solves <= 30
    assert built.judged["n"] >= 4  # some were kept to say how good it is
    assert not built.confirmed
    assert "the budget, 30 solves, is spent" in repr(built)
    more = build(Bumps(), out, 1e-6, max_solves=45)
    assert 30 < more.solves <= 45
    assert more.record["rounds"][: len(built.record["rounds"])] == built.record["rounds"]


def test_a_cost_ends_it_too(tmp_path):
    built = build(Slopes(), tmp_path / "model", 1e-9, max_cost=40, **COSTS)
    assert built.record["status"] == "max_cost"
    assert built.cost <= 40


@pytest.mark.parametrize("while_it_is", ["training", "solving"])
def test_an_interrupted_build_says_that_it_goes_on_and_does(while_it_is, plain, tmp_path):
    def interrupting(done, total, note):
        journal = tmp_path / "model-data" / "build.json"
        if note.startswith(while_it_is) and len(json.loads(journal.read_text())["rounds"]) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"2 rounds are over, .*; the same build goes on there"):
        build(Bumps(), tmp_path / "model", 0.01, progress=interrupting)
    assert not (tmp_path / "model").exists()
    built = build(Bumps(), tmp_path / "model", 0.01)
    assert np.array_equal(built.surrogate.weights.numpy(), plain[0].surrogate.weights.numpy())


def test_noise_ends_it_with_the_reason(tmp_path):
    built = build(Noisy(), tmp_path / "model", 1e-3)
    assert built.record["status"] == "not_falling"
    assert "the error no longer falls" in built.record["reason"]
    assert not built.confirmed
    assert true_error(built, Noisy()) > 1e-3


def test_failed_solves_cost_samples_alone(tmp_path):
    built = build(Failing(), tmp_path / "model", 0.01)
    assert built.confirmed
    assert true_error(built, Failing()) < 0.01
    assert built.surrogate.provenance["n_samples"] < built.solves


@pytest.mark.parametrize("problem", [Fixed(), OneConstant(), Diverging()], ids=lambda one: type(one).__name__)
def test_what_does_not_vary_or_raises_is_no_obstacle(problem, tmp_path):
    built = build(problem, tmp_path / "model", 0.01, max_solves=200)
    assert built.confirmed
    y = draw(problem.parameters, 12345, np.arange(2000))
    y = y[y[:, 0] < 0.95]
    samples = Samples(y, problem.evaluate(y), problem.parameters, problem.observables)
    assert errors_of(built.surrogate.evaluate(y), samples, built.surrogate).mean() < 0.01


@pytest.mark.parametrize("max_solves", [3, 9, 13])
def test_the_smallest_budgets_end_with_a_model(max_solves, tmp_path):
    built = build(Fixed(), tmp_path / "model", 1e-6, max_solves=max_solves)
    assert built.record["status"] == "max_solves"
    assert built.solves <= max_solves


def test_a_budget_that_trains_nothing_is_refused(tmp_path):
    with pytest.raises(UsageError, match="at least 3 samples, got 2"):
        build(Fixed(), tmp_path / "model", 1e-6, max_solves=2)


def test_a_problem_that_is_never_solved_says_so(tmp_path):
    with pytest.raises(NumericalFailure, match="could be solved"):
        build(Never(), tmp_path / "model", 0.01)


def test_constants_are_learned_at_once(tmp_path):
    built = build(Constant(), tmp_path / "model", 0.01)
    assert built.confirmed
    assert len(built.record["rounds"]) == 1


def test_a_stranger_at_the_place_is_not_overwritten(tmp_path):
    out = tmp_path / "model"
    gnvpro.train((np.random.default_rng(0).random((30, 2)), np.random.default_rng(1).random((30, 1))), out=out)
    with pytest.raises(FileExistsError, match="holds a model already"):
        build(Bumps(), out, 0.01)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("x")
    with pytest.raises(FileExistsError, match="not a model"):
        build(Bumps(), tmp_path / "notes", 0.01)


def test_a_damaged_journal_says_so(tmp_path):
    folder = tmp_path / "model-data"
    folder.mkdir()
    (folder / BUILD).write_text("{}")
    with pytest.raises(UsageError, match="not the journal of a build, or is damaged"):
        build(Bumps(), tmp_path / "model", 0.01)


@pytest.mark.parametrize("error", ["banana", "-1%", 0, float("nan"), float("inf"), None, True])
def test_errors_that_are_none_are_refused(error, tmp_path):
    with pytest.raises(UsageError, match="error"):
        build(Bumps(), tmp_path / "model", error)
    assert not (tmp_path / "model-data").exists()


def test_settings_say_what_they_take():
    assert BuildSettings(error="0.1%").error == pytest.approx(0.001)
    assert BuildSettings(error="1e-3").error == pytest.approx(0.001)
    with pytest.raises(UsageError, match="confidence"):
        BuildSettings(error=0.1, confidence=1.0)
    with pytest.raises(UsageError, match="unknown setting 'sede'"):
        build(Bumps(), "nowhere", 0.01, sede=1)
    with pytest.raises(UsageError, match="got both"):
        build(Bumps(), "nowhere", 0.01, BuildSettings(error=0.1))


def test_derivatives_that_a_problem_has_not_are_refused(tmp_path):
    with pytest.raises(UsageError, match="offers no derivatives"):
        build(Bumps(), tmp_path / "model", 0.01, derivatives=2)
    with pytest.raises(UsageError, match="coarser"):
        build(Bumps(), tmp_path / "model", 0.01, coarser=1)
