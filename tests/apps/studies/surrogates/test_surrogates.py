"""The study: errors by hand, runs that are kept, failed or ended, and the quick version."""

import json
import math

import numpy as np
import pytest

from gnvpro.apps.studies.kept_runs import KeptRuns
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.apps.studies.surrogates import runs, surrogates
from gnvpro.apps.studies.surrogates.analysis import compared, geometric_mean, summary
from gnvpro.apps.studies.surrogates.data import Case, Folders
from gnvpro.apps.studies.surrogates.presentation import figures, tables
from gnvpro.apps.studies.surrogates.runs import OURS, Run
from gnvpro.surrogate.extras import MissingLibrary
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space


def silent(*_):
    pass


def case_of(c):
    y = np.arange(len(c), dtype=float)[:, None]
    samples = Samples(y, c, Space.observed(y, "parameter"), Space.observed(c, "observable"))
    return Case(samples, samples)


def row(method, seed, nrmse, data="otl", n=50, **more):
    return dict(
        data=data, n=n, seed=seed, method=method, nrmse=nrmse, relative=nrmse, cpu_seconds=1.0, memory_mib=2.0, **more
    )


ROWS = [
    row(OURS, 0, 0.2, stated={"cross-validated": 0.25}, stated_nrmse=0.1, true=0.2), row("gp", 0, 0.1), row("trees", 0, 0.4),
    row(OURS, 1, 0.2, stated={"cross-validated": 0.5}, stated_nrmse=0.24, true=0.2), row("gp", 1, 0.8), row("trees", 1, 0.4),
    row(OURS, 0, 0.3, "kink"), row("gp", 0, 0.1, "kink"), dict(data="kink", n=50, seed=0, method="trees", failed="…"),
]  # fmt: skip


def test_errors_by_hand():
    c = np.random.default_rng(0).standard_normal((50, 3))
    errors = case_of(c).errors(np.broadcast_to(c.mean(0), c.shape))
    assert errors["nrmse"] == pytest.approx(1), "the mean has an error of one standard deviation"
    assert case_of(c).errors(1.1 * c)["relative"] == pytest.approx(0.1)


def test_errors_do_not_depend_on_units_and_leave_out_what_does_not_vary():
    c = np.random.default_rng(0).standard_normal((50, 2))
    scaled = c * [1e13, 1e-13] + 0.0
    assert case_of(scaled).errors(0.9 * scaled)["nrmse"] == pytest.approx(case_of(c).errors(0.9 * c)["nrmse"])
    constant = np.concatenate([c, np.full((50, 1), 3.0)], axis=1)
    assert case_of(constant).errors(constant)["nrmse"] == 0


def test_ours_is_compared_with_the_best_peer_of_every_seed():
    otl, kink = compared(ROWS)
    assert otl.ratio == pytest.approx(geometric_mean([0.2 / 0.1, 0.2 / 0.4]))
    assert otl.best_peer == "gp"
    assert kink.ratio == pytest.approx(3)
    assert kink.methods == [OURS, "gp"]
    np.testing.assert_allclose(otl.stated_over_true["stated"], [1.25, 2.5])
    np.testing.assert_allclose(otl.stated_over_true["nrmse"], [0.5, 1.2])
    (line,) = summary([otl, kink])
    assert line["over_best_peer"] == pytest.approx(geometric_mean([otl.ratio, 3]))
    assert (line["worst_of"], line["cases"]) == ("kink", 2)
    assert line["stated_within_factor"] == {"stated": 0.5, "nrmse": 0.5}
    assert len(tables([otl, kink])) == 2
    assert set(figures([otl, kink])) == {"errors", "cost", "stated"}


def test_without_peers_nothing_is_compared():
    (alone,) = compared([row(OURS, 0, 0.2)])
    assert math.isnan(alone.ratio)
    assert summary([alone]) == []


