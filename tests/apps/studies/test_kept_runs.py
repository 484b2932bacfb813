"""Runs that are kept: what stands in the file is not measured again, and what is no run is told by its line."""

import json
from typing import NamedTuple

import pytest

from gnvpro.apps.studies.kept_runs import KeptRuns
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.progress import silent


class Run(NamedTuple):
    case: str
    seed: int


PLAN = [Run("a", 0), Run("a", 1), Run("b", 0)]


def test_a_study_goes_on_where_it_was_interrupted(tmp_path):
    file, measured = tmp_path / "new" / "runs.jsonl", []

    def measure(run):
        measured.append(run)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return {"error": len(measured)}

    with pytest.raises(KeyboardInterrupt):
        KeptRuns(Run, file).measured(PLAN, measure, str, silent)
    rows = KeptRuns(Run, file).measured(PLAN, measure, str, silent)
    assert measured == [PLAN[0], PLAN[1], PLAN[1], PLAN[2]]
    assert rows[0] == {"case": "a", "seed": 0, "error": 1}
    assert [json.loads(line) for line in file.read_text().splitlines()] == rows


@pytest.mark.parametrize("line", ["{", '{"case": "a"}', "[1]"])
def test_a_line_that_is_no_run_is_named(tmp_path, line):
    file = tmp_path / "runs.jsonl"
    file.write_text('{"case": "a", "seed": 0, "error": 1}\n' + line)
    with pytest.raises(UsageError, match="line 2 of .* is not a run"):
        KeptRuns(Run, file)
