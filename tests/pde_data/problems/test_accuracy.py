import json

import numpy as np
import pytest

from gnvpro.pde_data.problems.accuracy import estimated_error

Y = np.arange(8.0).reshape(4, 2)
EXACT = np.array([[3.0, 4.0], [6.0, 8.0], [0.3, 0.4], [30.0, 40.0]])
# Off by 1 %, 2 %, 3 %, 4 % of the norm.
OBSERVABLES = EXACT * np.array([1.01, 0.98, 1.03, 0.96])[:, None]


class Problem:
    """`references` and `background` as given; the references look their rows up in a table."""

    def __init__(self, background=None, **tables):
        self.tables = tables
        if background is not None:
            self.background = np.array(background)

    def references(self):
        return {name: lambda y, table=table: table for name, table in self.tables.items()}


def test_errors_by_hand():
    error = estimated_error(Problem(refined=EXACT), Y, OBSERVABLES)
    assert error == {
        "relative_l2": pytest.approx(0.025),
        "relative_l2_max": pytest.approx(0.04),
        "n_samples": 4,
        "against": "refined",
    }
    assert json.loads(json.dumps(error, allow_nan=False)) == error


def test_every_further_reference_is_named():
    error = estimated_error(Problem(refined=EXACT, full=OBSERVABLES), Y, OBSERVABLES)
    assert error["relative_l2"] == pytest.approx(0.025)
    assert list(error["others"]) == ["full"]
    assert (error["others"]["full"]["relative_l2"], error["others"]["full"]["against"]) == (0.0, "full")


def test_a_background_does_not_hide_the_error_of_the_anomaly():
    background = np.array([3.0, 3.0])
    anomaly = np.array([[0.0, 0.1], [0.1, 0.0], [0.06, 0.08], [0.03, 0.04]])
    exact = background + anomaly
    off = np.array([0.01, 0.02, 0.05, 0.005])
    error = estimated_error(Problem(background, exact=exact), Y, exact + np.column_stack([off, 0 * off]))
    assert error["relative_l2"] < 0.006
    # Divided by anomalies of .1, .1, .1, .05.
    assert error["anomalous"] == {
        "mean": pytest.approx(0.225), "median": pytest.approx(0.15), "max": pytest.approx(0.5)
    }  # fmt: skip


def test_rows_a_reference_could_not_solve_are_left_out_and_counted():
    table = EXACT.copy()
    table[1, 0] = np.nan
    error = estimated_error(Problem(refined=table, full=EXACT), Y, OBSERVABLES)
    assert error["n_samples"] == 3
    assert error["relative_l2"] == pytest.approx((0.01 + 0.03 + 0.04) / 3)
    assert error["others"]["full"]["n_samples"] == 4


def test_no_reference_no_estimate():
    assert estimated_error(object(), Y, OBSERVABLES) is None
    assert estimated_error(Problem(), Y, OBSERVABLES) is None


@pytest.mark.parametrize(
    ("table", "kind", "message"),
    [
        (np.full((4, 2), np.nan), ArithmeticError, "'refined' solved none of the 4 samples"),
        (np.zeros((4, 2)), ArithmeticError, "'refined' is zero"),
        (EXACT[:, :1], ValueError, r"expected observables \(4, 2\), got \(4, 1\)"),
    ],
)
def test_a_reference_that_is_none(table, kind, message):
    with pytest.raises(kind, match=message):
        estimated_error(Problem(refined=table), Y, OBSERVABLES)
