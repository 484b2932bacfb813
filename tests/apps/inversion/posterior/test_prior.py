"""Laws of parameters before measuring, behind standard normal variables."""

import numpy as np
import pytest
from scipy import stats

from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.surrogate.spaces import Space
from tests.apps.inversion.models import box, simplex, unbounded
from tests.calculus import assert_adjoint, assert_taylor

N_DRAWS = 20_000
# Kolmogorov-Smirnov: fixed seeds, so these never turn out otherwise; a wrong law is far below.
LIKELY, WRONG = 1e-3, 1e-9


def space(*bounds):
    lower, upper = zip(*bounds, strict=True)
    return Space.vector([f"p{j}" for j in range(len(bounds))], lower=lower, upper=upper, law="uniform")


CUTS = [(-1.0, 2.0), (0.5, np.inf), (-np.inf, 0.2), (-np.inf, np.inf), (2.0, 3.0)]
MEANS, SPREADS = [0.3, 0.0, 0.4, -2.0, 0.5], [0.8, 1.0, 0.5, 3.0, 0.5]
CUT = Prior.of(
    space(*CUTS), {f"p{j}": law for j, law in enumerate(zip(MEANS, SPREADS, strict=True))}
)  # the last: three to five standard deviations off
UNIFORM = Prior.of(space((-1.0, 2.0), (1e3, 1e4)))
MIXED = Prior.of(space((-1.0, 2.0), (0.5, np.inf), (0.0, 1.0)), {"p1": (0.0, 1.0)})
NORMALISED, FLAT = Prior.of(simplex(5)), Prior.of(simplex(5, law="uniform"))
PRIORS = {"uniform": UNIFORM, "cut": CUT, "mixed": MIXED, "normalised": NORMALISED, "flat": FLAT}
each_prior = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS.keys())


def agrees(draws, law):
    return stats.kstest(draws, law).pvalue


def test_uniform_in_a_box():
    draws = UNIFORM.draw(np.random.default_rng(0), N_DRAWS)
    assert agrees(draws[:, 0], stats.uniform(-1, 3).cdf) > LIKELY
    assert agrees(draws[:, 1], stats.uniform(1e3, 9e3).cdf) > LIKELY
    assert agrees(draws[:, 0], stats.uniform(-1, 3.2).cdf) < WRONG
    assert abs(np.corrcoef(draws.T)[0, 1]) < 4 / np.sqrt(N_DRAWS)


@pytest.mark.parametrize("j", range(len(CUTS)))
def test_normal_cut_off_at_no_one_or_two_bounds(j):
    draws = CUT.draw(np.random.default_rng(1), N_DRAWS)[:, j]
    (low, high), mean, spread = CUTS[j], MEANS[j], SPREADS[j]
    law = stats.truncnorm((low - mean) / spread, (high - mean) / spread, loc=mean, scale=spread)
    assert agrees(draws, law.cdf) > LIKELY
    assert abs(draws.mean() - law.mean()) < 4 * law.std() / np.sqrt(N_DRAWS)
    assert low <= draws.min()
    assert draws.max() <= high
    if np.isfinite(low) or np.isfinite(high):
        assert agrees(draws, stats.norm(mean, spread).cdf) < WRONG


def test_parts_over_their_sum_are_as_simulated():
    draws = NORMALISED.draw(np.random.default_rng(2), N_DRAWS)
    parts = np.random.default_rng(3).random((N_DRAWS, 5))
    simulated = parts / parts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(draws.sum(axis=1), 1, rtol=1e-14)
    flat = FLAT.draw(np.random.default_rng(4), N_DRAWS)
    for along in np.eye(5)[[0, 4]], np.array([[1.0, -2.0, 0.5, 0.0, 0.0]]):
        for direction in np.atleast_2d(along):
            assert stats.ks_2samp(draws @ direction, simulated @ direction).pvalue > LIKELY
            assert stats.ks_2samp(flat @ direction, simulated @ direction).pvalue < WRONG


