"""What errors are relative to, and which outputs share a scale."""

import json

import numpy as np
import pytest

from gnvpro.surrogate.error_measure import ErrorMeasure, group_scales, measure_for, unit_groups
from gnvpro.surrogate.spaces import Axis, Space

RNG = np.random.default_rng(0)
FIELD = Space((Axis("time", (0.0, 1.0)), Axis("sensor", ("a", "b"))))


def columns(n, **given):
    return Space.vector([f"c{j}" for j in range(n)], **given)


@pytest.mark.parametrize(
    ("space", "groups"),
    [
        (columns(3), [0, 1, 2]),
        (columns(3, units=("unknown",)), [0, 1, 2]),
        (columns(3, units=("mm",)), None),
        (columns(4, units=("mm", "K", "mm", "1")), [0, 1, 0, 2]),
        (columns(1), [0]),
        (columns(20), list(range(20))),
        (columns(21), None),
        (columns(30, units=("K",) + ("1",) * 29), [0] + [1] * 29),
        (FIELD, None),
    ],
)
def test_outputs_share_a_scale_by_unit(space, groups):
    found = unit_groups(space)
    assert found is None if groups is None else found is not None and found.tolist() == groups


def test_a_group_has_one_scale_and_what_does_not_vary_its_size():
    values = np.stack([RNG.normal(size=50), 10 * RNG.normal(size=50), np.full(50, 7.0), np.zeros(50)], 1)
    scales = group_scales(values, np.array([0, 0, 1, 2]), centred=True)
    expected = np.sqrt(values[:, :2].var(0).mean())
    np.testing.assert_allclose(scales, [expected, expected, 7, 1])


@pytest.mark.parametrize(
    ("values", "space", "goal", "why"),
    [
        (RNG.normal(size=(99, 1)), columns(1), "absolute", "change their sign"),
        (300 + RNG.normal(size=(99, 1)), columns(1), "absolute", "less than"),
        (10 ** RNG.uniform(-2, 2, (99, 2)), columns(2), "relative", "more than"),
        (RNG.normal(size=(99, 30)), columns(30), "relative", "no sample is near zero"),
        (RNG.normal(size=(99, 30)) * (np.arange(99) != 5)[:, None], columns(30), "absolute", "zero or nearly so"),
        (RNG.normal(size=(99, 4)), FIELD, "relative", "no sample is near zero"),
        (np.zeros((9, 2)), columns(2), "absolute", "zero or nearly so"),
    ],
)
def test_the_goal_is_relative_where_that_makes_sense(values, space, goal, why):
    measure, chosen, reason = measure_for(values, space)
    assert chosen == goal
    assert why in reason
    assert (measure.spread is None) == (goal == "relative")


def test_a_goal_that_is_given_is_kept():
    values = RNG.normal(size=(99, 1))
    assert measure_for(values, columns(1), "relative")[1:] == ("relative", "as asked for")
    assert measure_for(values, columns(1), "relative")[0].spread is None
    field = RNG.normal(size=(99, 30))
    measure, chosen, _ = measure_for(field, columns(30), "absolute")
    assert chosen == "absolute"
    assert measure == ErrorMeasure()


def test_an_absolute_error_of_one_is_that_of_the_mean():
    values = [5.0, 1e8] + RNG.normal(size=(99, 2)) * [1.0, 1e6]
    measure, goal, _ = measure_for(values, columns(2))
    assert goal == "absolute"
    errors = measure.errors(values - values.mean(0), values)
    assert np.sqrt((errors**2).mean()) == pytest.approx(1.0)
    np.testing.assert_allclose(measure.output_sizes(values), values.std(0))


def test_errors_of_zeros_are_relative_to_the_size_of_all():
    size = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(ErrorMeasure().norms(size), [5.0, 5 / np.sqrt(2)])
    np.testing.assert_allclose(ErrorMeasure().errors(np.full((2, 2), 0.0), 0 * size), 0.0)
    np.testing.assert_array_equal(ErrorMeasure().norms(size[:1]), np.linalg.norm(size[:1], axis=1))


@pytest.mark.parametrize(
    "measure", [ErrorMeasure(), ErrorMeasure(np.array([1.0, 1e-13]), 1.5), ErrorMeasure(None, 2.0)]
)
def test_a_measure_is_kept_in_the_record(measure):
    assert ErrorMeasure.of(json.loads(json.dumps({"error_measure": measure.to_dict()}))) == measure


def test_records_without_one_are_relative_to_every_sample():
    assert ErrorMeasure.of({}) == ErrorMeasure()


@pytest.mark.parametrize("centre", [0.0, 5.0])
def test_units_do_not_matter(centre):
    values, units = centre + RNG.normal(size=(99, 3)), np.array([1e-13, 1.0, 1e13])
    (one, *_), (other, *_) = measure_for(values, columns(3)), measure_for(values * units, columns(3))
    misfit = RNG.normal(size=(99, 3))
    np.testing.assert_allclose(one.errors(misfit, values), other.errors(misfit * units, values * units), rtol=1e-10)
