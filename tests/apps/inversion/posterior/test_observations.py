"""Observations as spreadsheets, arrays and dicts leave them: by name, some, repeated, missing; and what is refused."""

import numpy as np
import pandas as pd
import pytest

from gnvpro.apps.inversion.posterior.observations import noise_of, observations_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Space

SPACE = Space.vector(["Depth left", "depth_right", "flux 1 2"], axis="sensor", units=("V",))
VALUES = [30.8, 3.19, -3.86]


def read(tmp_path, text, encoding="utf-8"):
    (tmp_path / "d.csv").write_bytes(text.encode(encoding))
    return observations_of(tmp_path / "d.csv", SPACE)


@pytest.mark.parametrize(
    "text",
    [
        "observable,value\nDepth left,30.8\ndepth_right,3.19\nflux 1 2,-3.86\n",
        "\ufeffobservable,value\nDepth left,30.8\ndepth_right,3.19\nflux 1 2,-3.86\n",
        " Observable , VALUE \nDEPTH  LEFT,30.8\nDepth Right,3.19\nflux_1_2,-3.86\n",
        'observable,"value [V]"\n"depth left (V)",30.8\n"depthright",3.19\nFlux1 2 [V],-3.86\n'.replace("−3", "-3"),
        "observable;value\nDepth_left;30,8\nDepth right;3,19\nflux 1 2;-3,86\n",
        "sep=;\r\nobservable;value\r\nDepth_left;30,8\r\nDepth right;3,19\r\nflux 1 2;-3,86\r\n",
        "name\tmeasured\nDepth left\t30.8\ndepth_right\t3.19\nflux 1 2\t-3.86\n",
        "value\n30.8\n3.19\n-3.86\n",
        "flux 1 2,depth right,depth left\n-3.86,3.19,30.8\n",
        "observable,value,comment\nDepth left,30.8,first\ndepth_right,3.19,\nflux 1 2,-3.86,\n",
    ],
)
def test_names_values_and_separators_of_spreadsheets(tmp_path, text):
    values, deviations, which = read(tmp_path, text)
    np.testing.assert_array_equal(values, VALUES)
    assert deviations is None
    assert which is None


@pytest.mark.parametrize("missing", ["", "NA", "n/a", "#N/A", "NaN", "nan", "-", "null"])
def test_what_is_missing_may_be_told_in_many_words(tmp_path, missing):
    values, _, which = read(tmp_path, f"observable,value\nDepth left,30.8\ndepth_right,{missing}\nflux 1 2,-3.86\n")
    np.testing.assert_array_equal(values, [30.8, np.nan, -3.86])
    assert which is None


def test_some_observables_are_enough_and_one_is(tmp_path):
    values, deviations, which = read(tmp_path, "observable,value,Std [V]\nflux 1 2,-3.86,0.1\n")
    np.testing.assert_array_equal(values, [np.nan, np.nan, -3.86])
    np.testing.assert_array_equal(deviations, [np.nan, np.nan, 0.1])
    assert which is None


REPEATED = "observable,value,sd\ndepth_right,3.1,0.1\nDepth left,30,1\nDepth Right,3.2,0.2\ndepth right,NA,0.1\n"


def test_repeats_are_data_of_their_own_in_the_order_they_came_in(tmp_path):
    values, deviations, which = read(tmp_path, REPEATED)
    np.testing.assert_array_equal(values, [3.1, 30, 3.2])
    np.testing.assert_array_equal(deviations, [0.1, 1, 0.2])
    np.testing.assert_array_equal(which, [1, 0, 1])


def test_repeats_in_every_form_are_the_same(tmp_path):
    expected = read(tmp_path, REPEATED)
    np.savez(
        tmp_path / "d.npz", observations=expected.values, standard_deviation=expected.standard_deviations,
        observable=[SPACE.names[place] for place in expected.which],
    )  # fmt: skip
    series = pd.Series([3.1, 30.0, 3.2], index=["depth_right", "Depth left", "depth_right"])
    for given in (tmp_path / "d.npz", series):
        found = observations_of(given, SPACE)
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_array_equal(found.which, expected.which)
    by_name = observations_of({"depth_right": [3.1, 3.2], "Depth left": 30.0}, SPACE)
    wide = read(tmp_path, "depth right,depth left\n3.1,30\n3.2,\n")
    for found in (by_name, wide):
        order = np.lexsort((found.values, found.which))
        np.testing.assert_array_equal(found.values[order], [30, 3.1, 3.2])
        np.testing.assert_array_equal(found.which[order], [0, 1, 1])


