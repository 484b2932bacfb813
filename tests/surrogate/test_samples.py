"""Spaces and samples: what a vector means, and what is refused."""

import json

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Axis, Coordinate, Space

FIELD = Space(
    (
        Axis("time", (0.5, 1.0), "s"),
        Axis("sensor", ("a", "b", "c"), coordinates=(Coordinate("x", (0.0, 1.0, 2.0), "m"),)),
    ),
    units=("mol",),
)
BOX = Space.vector(["p", "q"], lower=(0.0, -1.0), upper=(1.0, 1.0), units=("m", "s"), law="uniform")
SIMPLEX = Space.vector(["a", "b", "c"], lower=(0.0,) * 3, upper=(1.0,) * 3, constraint="simplex")


@pytest.mark.parametrize("space", [FIELD, BOX, SIMPLEX])
def test_description_survives_json(space):
    assert Space.from_dict(json.loads(json.dumps(space.to_dict()))) == space


def test_names_follow_the_order_of_the_components():
    assert FIELD.shape == (2, 3)
    assert FIELD.names[4] == "time 1, sensor b"
    assert BOX.names == ("p", "q")


@pytest.mark.parametrize(
    ("space", "point", "why"),
    [
        (BOX, [0.5, 2.0], "q = 2, expected -1 to 1"),
        (BOX, [np.nan, 0.0], "p is not finite"),
        (SIMPLEX, [0.5, 0.5, 0.1], "sum to 1.1"),
        (SIMPLEX, [0.5, 0.6, -0.1], "c = -0.1"),
    ],
)
def test_points_outside_are_refused_with_the_reason(space, point, why):
    good = np.full((1, space.size), 1 / space.size)
    with pytest.raises(ValueError, match=f"row 1 .*{why}"):
        space.require(np.vstack([good, point]))
    assert not space.contains(np.array([point]))[0]


def test_simplex_tolerance_admits_rounded_data():
    assert SIMPLEX.contains(np.array([[0.2, 0.3, 0.5 + 6e-7], [0.2, 0.3, 0.5 + 2e-5]])).tolist() == [True, False]


def test_difference_names_what_differs():
    assert BOX.difference(BOX) is None
    assert "components" in BOX.difference(SIMPLEX)
    assert "units" in BOX.difference(Space.vector(["p", "q"], units=("m", "h")))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Space.vector([]),
        lambda: Space.vector(["a", "b"], lower=(0.0,)),
        lambda: Space.vector(["a"], lower=(2.0,), upper=(1.0,)),
        lambda: Space.vector(["a", "b", "c"], units=("m", "s")),
        lambda: Space.observed(np.full((3, 2), np.nan), "parameter"),
    ],
)
def test_impossible_spaces_are_refused(make):
    with pytest.raises(ValueError, match="expected|needs at least|exceeds|no finite"):
        make()


def samples(n=40):
    rng = np.random.default_rng(0)
    return Samples(rng.uniform(0, 1, (n, 2)), np.arange(3.0 * n).reshape(n, 3), BOX, Space.vector(["u", "v", "w"]))


@hypothesis.given(
    n=st.integers(4, 60), seed=st.integers(0, 2**31), sizes=st.lists(st.integers(1, 15), min_size=4, max_size=4)
)
def test_split_is_the_documented_permutation(n, seed, sizes):
    given = dict(zip(("train", "validation", "calibration", "test"), sizes, strict=True))
    if sum(sizes) > n:
        with pytest.raises(ValueError, match=f"at most the {n} samples"):
            samples(n).split(seed, **given)
        return
    split = samples(n).split(seed, **given)
    order = np.random.default_rng(seed).permutation(n)
    for name, start in zip(given, np.cumsum([0, *sizes]), strict=False):
        expected = samples(n).observables[order[start : start + given[name]]]
        np.testing.assert_array_equal(getattr(split, name).observables, expected)


def test_default_split():
    split = samples(800).split(0)
    assert [len(s) for s in (split.train, split.validation, split.calibration, split.test)] == [400, 200, 0, 200]
    split = samples(40).split(0, train=35)
    assert [len(s) for s in (split.train, split.validation, split.calibration, split.test)] == [35, 5, 0, 0]


@pytest.mark.parametrize(
    "sizes", [dict(train=-1), dict(train=0), dict(validation=0), dict(train=39, test=2), dict(train=40)]
)
def test_impossible_splits_are_refused(sizes):
    with pytest.raises(ValueError, match="expected|empty"):
        samples(40).split(0, **sizes)


def test_mismatched_and_nonfinite_samples_are_refused():
    good = samples()
    with pytest.raises(ValueError, match="disagree on samples: 40 and 39"):
        Samples(good.parameters, good.observables[:-1], good.parameter_space, good.observable_space)
    for what, place, value in (
        ("observables", (5, 1), np.inf),
        ("observables", 5, np.nan),
        ("parameters", (5, 0), np.nan),
    ):
        broken = {"parameters": good.parameters.copy(), "observables": good.observables.copy()}
        broken[what][place] = value
        with pytest.raises(ValueError, match=f"{what} of sample 5 are not finite"):
            Samples(**broken, parameter_space=good.parameter_space, observable_space=good.observable_space)