def test_uniform_on_the_simplex_is_dirichlet():
    draws = FLAT.draw(np.random.default_rng(5), N_DRAWS)
    np.testing.assert_allclose(draws.sum(axis=1), 1, rtol=1e-14)
    law = stats.dirichlet(np.ones(5))
    for j in range(5):  # each component is Beta(1, n - 1), each sum of two Beta(2, n - 2)
        assert agrees(draws[:, j], stats.beta(1, 4).cdf) > LIKELY
        assert agrees(draws[:, j] + draws[:, j - 1], stats.beta(2, 3).cdf) > LIKELY
    assert agrees(draws[:, 0], stats.beta(1, 5).cdf) < WRONG
    assert np.abs(np.cov(draws.T) - law.cov()).max() < 0.05 * law.var()[0]


@each_prior
def test_pull_back_is_the_transposed_derivative(prior):
    rng = np.random.default_rng(6)
    z, direction, gradient = rng.standard_normal((3, prior.size))
    n = prior.size
    jacobian = prior.pull_back(np.tile(z, (n, 1)), np.eye(n))  # row i: of parameter i by z
    assert_taylor(lambda at: prior.parameters(at[None])[0], jacobian @ direction, z, direction)
    with pytest.raises(AssertionError, match="Taylor remainder|again|decrease"):
        assert_taylor(lambda at: prior.parameters(at[None])[0], 1.001 * jacobian @ direction, z, direction)
    assert_adjoint(lambda d: jacobian @ d, lambda w: prior.pull_back(z[None], w[None])[0], direction, gradient)


@each_prior
def test_rows_do_not_mix(prior):
    z, gradient = np.random.default_rng(7).standard_normal((2, 4, prior.size))
    np.testing.assert_array_equal(prior.parameters(z)[2], prior.parameters(z[2:3])[0])
    np.testing.assert_array_equal(prior.pull_back(z, gradient)[2], prior.pull_back(z[2:3], gradient[2:3])[0])


@each_prior
def test_latent_is_the_inverse(prior):
    z = 1.5 * np.random.default_rng(8).standard_normal((200, prior.size))
    y = prior.parameters(z)
    back = prior.latent(y)
    np.testing.assert_allclose(prior.parameters(back), y, rtol=1e-9, atol=1e-12)
    if not prior.simplex:
        np.testing.assert_allclose(back, z, atol=1e-6)


@each_prior
def test_far_out_and_on_the_bounds_all_stays_finite(prior):
    z = np.array([[-30.0], [-9.0], [9.0], [30.0]]) * np.ones(prior.size)
    y = prior.parameters(z)
    assert ((y >= prior.lower) & (y <= prior.upper)).all()
    assert np.isfinite(prior.pull_back(z, np.ones_like(z))).all()
    corners = [bound for bound in (prior.lower, prior.upper) if np.isfinite(bound).all() and not prior.simplex]
    for corner in [*corners, *([np.eye(prior.size)[0]] if prior.simplex else [])]:
        latent = prior.latent(corner[None])
        assert np.isfinite(latent).all()
        np.testing.assert_allclose(prior.parameters(latent)[0], corner, rtol=1e-10, atol=1e-10)


def test_a_normal_law_without_bounds_is_a_straight_line_however_far():
    prior = Prior.of(unbounded(1), {"p0": (2.0, 3.0)})
    z = np.array([[-30.0], [-10.0], [0.0], [6.0], [10.0], [30.0]])
    np.testing.assert_allclose(prior.parameters(z), 2 + 3 * z, rtol=1e-12)
    np.testing.assert_allclose(prior.pull_back(z, np.ones_like(z)), 3, rtol=1e-11)


