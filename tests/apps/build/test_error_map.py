"""The map of errors names the parameter that tells, and none where none does."""

import numpy as np

from gnvpro.apps.build.error_map import error_map
from gnvpro.surrogate.spaces import Space

SPACE = Space.vector(["a", "b", "c"], lower=(0.0,) * 3, upper=(1.0,) * 3, law="uniform")


def points(n=120):
    return np.random.default_rng(0).random((n, 3))


def test_errors_that_grow_along_a_parameter_are_found_there():
    y, noise = points(), np.random.default_rng(1).lognormal(0, 0.3, 120)
    assert (found := error_map(SPACE, y, noise * np.exp(2 * y[:, 1]))).parameter == "b"
    assert found.where == "large"
    assert 2 < found.ratio < 6
    assert "largest where b is large" in found.in_words()
    assert error_map(SPACE, y, noise * np.exp(-2 * y[:, 2])).where == "small"
    assert error_map(SPACE, y, noise * np.exp(6 * np.abs(y[:, 0] - 0.5))).where == "at either end"
    assert error_map(SPACE, y, noise * np.exp(-6 * np.abs(y[:, 0] - 0.5))).where == "in the middle"


def test_noise_names_a_parameter_once_in_twenty_times_only():
    named = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        named += error_map(SPACE, rng.random((60, 3)), rng.lognormal(0, 1, 60)).parameter is not None
    assert named <= 12


def test_few_equal_or_no_samples_tell_nothing():
    assert error_map(SPACE, points(8), np.arange(8.0)).parameter is None
    assert error_map(SPACE, points(40), np.ones(40)).parameter is None
    assert error_map(SPACE, np.empty((0, 3)), np.empty(0)).parameter is None
    fixed = np.full((40, 3), 0.5)
    assert error_map(SPACE, fixed, np.arange(40.0)).parameter is None
    assert "no single parameter tells" in error_map(SPACE, fixed, np.arange(40.0)).in_words()
