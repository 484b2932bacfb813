"""Priors by the laws of the space, the most probable point in their coordinates, and parameters with single values."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize

from gnvpro.apps.inversion.maximum_a_posteriori import find_minima
from gnvpro.apps.inversion.posterior.posterior import Posterior, Whitening
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.inversion.sampling.metropolis import sample_metropolis
from gnvpro.surrogate.laws import Choices, Dirichlet, Integers, JointNormal, Lognormal, LogUniform, Normal, Uniform
from gnvpro.surrogate.spaces import Space
from tests.apps.inversion.models import Analytic, Together, independent, matrix
from tests.calculus import assert_taylor

LAWS = {
    "k": Lognormal(0.2, 0.5),
    "shift": Normal(1, 2),
    "q": (0.5, 2.0),
    "lu": LogUniform(0.1, 10),
    ("a", "b"): JointNormal((0, 1), ((1, 0.5), (0.5, 2))),
    "g": stats.gamma(3),
}
SPACE = Space.of_laws(LAWS)


def test_the_prior_is_the_law_of_the_space():
    prior = Prior.of(SPACE)
    draws = prior.draw(np.random.default_rng(0), 20_000)
    for j, law in enumerate((stats.lognorm(0.5, scale=np.exp(0.2)), stats.norm(1, 2), stats.uniform(0.5, 1.5))):
        assert stats.kstest(draws[:, j], law.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(draws[:, 4:6].T)[0, 1] - 0.5 / np.sqrt(2)) < 0.03
    np.testing.assert_allclose(prior.density(6, np.array([1.0, 3.0])), stats.gamma(3).pdf([1, 3]))
    assert prior.density(4, np.array([0.0])) is None
    described = prior.to_dict()
    assert described["laws"]["k"] == {"law": "lognormal", "mean_of_log": 0.2, "standard_deviation_of_log": 0.5}
    assert set(described["laws"]) == {"k", "shift", "lu", "a, b", "g"}


def test_the_prior_of_a_log_uniform_space_is_log_uniform():
    space = Space.vector(["a"], lower=(0.1,), upper=(10.0,), law="log_uniform")
    draws = Prior.of(space).draw(np.random.default_rng(1), 20_000)[:, 0]
    assert stats.kstest(draws, stats.loguniform(0.1, 10).cdf).pvalue > 1e-3
    assert stats.kstest(draws, stats.uniform(0.1, 9.9).cdf).pvalue < 1e-9


def test_laws_given_to_the_inversion_count_in_place_of_those_of_the_space():
    prior = Prior.of(SPACE, {"k": stats.gamma(2), "q": Uniform(1, 1.5), "shift": (0, 0.1)})
    assert prior.changed == ("k", "q", "shift")
    draws = prior.draw(np.random.default_rng(2), 5000)
    assert stats.kstest(draws[:, 0], stats.gamma(2).cdf).pvalue > 1e-3
    assert 1 <= draws[:, 2].min() <= draws[:, 2].max() <= 1.5
    assert abs(draws[:, 1].std() - 0.1) < 0.01


@pytest.mark.parametrize(
    ("laws", "message"),
    [
        ({"q": Normal(0, 1)}, "the prior of q reaches from -inf to inf, expected one within 0.5 to 2"),
        ({"a": (0, 1)}, "a has its law together with others; leave out its prior"),
        ({"k": {"law": "cauchy"}}, "expected a law among"),
        ({"q": Uniform(1, 1)}, "the prior of q is the number 1; fix it"),
        ({"k": "wide"}, "expected a prior such as k="),
        ({"k": Dirichlet((1, 1))}, "expected a prior such as k="),
    ],
)
def test_priors_that_do_not_fit_are_refused(laws, message):
    with pytest.raises(ValueError, match=message):
        Prior.of(SPACE, laws)


def test_the_gradient_of_the_posterior_in_normal_variables():
    model = Together(SPACE, matrix(9, 7), bend=0.02)
    posterior = Posterior(Solves(model), np.arange(9.0), independent(9, 2.0), Prior.of(SPACE))
    z, direction = np.random.default_rng(3).standard_normal((2, 7))
    gradient = posterior.log_density_and_gradient(z[None])[1][0]
    assert_taylor(lambda at: posterior.log_density(at[None]), np.array([gradient @ direction]), z, direction)


def test_the_most_probable_point_is_that_of_the_coordinates_of_the_laws():
    """Against a minimisation of the same objective, written out; of the gamma law in its normal variable."""
    model = Together(SPACE, matrix(9, 7), bend=0.02)
    data = model.evaluate(np.array([[1.5, 0.0, 1.0, 2.0, 0.5, 0.5, 2.0]]))[0]
    posterior = Posterior(Solves(model), data, independent(9, 1.0), Prior.of(SPACE))
    found = find_minima(posterior, 4, 0)[0]
    factor = np.linalg.cholesky([[1, 0.5], [0.5, 2]])

    def parameters(x):
        a, b = np.array([0, 1]) + factor @ x[4:6]
        return np.array([np.exp(x[0]), x[1], x[2], np.exp(x[3]), a, b, stats.gamma(3).ppf(stats.norm.cdf(x[6]))])

    def objective(x):
        misfit = 0.5 * ((model.evaluate(parameters(x)[None])[0] - data) ** 2).sum()
        return misfit + 0.5 * (((x[0] - 0.2) / 0.5) ** 2 + ((x[1] - 1) / 2) ** 2 + (x[4:] ** 2).sum())

    bounds = [(None, None), (None, None), (0.5, 2.0), tuple(np.log([0.1, 10])), *[(None, None)] * 3]
    best = min(
        (minimize(objective, start, method="L-BFGS-B", bounds=bounds, options=dict(ftol=1e-14, gtol=1e-9))
         for start in (np.array([0.2, 1, 1, 0, 0, 0, 0]), np.array([0.4, 0, 1, 0.7, 0, 0, 0]))),
        key=lambda result: result.fun,
    )  # fmt: skip
    assert found.converged
    np.testing.assert_allclose(found.value, best.fun, rtol=1e-6)
    np.testing.assert_allclose(found.parameters, parameters(best.x), rtol=2e-3, atol=2e-3)
    assert np.isfinite(found.standard_deviations).all()


def test_a_prior_narrower_than_the_bounds_is_told():
    prior = Prior.of(SPACE, {"q": Uniform(1, 1.5)})
    assert prior.to_dict()["laws"]["q"] == {"law": "uniform", "lower": 1, "upper": 1.5}
    assert not prior.bounded[2]
    assert Prior.of(SPACE).bounded[2]
    cut = {"law": "truncated-normal", "mean": 1.0, "standard_deviation": 0.1, "lower": 0.9, "upper": 1.2}
    assert Prior.of(SPACE, {"q": cut}).to_dict()["laws"]["q"] == cut


@pytest.mark.parametrize("law", [(3, 1), Uniform(1.5, 1.7), Choices((1.0, 2.5)), Integers(3, 9), stats.poisson(1)])
def test_a_prior_of_single_values_is_among_them(law):
    with pytest.raises(ValueError, match=r"n has single values, integers .*; give its prior as|reaches from"):
        Prior.of(SINGLE, {"n": law})
    assert Prior.of(SINGLE, {"n": Choices((1, 3), (0.2, 0.8))}).single.tolist() == [True, False, True]


SINGLE = Space.of_laws({"n": Integers(0, 4), "x": Normal(0, 1), "c": Choices((1.0, 3.0), (0.9, 0.1))})


def exact_shares(data, size):
    """Posterior probabilities of n and c, x integrated out: c = n + x and c + x are measured, with errors."""
    shares = np.zeros((5, 2))
    for n in range(5):
        for k, (c, weight) in enumerate(((1.0, 0.9), (3.0, 0.1))):
            covariance = np.ones((2, 2)) + size**2 * np.eye(2)
            shares[n, k] = weight * stats.multivariate_normal([n, c], covariance).pdf(data)
    return shares / shares.sum()


def single_posterior(size=0.7):
    model = Analytic(SINGLE, np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]))
    return Posterior(Solves(model), np.array([2.3, 1.8]), independent(2, size), Prior.of(SINGLE))


def test_a_random_walk_has_the_probabilities_of_single_values():
    posterior = single_posterior()
    whitening = Whitening.at_mode(posterior, np.array([2.0, 0.3, 1.0]))
    start = np.tile(whitening.centre, (8, 1))
    chains = sample_metropolis(posterior, draws=2500, tune=300, seed=0, start=start, factor=whitening.factor, steps=6)
    assert chains.converged
    exact = exact_shares([2.3, 1.8], 0.7)
    for j, values in ((0, range(5)), (2, (1.0, 3.0))):
        found = np.array([(chains.pooled[:, j] == value).mean() for value in values])
        expected = exact.sum(axis=1 if j == 0 else 0)
        assert np.abs(found - expected).max() < 0.02, (found, expected)


def test_single_values_stay_at_those_of_the_start_and_cost_their_probability():
    minima = find_minima(single_posterior(), 32, 0)
    assert len(minima) > 4
    for minimum in minima:
        n, x, c = minimum.parameters
        assert SINGLE.contains(minimum.parameters[None])[0]
        data = ((np.array([2.3, 1.8]) - [n + x, x + c]) / 0.7) @ ((np.array([2.3, 1.8]) - [n + x, x + c]) / 0.7)
        expected = 0.5 * (data + x**2) - np.log(0.2) - np.log(0.9 if c == 1 else 0.1)
        np.testing.assert_allclose(minimum.value, expected, rtol=1e-9)
        # At its minimum by x, the others held.
        np.testing.assert_allclose(x, (2.3 - n + 1.8 - c) / (2 + 0.7**2), rtol=1e-6)
        np.testing.assert_allclose(minimum.standard_deviations[[0, 2]], 0)
        assert not minimum.at_bound.any()