def test_a_run_that_is_in_the_file_is_not_made_again(tmp_path, monkeypatch):
    file, made = tmp_path / "new" / "runs.jsonl", []

    def fake(run, *_):
        made.append(run)
        return row(run.method, run.seed, 0.1, run.data, run.n)

    monkeypatch.setattr(surrogates, "measured", fake)
    given = dict(cases=["otl"], sizes=[30], methods=["gnvpro", "gp"], runs=str(file))
    first = surrogates.run(StudySettings(seeds=1, set=given), silent)
    second = surrogates.run(StudySettings(seeds=2, set=given), silent)
    assert made == [Run("otl", 30, seed, method) for seed in (0, 1) for method in ("gnvpro", "gp")]
    assert len(second.numbers()["runs"]) == 2 * len(first.numbers()["runs"]) == len(file.read_text().splitlines())
    assert second.numbers()["cases"][0]["over_best_peer"] == pytest.approx(1)


def test_methods_are_left_out_where_they_would_take_too_long(monkeypatch):
    monkeypatch.setattr(surrogates, "measured", lambda run, *_: row(run.method, run.seed, 0.1, run.data, run.n))
    given = dict(cases=["otl"], sizes=[200, 1000], methods=["gp", "kriging"])
    made = surrogates.run(StudySettings(seeds=1, set=given), silent).numbers()["runs"]
    assert [(r["n"], r["method"]) for r in made] == [(200, "gp"), (200, "kriging"), (1000, "gp")]


def test_a_file_of_runs_that_is_damaged_is_refused(tmp_path):
    (tmp_path / "runs.jsonl").write_text('{"data": "otl"}\n')
    with pytest.raises(ValueError, match="line 1 of .*runs.jsonl is not a run of this study"):
        KeptRuns(Run, tmp_path / "runs.jsonl")


@pytest.mark.long
def test_a_run_has_a_process_of_its_own_that_may_fail_or_be_ended(monkeypatch):
    run = Run("otl", 30, 0, "ridge")
    measured = runs.measured(run, Folders(), 1, 60.0)
    assert "failed" not in measured, measured["failed"]
    assert measured["n_train"] == 30
    assert 0 < measured["nrmse"] < 1
    assert measured["cpu_seconds"] >= 0
    assert "longer than 0.001 s" in runs.measured(run, Folders(), 1, 0.001)["failed"]
    assert "KeyError" in runs.measured(run._replace(method="nonsense"), Folders(), 1, 60.0)["failed"]
    assert "UsageError: concrete is read" in runs.measured(run._replace(data="concrete"), Folders(), 1, 60.0)["failed"]


@pytest.mark.long
def test_the_quick_study():
    result = surrogates.run(StudySettings(quick=True), silent)
    numbers = result.numbers()
    json.dumps(numbers)
    assert {(r["data"], r["method"]) for r in numbers["runs"]} == {
        (name, method) for name in surrogates.QUICK["cases"] for method in surrogates.QUICK["methods"]
    }
    assert not [r for r in numbers["runs"] if "failed" in r]
    assert all(0 < r["nrmse"] < 1.5 for r in numbers["runs"])
    assert {"errors", "cost"} <= set(result.figures)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(methods=["nonsense"]), "expected methods among gnvpro, gp, .* got nonsense"),
        (dict(cases=[]), "expected a method and a case at least"),
        (dict(cases=["nonsense"]), "expected data among functions, .* got nonsense"),
        (dict(sizes=[2]), "expected numbers of samples of 3 and more, got"),
        (dict(limit=0), "expected a limit > 0 seconds"),
    ],
)
def test_bad_settings(given, message):
    with pytest.raises(ValueError, match=message):
        surrogates.run(StudySettings(set=given), silent)


def test_a_missing_peer_says_what_brings_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingLibrary, match=r'openturns is not installed .*pip install "gnvpro\[peers\]"'):
        surrogates.run(StudySettings(set=dict(methods=["polynomials"])), silent)
