"""The study of builds: its problems, its search for the fewest solves, and a small run."""

import json

import numpy as np
import pytest

from gnvpro.apps.studies import run_study
from gnvpro.apps.studies.build.build import Run, Settings, _fewest, _solved, _summary
from gnvpro.apps.studies.build.problems import LITERATURE
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.pde_data.sampling import draw
from gnvpro.surrogate.errors import UsageError


@pytest.mark.parametrize("name", LITERATURE)
def test_a_problem_is_named_by_its_module_and_can_be_solved(name):
    problem = load_problem(f"gnvpro.apps.studies.build.problems:{name}")
    values, status = problem.solve(draw(problem.parameters, 0, np.arange(3)))
    assert values.shape == (3, problem.observables.size)
    assert not status.any()


def test_the_fewest_are_the_first_of_two_below_the_target():
    problem = load_problem("gnvpro.apps.studies.build.problems:otl")
    test = _solved(problem, draw(problem.parameters, 99, np.arange(500)))
    found = _fewest(problem, test, 0, 0.1)
    tried = {int(n): error for n, error in found["errors"].items()}
    assert [error <= 0.1 for error in list(tried.values())[-2:]] == [True, True]
    assert found["fewest"] == list(tried)[-2]


def test_wrong_confirmations_are_counted():
    common = {"problem": "otl", "judges": 6, "cpu_seconds": 1.0}
    rows = [
        {**common, "what": "fewest", "fewest": 40},
        {**common, "what": "build", "solves": 60, "status": "confirmed", "true": 0.008},
        {**common, "what": "build", "solves": 80, "status": "confirmed", "true": 0.011},
        {**common, "what": "build", "solves": 99, "status": "max_solves", "true": 0.02},
    ]
    summary = _summary("otl", rows, 0.01)
    assert (summary["confirmed"], summary["wrong"], summary["fewest"]) == (2, 1, 40)
    assert summary["ratio"] == pytest.approx((60 * 80) ** 0.5 / 40)


def test_a_small_run_is_kept_and_not_run_again(tmp_path):
    runs = tmp_path / "runs.jsonl"
    options = StudySettings(quick=True, set={"runs": str(runs)})
    result = run_study("build", options)
    assert result.measured["confirmed"] == 1
    assert result.measured["wrong"] == 0
    rows = [json.loads(line) for line in runs.read_text().splitlines()]
    assert [Run(*(row[name] for name in Run._fields)).what for row in rows] == ["fewest", "build"]
    before = runs.read_text()
    assert run_study("build", options).measured["ratio"] == result.measured["ratio"]
    assert runs.read_text() == before
    assert "otl" in repr(result)
    result.save(tmp_path / "out")
    assert (tmp_path / "out" / "build.png").exists()


def test_unknown_problems_are_refused():
    with pytest.raises(UsageError, match="among borehole"):
        Settings(problems=("nothing",))
