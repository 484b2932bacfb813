"""The study of sensitivity: what it counts, and that it finds intervals that are too narrow."""

import numpy as np
import pytest

from gnvpro.apps.sensitivity.sensitivity import sensitivity
from gnvpro.apps.studies.sensitivity.exact import ishigami
from gnvpro.apps.studies.sensitivity.sensitivity import Solver, against, run, summary
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.apps.studies.surrogates.functions import FUNCTIONS


def row(error, half_width, within):
    kind = {"error": error, "half_width": half_width, "within": within}
    return {"error": 0.01, "stated_error": 0.02, "bands": kind}


def test_coverage_and_errors_are_counted_over_seeds_and_indices():
    rows = [
        row([[0.001, 0.02]], [[0.01, 0.01]], [[True, False]]),
        row([[0.004, 0.002]], [[0.02, 0.01]], [[True, True]]),
    ]
    found = summary("f", rows)["kinds"]["bands"]
    assert found["largest_error"] == 0.02
    assert found["seeds_within_a_hundredth"] == 1
    assert (found["covered"], found["least_covered_index"], found["all_indices_covered"]) == (0.75, 0.5, 0.5)
    assert found["median_half_width"] == pytest.approx(0.015)


def test_exact_indices_that_are_wrong_are_found_outside():
    found = sensitivity(Solver(FUNCTIONS["ishigami"]), points=1 << 14, force=True)
    first, total = ishigami()
    assert np.mean(against(found, (first, total))["within"]) > 0.6
    assert not np.any(against(found, (first + 0.1, total - 0.1))["within"])


@pytest.mark.long
def test_the_quick_version_measures_one_surrogate():
    result = run(StudySettings(quick=True, set=dict(n=40, fresh=20)), lambda *_: None)
    (one,) = result.numbers()["summary"]
    assert one["function"] == "borehole"
    assert one["seeds"] == 1
    assert set(one["kinds"]) == {"bands", "solves"}
    assert one["kinds"]["bands"]["largest_error"] < 0.1