def test_both_tails_are_as_accurate():
    right = Prior.of(space((5.0, 7.0)), {"p0": (0.0, 1.0)})
    left = Prior.of(space((-7.0, -5.0)), {"p0": (0.0, 1.0)})
    z = np.linspace(-6, 6, 13)[:, None]
    np.testing.assert_allclose(right.parameters(z), -left.parameters(-z), rtol=1e-14)
    np.testing.assert_allclose(right.latent(right.parameters(z))[3:-3], z[3:-3], atol=1e-5)
    far = Prior.of(space((20.0, 21.0)), {"p0": (0.0, 1.0)})  # the mass is 3e-89
    law = stats.expon(20, 1 / 20)  # nearly, with a relative error of 1 / 400
    np.testing.assert_allclose(far.draw(np.random.default_rng(9), N_DRAWS).mean(), law.mean(), rtol=2e-3)


@pytest.mark.parametrize("prior", [NORMALISED, FLAT, UNIFORM, CUT], ids=["normalised", "flat", "uniform", "cut"])
def test_moments(prior):
    mean, covariance = prior.moments
    draws = prior.draw(np.random.default_rng(10), 40_000)
    error = draws.std(axis=0) / np.sqrt(len(draws))
    assert (np.abs(mean - draws.mean(axis=0)) < 4.5 * error).all()
    size = np.outer(draws.std(axis=0), draws.std(axis=0))
    assert np.abs((covariance - np.cov(draws.T)) / size).max() < 0.035
    if prior.simplex:
        np.testing.assert_allclose(covariance.sum(axis=1), 0, atol=1e-15)
    if prior is FLAT:
        np.testing.assert_allclose(covariance, stats.dirichlet(np.ones(5)).cov(), rtol=0.01)


def test_moments_of_a_simplex_without_stated_bounds():
    free = Space.vector(["a", "b", "c"], constraint="simplex", law="normalised_uniform")
    mean, covariance = Prior.of(free).moments
    np.testing.assert_allclose(mean, 1 / 3)
    np.testing.assert_allclose(covariance, Prior.of(simplex(3)).moments[1])


def test_a_parameter_whose_bounds_meet_stays_there():
    prior = Prior.of(space((0.0, 1.0), (2.0, 2.0)))
    latent = prior.latent(np.array([[0.25, 2.0]]))
    assert np.isfinite(latent).all()
    np.testing.assert_allclose(prior.parameters(latent), [[0.25, 2.0]])


def test_in_words():
    assert MIXED.to_dict() == {
        "law": "uniform between the bounds",
        "normal": {"p1": {"mean": 0.0, "standard_deviation": 1.0}},
    }
    assert NORMALISED.to_dict()["law"] == "independent uniforms over their sum"
    assert FLAT.to_dict() == {"law": "uniform on the simplex", "normal": {}}


@pytest.mark.parametrize(
    ("given", "normal", "message"),
    [
        (box(2), {"p7": (0, 1)}, "no parameter 'p7' .* the names are p0, p1"),
        (box(2), {"p1": (0, 0)}, "positive standard deviation for the prior of p1, got 0 and 0"),
        (box(2), {"p1": (0, -1)}, "positive standard deviation for the prior of p1"),
        (box(2), {"p1": (0, np.nan)}, "positive standard deviation for the prior of p1"),
        (box(2), {"p1": (0, np.inf)}, "positive standard deviation for the prior of p1"),
        (box(2), {"p0": (np.nan, 1)}, "a mean and a positive standard deviation for the prior of p0"),
        (box(2), {"p1": (60, 1)}, "the prior of p1 has no mass between its bounds; widen it"),
        (unbounded(2), {"p0": (0, 1)}, "p1 has no bounds, so it needs a prior"),
        (space((0, np.inf)), {}, "p0 has no bounds, so it needs a prior"),
        (simplex(3), {"p0": (0.3, 0.1)}, "sum to one have the prior of their space; leave out `prior`"),
    ],
)
def test_bad_input_is_refused(given, normal, message):
    with pytest.raises(ValueError, match=message):
        Prior.of(given, normal)


def test_a_simplex_with_corners_cut_off_is_refused():
    cut = Space.vector(["a", "b"], lower=(0.1, 0.0), upper=(1.0, 1.0), constraint="simplex")
    with pytest.raises(ValueError, match="lower bounds of at most 0"):
        Prior.of(cut)