def test_a_repeat_that_is_missing_is_none(tmp_path):
    values, _, which = read(tmp_path, "observable,value\nDepth left,30.8\nDepth left,\n")
    assert which is None
    np.testing.assert_array_equal(values, [30.8, np.nan, np.nan])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "observable,value\nDepth,1\n",
            r"no observable 'Depth'; did you mean Depth left\? it has Depth left, depth_right, flux 1 2",
        ),
        ("observable,value\nx,1\ny,2\n", r"no observable 'x' \(and 1 more"),
        ("observable,value\nflux 12,1\n", "no observable 'flux 12'"),
        ("observable,value [mV]\nDepth left,1\n", r"'value \[mV\]' is in mV, and the model's observables are in V"),
        ("observable,value\nDepth left (kV),1\n", r"'Depth left \(kV\)' is in kV"),
        ("depth left [µV]\n1\n", r"is in uV"),
        ("observable,measured,observed\nDepth left,1,2\n", "value may be measured, observed; name one value"),
        ("observable,value\nDepth left,1e999\n", "observation Depth left is infinite; leave it empty"),
        ("observable,value\nDepth left,inf\nDepth left,1\n", "observation Depth left is infinite"),
        ("observable,value\nDepth left,\nflux 1 2,NA\n", "all values are missing"),
        ("observable,value\nDepth left,#DIV/0!\n", r"line 2: expected a number, got '#DIV/0!'"),
        ("observable,value\nDepth left,30,8\ndepth_right,3,19\n", "line 2: expected 2 columns"),
        ("value\n30,8\n3,19\n3,86\n", "decimal commas want semicolons between columns"),
        ("observable;value\nDepth left;1.234,5\n", "line 2: expected a number, got '1.234,5'"),
        ("value\n1\n2\n", "expected 3 lines, one for every observable of the model, got 2"),
        (
            "sensor,reading\na,1\n",
            r"expected a header with value, or names of observables \(Depth left, .*\), got sensor",
        ),
    ],
)
def test_what_is_not_safe_is_refused_with_what_was_expected(tmp_path, text, said):
    with pytest.raises(UsageError, match=said):
        read(tmp_path, text)


def test_units_are_those_of_the_observables_that_are_there(tmp_path):
    space = Space.vector(["u", "i"], axis="what", units=("V", "A"))
    path = tmp_path / "d.csv"
    path.write_text("observable,value [mV]\nu,1\n")
    with pytest.raises(UsageError, match=r"is in mV"):
        observations_of(path, space)
    path.write_text("observable,value [mA]\nu,1\n")
    assert observations_of(path, space).values[0] == 1, "no multiple of V: other words in brackets say nothing"


def test_an_observation_without_a_standard_deviation_is_told_so():
    with pytest.raises(UsageError, match="observation 1 has a value and no standard deviation"):
        noise_of("data", np.array([1.0, 2.0]), np.array([0.1, np.nan]))


def test_noise_that_may_be_of_repeats_or_of_observables_is_refused():
    repeated = np.array([0, 0, 1])
    with pytest.raises(UsageError, match="may be of either"):
        noise_of(np.array([0.1, 0.2, 0.3]), np.array([1.0, 1.1, 2.0]), None, SPACE, repeated)


def test_another_encoding_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(UsageError, match="save it as UTF-8"):
        read(tmp_path, "observable,value [µV]\nDepth left,1\n", "cp1252")


def test_names_that_may_be_two_are_refused():
    space = Space.vector(["a b", "a_b", "c"], axis="sensor")
    np.testing.assert_array_equal(observations_of({"a_b": 1.0}, space).values, [np.nan, 1, np.nan])
    with pytest.raises(UsageError, match="AB may be a b, a_b; name one so"):
        observations_of({"AB": 1.0}, space)


def test_lengths_of_an_npz_agree(tmp_path):
    np.savez(tmp_path / "d.npz", observations=[1.0, 2.0], observable=["flux 1 2"])
    with pytest.raises(UsageError, match="expected as many values as names of observables, 1, got 2"):
        observations_of(tmp_path / "d.npz", SPACE)
