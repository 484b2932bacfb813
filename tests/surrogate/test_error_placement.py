"""Samples are placed where errors near by are large, far from others, along parameters that matter."""

import numpy as np
import pytest

from gnvpro.surrogate.error_placement import MOST_PARAMETERS, _sensitivities, placed_by_errors
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.training.train import train


def space(n):
    return Space.vector([f"y{j}" for j in range(n)], lower=(0.0,) * n, upper=(1.0,) * n, law="uniform")


@pytest.fixture(scope="module")
def model():
    """Of a function of which the first two of three parameters matter, at 40 points."""
    y = np.random.default_rng(0).random((40, 3))
    values = np.stack([np.exp(y[:, 0]) + y[:, 1], y[:, 0] * y[:, 1] + 2], axis=1)
    samples = Samples(y, values, space(3), Space.vector(["u", "v"], axis="observable"))
    return train(samples, quick=True).surrogate, y


def candidates(n=600, size=3):
    return np.random.default_rng(1).random((n, size))


def test_points_gather_where_errors_are_large(model):
    surrogate, y = model
    errors = np.where((y[:, 0] > 0.7) & (y[:, 1] > 0.5), 1.0, 1e-3)
    chosen = candidates()[placed_by_errors(surrogate, 12, candidates(), y, errors)]
    assert ((chosen[:, 0] > 0.6) & (chosen[:, 1] > 0.4)).mean() > 0.9


def test_with_errors_all_alike_points_fill_the_gaps(model):
    surrogate, y = model
    chosen = candidates()[placed_by_errors(surrogate, 12, candidates(), y, np.ones(40))]

    def from_samples(points):
        return np.linalg.norm(points[:, None] - y, axis=2).min(axis=1)

    assert from_samples(chosen).mean() > 1.5 * from_samples(candidates()).mean()
    pairs = np.linalg.norm(chosen[:, None] - chosen, axis=2)[np.triu_indices(12, 1)]
    assert pairs.min() > 0.05


def test_a_parameter_that_does_nothing_weighs_least(model):
    surrogate, y = model
    weights = _sensitivities(surrogate, y)
    assert weights[2] < 0.1 * weights[:2].min()


def test_it_is_deterministic_and_takes_no_candidate_twice(model):
    surrogate, y = model
    errors = np.random.default_rng(2).lognormal(size=40)
    chosen = placed_by_errors(surrogate, 50, candidates(), y, errors)
    assert len(set(chosen.tolist())) == 50
    assert np.array_equal(chosen, placed_by_errors(surrogate, 50, candidates(), y, errors))
    assert np.array_equal(chosen[:20], placed_by_errors(surrogate, 20, candidates(), y, errors))


def test_unknown_errors_count_as_samples_but_say_nothing(model):
    surrogate, y = model
    errors = np.where(y[:, 0] > 0.5, np.nan, 1.0)
    chosen = placed_by_errors(surrogate, 10, candidates(), y, errors)
    assert chosen is not None
    assert placed_by_errors(surrogate, 10, candidates(), y, np.full(40, np.nan)) is None


def test_where_distances_say_nothing_it_says_nothing(model):
    surrogate, y = model
    many = np.random.default_rng(3).random((40, MOST_PARAMETERS + 1))
    assert placed_by_errors(surrogate, 5, candidates(100, MOST_PARAMETERS + 1), many, np.ones(40)) is None
    assert placed_by_errors(surrogate, 5, candidates(), y[:5], np.ones(5)) is None
    fixed = np.full((100, 3), 0.5)
    assert placed_by_errors(surrogate, 5, fixed, y, np.ones(40)) is None
    assert placed_by_errors(surrogate, 100, candidates(50), y, np.ones(40)) is None
