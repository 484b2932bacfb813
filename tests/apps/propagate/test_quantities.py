"""Which quantities are propagated, and which limits they are to keep."""

import numpy as np
import pytest

from gnvpro.apps.propagate.in_words import between, valued
from gnvpro.apps.propagate.limit_texts import read_texts
from gnvpro.apps.propagate.limits import limits_of
from gnvpro.apps.propagate.quantities import MOST_OBSERVABLES, Quantities
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Axis, Space
from gnvpro.surrogate.trust.bands import Bands

SPACE = Space((Axis("time", (0.5, 1.0, 1.5), unit="s"), Axis("sensor", ("left", "right"))), units=("K",))


@pytest.mark.parametrize("kind", ["max", "min", "mean"])
def test_scalars_are_those_of_numpy_of_all_and_along_an_axis(kind):
    values = np.random.default_rng(0).standard_normal((5, 6))
    quantities = Quantities.read(SPACE, [kind, f"{kind.upper()}: time ", f"{kind}:sensor"])
    found, shaped = quantities.of(values), values.reshape(5, 3, 2)
    np.testing.assert_array_equal(found[:, :6], values)
    function = getattr(np, kind)
    np.testing.assert_allclose(found[:, 6], function(values, axis=1))
    np.testing.assert_allclose(found[:, 7:9], function(shaped, axis=1))
    np.testing.assert_allclose(found[:, 9:], function(shaped, axis=2))
    assert quantities.names[6:9] == (kind, f"{kind} over time, sensor left", f"{kind} over time, sensor right")
    assert quantities.unit(8) == "K"


def test_bands_of_scalars_bound_what_bands_of_all_observables_allow():
    rng = np.random.default_rng(1)
    residuals = rng.standard_normal((50, 6)) * np.arange(1, 7)
    bands = Bands.calibrated(residuals, np.arange(1.0, 7.0), "test")
    quantities = Quantities.read(SPACE, ["max", "mean:time", "min"])
    row, widths = bands.levels.index(0.9), quantities.widths(bands)[bands.levels.index(0.9)]
    np.testing.assert_array_equal(widths[:6], bands.marginal[row])
    values, off = rng.standard_normal((200, 6)), rng.uniform(-1, 1, (200, 6)) * bands.half_width(0.9, simultaneous=True)
    assert (np.abs(quantities.of(values + off) - quantities.of(values))[:, 6:] <= widths[6:]).all()


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ("median", "expected `of` max, min or mean, of all observables, or along .* max:time; got 'median'"),
        ("max:depth", "the axes are time, sensor, got 'depth'"),
        (3, "expected `of` as text such as 'max', got 3|'int' object"),
    ],
)
def test_scalars_that_are_none_are_refused(of, said):
    with pytest.raises((UsageError, TypeError), match=said):
        Quantities.read(SPACE, of)


def test_observables_of_several_units_have_no_largest_one():
    mixed = Space.vector(["depth", "voltage"], units=("m", "V"))
    with pytest.raises(UsageError, match="have the units m, V, so they have no max"):
        Quantities.read(mixed, "max")


def test_very_many_observables_are_propagated_as_scalars_alone():
    space = Space((Axis("place", range(MOST_OBSERVABLES + 1)),))
    with pytest.raises(UsageError, match="say what of them is meant, such as of='max'"):
        Quantities.read(space, None)
    assert Quantities.read(space, "max").names == ("max",)


def events(given, of=None):
    quantities = Quantities.read(SPACE, of)
    return [limit.event(quantities) for limit in limits_of(given, quantities)]


LEFT = "time 0.5, sensor left"


@pytest.mark.parametrize(
    ("given", "of", "expected"),
    [
        (0.3, "max", ["max > 0.3 K"]),
        ("<0.3 K", ["max", "min"], ["max < 0.3 K", "min < 0.3 K"]),
        ({LEFT: "> 2"}, None, [f"{LEFT} > 2 K"]),
        (f"{LEFT.upper()}<-1e-2", None, [f"{LEFT} < -0.01 K"]),
        ({"": 5, "max": "<1"}, ["max", "min"], ["max < 1 K", "min > 5 K"]),
        ([1, f"{LEFT}=2"], "max", [f"{LEFT} > 2 K", "max > 1 K"]),
        (None, None, []),
    ],
)
def test_limits_are_read(given, of, expected):
    assert events(given, of) == expected


def test_a_limit_without_a_name_is_of_every_observable_where_there_is_no_scalar():
    assert len(events(0.3)) == 6


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("high", "expected a limit such as 0.3 or <0.1"),
        ({LEFT: "high"}, "expected a limit such as 0.3 or <0.1.* got 'high'"),
        (float("nan"), "got 'nan'"),
        (True, "got True"),
        ({"sensor": 3}, "there is no quantity 'sensor' that a limit could be of; there are time 0.5, sensor left"),
        ("0.3 V", "is in 'V', expected 'K'; leave the unit out"),
        ([0.3, 0.4], "expected one limit of all quantities, got 0.3, 0.4"),
    ],
)
def test_limits_that_are_none_are_refused(given, said):
    with pytest.raises(UsageError, match=said):
        events(given)


@pytest.mark.parametrize(
    "numbers", [(1.2345, 1.2345, 1.29), (0.012349, 0.01, 0.012349), (99.96, 99.96, 104.0), (5.0, -np.inf, np.inf)]
)
def test_a_value_that_is_told_lies_in_the_interval_that_is_told(numbers):
    value, lower, upper = (float(text) for text in (valued(*numbers), *between(*numbers[1:]).split(" to ")))
    assert lower <= value <= upper
    assert (valued(1.234567, np.nan, 1.3), between(np.nan, 1.3)) == ("1.23457", "not known")


def test_limits_are_typed_with_and_without_names_and_written_again():
    typed = ["0.3", "a b=2", "max<2", 'min="<0.1"']
    assert read_texts(typed) == {"": "0.3", "a b": "2", "max": "<2", "min": "<0.1"}
    assert read_texts({"max": 3}) == {"max": 3}
    with pytest.raises(UsageError, match="every limit once \\(max is there twice\\)"):
        read_texts(["max=1", "max<2"])
