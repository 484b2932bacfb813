"""What a build says of itself, and its report: numbers in words, and nothing that a problem says becomes markup."""

import re
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gnvpro.apps.build.error_map import ErrorMap
from gnvpro.apps.build.figures import error_against_cost
from gnvpro.apps.build.report import write_report
from gnvpro.apps.build.result import CONFIRMED, Build
from gnvpro.surrogate.spaces import Space

HAS = {
    "samples": 20, "fresh": 0, "directions": 0, "coarse": 0, "coarse_directions": 0, "placed": [], "alone": False,
}  # fmt: skip
TAIL = "errors of samples left out reach farther than those of the fresh solves, and may bring the mean to 2 %"


def a_round(number, judged):
    return {
        "number": number, "has": {**HAS, "samples": 20 * number}, "then": {**HAS, "samples": 20 * number, "fresh": 12},
        "cost": 20.0 * number, "estimate": 0.05 / number, "judged": judged, "next": "20 more solves", "to_halve": 30.0,
        "gains": {}, "cpu_seconds": {"solves": 1.0, "training": 2.0},
    }  # fmt: skip


@pytest.fixture
def built():
    judged = {
        "n": 12, "n_drawn": 12, "mean": 0.004, "lower": 0.003, "upper": 0.008, "level": 0.985, "confirmed": True, "tests": 1,
        "tail": None, "errors": [0.004] * 12,
    }  # fmt: skip
    record = {
        "problem": "<b>flow</b>", "settings": {"error": 0.01, "confidence": 0.995}, "reason": "12 fresh solves confirm it",
        "costs": {"derivative": None, "coarse": None, "coarse_derivative": None},
        "rounds": [a_round(1, None), a_round(2, judged)], "status": CONFIRMED,
    }  # fmt: skip
    surrogate = SimpleNamespace(
        background=None,
        parameters=Space.vector(["<i>v</i>", "t"]),
        training={"choice": {"reason": "least"}, "torch": "2"},
    )
    return Build(surrogate, Path("model"), Path("model-data"), record)


def test_the_error_its_limit_and_confidence_are_said(built):
    assert dict(built.rows())["error"] == "0.4 % at 12 fresh solves, below 0.8 %: confirmed at 99.5 %"
    assert built.numbers()["error"] == {"mean": 0.004, "lower": 0.003, "upper": 0.008, "level": 0.985, "n": 12}


def test_a_tail_that_is_why_it_is_not_confirmed_is_said(built):
    record = deepcopy(built.record)
    record["status"] = "max_solves"
    record["rounds"][-1]["judged"] |= {"tail": TAIL, "confirmed": False}
    told = Build(built.surrogate, built.path, built.data, record)
    assert dict(told.rows())["error"] == f"0.4 % at 12 fresh solves, below 0.8 %: not confirmed; {TAIL}"


def test_a_report_is_one_file_that_holds_every_round_and_no_markup_of_a_problem(built, tmp_path):
    points, errors = np.random.default_rng(0).random((30, 2)), np.linspace(1e-3, 1e-2, 30)
    where = ErrorMap("<i>v</i>", "large", 3.0, 0.8)
    write_report(tmp_path / "report.html", built, where, points, errors, "gnvpro build x:y --error 1% --out model")
    page = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;flow&lt;/b&gt;" in page
    assert "<b>flow</b>" not in page
    assert "<i>v</i>" not in page
    assert "in that third 3 times the error elsewhere" in page
    assert "0.4 % (at most 0.8 %) of 12" in page
    assert page.count('<img src="data:image/svg+xml') == 3
    assert not re.search(r'(src|srcset|href)="(?!data:|#)', page)


def test_limits_that_are_far_above_leave_the_figure_readable(built):
    record = deepcopy(built.record)
    record["rounds"][-1]["judged"]["upper"] = 1e6
    (axes,) = error_against_cost(record).axes
    assert axes.get_ylim()[1] < 1
    assert axes.get_ylim()[0] < 0.003
