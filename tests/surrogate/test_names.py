"""Names as people and spreadsheets write them: forgiven where they mean one thing, refused where they may mean two."""

import pytest

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import find_names, other_scale


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("depth", "depth"), (" depth ", "depth"), ("DEPTH", "depth"), ("Depth (m)", "depth"),
        ("depth_of_body", "depth of body"),
        ("depth of  body", "depth_of_body"), ("DepthOfBody", "depth of body"), ("x_1", "x1"), ("\ufeffdepth", "depth"),
        ("“depth”", "depth"), ("x1 \u22120.5", "x1 -0.5"), ("Std_Deviation [V]", "std deviation"), ("p 1 2", "p_1_2"),
    ],
)  # fmt: skip
def test_a_name_is_found_however_it_is_written(written, meant):
    assert find_names([meant], ["other", written], "here") == [1]
    assert find_names([written], ["other", meant], "here") == [1]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("p 1 2", "p 12"), ("x1 0.5", "x1 -0.5"), ("ab", "a.b"), ("depth", "depths"), ("u(0.7)", "u(0.5)")],
)
def test_another_name_is_not_found(written, meant):
    assert find_names([meant], [written], "here") == [None]


def test_the_most_alike_is_taken_and_two_that_are_as_alike_are_refused():
    assert find_names(["a_b"], ["a b", "a_b"], "here") == [1]
    with pytest.raises(UsageError, match="here: ab may be a_b, a b; name one so"):
        find_names(["ab"], ["a_b", "a b"], "here")
    with pytest.raises(UsageError, match="a and A are one; leave one of them out"):
        find_names(["a", "A"], ["a ", "b"], "here")
    assert find_names(["a", "A"], ["a ", "b"], "here", repeated=True) == [0, 0]


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("value [mV]", "V", "mV"), ("value (V)", "mV", "V"), ("depth (km)", "m", "km"), ("p [hPa]", "kPa", "hPa"),
        ("value [V]", "V", None), ("value", "V", None), ("value (left)", "V", None), ("value [Ohm]", "V", None),
        ("t (min)", "m", None), ("u [mV/A]", "V/A", "mV/A"), ("value [mV]", "1", None), ("u (uV)", "V", "uV"),
        ("u [uV]", "\u00b5V", None), ("u [\u03bcV]", "\u00b5V", None), ("u [\u00b5V]", "V", "uV"),
    ],
)  # fmt: skip
def test_another_multiple_of_a_unit_is_seen(name, unit, expected):
    assert other_scale(name, unit) == expected
