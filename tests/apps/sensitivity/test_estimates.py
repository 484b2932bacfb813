"""Intervals: the bound by angles holds and is sharp, the narrower one covers, and a mean square is not missed."""

import numpy as np
import pytest

from gnvpro.apps.sensitivity.estimates import ModelError, Shares, ratios, turned
from gnvpro.surrogate.trust.bands import Bands
from gnvpro.surrogate.trust.error_sizes import mean_square_errors


def of(bands):
    return mean_square_errors(bands.levels, bands.marginal)


def projection(rng, n, rank):
    basis = np.linalg.qr(rng.standard_normal((n, rank)))[0]
    return basis @ basis.T


def averaged(rng, n):
    """A mean of differences of nested projections, as a Shapley effect is."""
    found = np.zeros((n, n))
    for _ in range(3):
        basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
        found += basis[:, 2:5] @ basis[:, 2:5].T / 3
    return found


@pytest.mark.parametrize("operator", [projection, averaged])
def test_no_error_of_the_size_stated_takes_an_index_beyond_its_bounds(operator):
    rng = np.random.default_rng(0)
    for _ in range(300):
        q = operator(rng, 9, 3) if operator is projection else operator(rng, 9)
        s, r = rng.standard_normal(9), rng.uniform(0.01, 0.9)
        e = rng.standard_normal(9)
        e *= r * np.linalg.norm(s) / np.linalg.norm(e)
        share = s @ q @ s / (s @ s)
        truth = (s + e) @ q @ (s + e) / ((s + e) @ (s + e))
        found = Shares.of(np.array([[share]]), np.zeros((1, 1)), ModelError(np.array([r]), 1))
        assert found.least[0, 0] - 1e-12 <= truth <= found.most[0, 0] + 1e-12


def test_the_bounds_are_reached_by_the_worst_error():
    share, r = 0.3, 0.2
    s = np.array([np.sqrt(share), np.sqrt(1 - share)])  # the projection is on the first axis
    angle = np.arccos(s[0])
    found = Shares.of(np.array([[share]]), np.zeros((1, 1)), ModelError(np.array([r]), 1))
    for sign, bound in ((1, found.least), (-1, found.most)):
        worst = np.cos(np.arcsin(r)) * np.array(
            [np.cos(angle + sign * np.arcsin(r)), np.sin(angle + sign * np.arcsin(r))]
        )
        assert np.linalg.norm(worst - s) == pytest.approx(r)
        assert worst[0] ** 2 / (worst @ worst) == pytest.approx(bound[0, 0])


def test_independent_errors_are_within_the_narrower_interval_at_least_95_of_100_times():
    """Of a random function of as many independent parts as there are samples; an error of one part is not."""
    rng = np.random.default_rng(1)

    def covered(parts):
        n, within = 100, 0
        q = np.diag((np.arange(n) < 40).astype(float))
        for _ in range(2000):
            s = rng.standard_normal(n)
            aligned = q @ s - (s @ q @ s) / (s @ s) * s  # the one function that counts
            e = rng.standard_normal(n) if parts == n else aligned * rng.standard_normal()
            e *= 0.1 * np.linalg.norm(s) / np.linalg.norm(e)
            share, truth = (v @ q @ v / (v @ v) for v in (s, s + e))
            found = Shares.of(np.array([[share]]), np.zeros((1, 1)), ModelError(np.array([0.1]), n))
            within += found.lower[0, 0] <= truth <= found.upper[0, 0]
        return within / 2000

    assert covered(100) > 0.94
    assert covered(1) < 0.1


def test_an_error_that_is_not_known_leaves_the_interval_of_sampling():
    found = Shares.of(np.array([[0.5, 0.0]]), np.array([[0.1, 0.02]]), None)
    np.testing.assert_allclose([found.lower, found.upper], [[[0.4, 0.0]], [[0.6, 0.02]]])
    worse = Shares.of(np.array([[0.5, 0.0]]), np.array([[0.1, 0.02]]), ModelError(np.array([np.inf]), 50))
    np.testing.assert_allclose([worse.least, worse.most], [[[0.0, 0.0]], [[1.0, 1.0]]], atol=1e-15)


def test_turning_stops_at_nothing_and_at_all():
    np.testing.assert_allclose(turned(np.array([0.0, 0.5, 1.0]), np.array(np.pi / 4)), [0, 0, 0.5], atol=1e-15)
    np.testing.assert_allclose(turned(np.array([0.0, 0.5, 1.0]), np.array(-np.pi / 4)), [0.5, 1, 1], atol=1e-15)


def test_ratios_are_those_of_averages_and_hold_the_truth_as_often_as_they_say():
    rng, within = np.random.default_rng(2), 0
    for _ in range(1000):
        variances = 2 + 0.3 * rng.standard_normal((8, 1))
        parts = 0.25 * variances[:, None] + 0.1 * rng.standard_normal((8, 1, 1))
        ratio, half = ratios(parts, variances)
        assert ratio[0, 0] == pytest.approx(parts.mean() / variances.mean())
        within += abs(ratio[0, 0] - 0.25) <= half[0, 0]
    assert 0.92 < within / 1000 < 0.98
    assert np.isnan(ratios(np.zeros((8, 2, 1)), np.zeros((8, 1)))[0]).all()


@pytest.mark.parametrize(("n", "law"), [(100, "normal"), (30, "normal"), (400, "student"), (9, "normal")])
def test_mean_squares_of_bands_are_rarely_too_small_and_not_far_off(n, law):
    rng, found = np.random.default_rng(3), []
    for _ in range(300):
        residuals = rng.standard_normal((n, 1)) if law == "normal" else rng.standard_t(5, (n, 1)) / np.sqrt(5 / 3)
        found.append(of(Bands.calibrated(residuals, np.ones(1), "test"))[0])
    assert 1.1 < np.median(found) < 2.5
    assert np.mean(np.array(found) < 0.8) < 0.1


def test_a_level_that_one_observable_lacks_is_of_use_to_the_others():
    bands = Bands.calibrated(np.random.default_rng(4).standard_normal((400, 2)), np.ones(2), "test")
    few = bands.marginal.copy()
    few[-2:, 1] = np.inf
    found, whole = mean_square_errors(bands.levels, few), of(bands)
    assert found[0] == whole[0]
    assert found[1] > whole[1], "more is beyond the last level"
    few[:, 1] = np.inf
    assert np.isnan(mean_square_errors(bands.levels, few)[1])


def test_bands_that_are_infinite_say_nothing():
    residuals = np.ones((3, 2))
    bands = Bands.calibrated(residuals, np.ones(2), "test", (np.ones(3), 100.0))
    assert np.isnan(of(bands)).all()
