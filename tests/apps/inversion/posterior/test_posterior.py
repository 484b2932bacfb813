"""Misfit, density and their derivatives; counting, failed solves."""

import numpy as np
import pytest

from gnvpro.apps.inversion.posterior.observations import Noise
from gnvpro.apps.inversion.posterior.posterior import ErrorModel, Posterior
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from tests.apps.inversion.models import (
    Analytic,
    Backwards,
    Together,
    box,
    correlated,
    covariance,
    independent,
    matrix,
    normal_prior,
    simplex,
    unbounded,
)
from tests.calculus import assert_taylor

M, N = 7, 3


def posterior_by(kind=Analytic, prior=None, noise=None, missing=(), error=False, **given):
    """A posterior with any of its parts."""
    prior = prior or Prior.of(box(N))
    rng = np.random.default_rng(0)
    model = kind(prior.space, matrix(M, N), bend=0.2, **given)
    data = rng.standard_normal(M)
    data[list(missing)] = np.nan
    posterior = Posterior(Solves(model), data, noise or independent(M), prior)
    if error:
        differences = 2 * rng.standard_normal((6, posterior.n_data)) + 1
        posterior = posterior.with_error(ErrorModel.learned(differences))
    return posterior


QUESTIONS = {
    "box": lambda kind: posterior_by(kind),
    "covariance": lambda kind: posterior_by(kind, noise=correlated(M)),
    "missing": lambda kind: posterior_by(kind, noise=correlated(M), missing=(1, 4)),
    "error": lambda kind: posterior_by(kind, error=True),
    "all": lambda kind: posterior_by(kind, noise=correlated(M), missing=(0,), error=True),
    "normal": lambda kind: posterior_by(kind, normal_prior(unbounded(N), 0.5, 2.0), correlated(M)),
    "simplex": lambda kind: posterior_by(kind, Prior.of(simplex(N)), error=True),
    "flat simplex": lambda kind: posterior_by(kind, Prior.of(simplex(N, "uniform")), correlated(M), (2,)),
}


@pytest.mark.parametrize("kind", [Analytic, Together, Backwards])
@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS.keys())
def test_gradient_of_the_log_density(ask, kind):
    posterior = ask(kind)
    z, direction = np.random.default_rng(1).standard_normal((2, N))
    value, gradient = posterior.log_density_and_gradient(z[None])
    np.testing.assert_allclose(value, posterior.log_density(z[None]), rtol=1e-13)
    assert_taylor(lambda at: posterior.log_density(at[None])[0], gradient[0] @ direction, z, direction)
    with pytest.raises(AssertionError):
        assert_taylor(lambda at: posterior.log_density(at[None])[0], 1.001 * gradient[0] @ direction, z, direction)


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS.keys())
@pytest.mark.parametrize("kind", [Analytic, Together])
def test_sensitivity_is_the_derivative_of_the_residuals(ask, kind):
    posterior = ask(kind)
    rng = np.random.default_rng(2)
    y, direction = posterior.prior.parameters(rng.standard_normal((1, N)))[0], rng.standard_normal(N)
    observables, jacobian = posterior.solves.linearize(y[None])
    np.testing.assert_array_equal(observables, posterior.solves.evaluate(y[None]))
    assert_taylor(
        lambda at: posterior.residuals(posterior.solves.evaluate(at[None]))[0],
        posterior.sensitivity(jacobian[0]) @ direction,
        y,
        direction,
    )


def test_misfit_is_that_of_the_normal_law():
    posterior = posterior_by(noise=correlated(M), missing=(1, 4))
    y = posterior.prior.parameters(np.random.default_rng(3).standard_normal((5, N)))
    there = np.array([0, 2, 3, 5, 6])
    apart = posterior.solves.evaluate(y)[:, there] - posterior.data[there]
    inverse = np.linalg.inv(covariance(M)[np.ix_(there, there)])
    expected = 0.5 * np.einsum("ni,ij,nj->n", apart, inverse, apart)
    np.testing.assert_allclose(posterior.misfit(posterior.solves.evaluate(y)), expected, rtol=1e-10)
    assert posterior.n_data == 5


def test_the_model_error_is_a_bias_and_wider_noise():
    posterior = posterior_by()
    differences = np.random.default_rng(4).standard_normal((40, M)) * np.linspace(0.1, 3, M) + 0.5
    found = posterior.with_error(ErrorModel.learned(differences)).misfit(posterior.data[None] + 1.0)
    # In units of the noise: accurate = cheap + bias, and the variances add.
    apart = 1.0 / 0.1 + differences.mean(axis=0)
    wide = np.eye(M) + np.cov(differences.T)
    np.testing.assert_allclose(found, 0.5 * apart @ np.linalg.solve(wide, apart), rtol=1e-10)


def test_whitened_knows_no_model_error():
    plain, wide = posterior_by(), posterior_by(error=True)
    observables = plain.solves.evaluate(np.zeros((2, N)))
    np.testing.assert_array_equal(plain.whitened(observables), wide.whitened(observables))
    assert np.abs(plain.residuals(observables) - wide.residuals(observables)).max() > 0.1


@pytest.mark.parametrize("kind", [Analytic, Together, Backwards])
@pytest.mark.parametrize("noise", [independent(M), correlated(M)], ids=["independent", "correlated"])
def test_a_failed_solve_has_no_likelihood_and_spoils_no_other(kind, noise):
    z = np.random.default_rng(5).standard_normal((4, N))
    z[1, 0], z[[0, 2, 3], 0] = 2.0, -0.5
    well, ill = posterior_by(kind, noise=noise), posterior_by(kind, noise=noise, fails=lambda y: y[:, 0] > 0.5)
    density, gradient = ill.log_density_and_gradient(z)
    expected, slope = well.log_density_and_gradient(z)
    assert density[1] == -np.inf
    np.testing.assert_array_equal(density[[0, 2, 3]], expected[[0, 2, 3]])
    np.testing.assert_array_equal(gradient[[0, 2, 3]], slope[[0, 2, 3]])
    assert ill.solves.failed == 1
    assert ill.log_density(z)[1] == -np.inf
    assert ill.solves.failed == 2
    assert well.solves.failed == 0


def test_what_does_not_fit_together_is_refused():
    model, prior = Analytic(box(N), matrix(M, N)), Prior.of(box(N))
    with pytest.raises(ValueError, match="expected 7 observations and their noise"):
        Posterior(Solves(model), np.zeros(6), independent(M), prior)
    with pytest.raises(ValueError, match="expected 7 observations and their noise"):
        Posterior(Solves(model), np.zeros(M), independent(6), prior)
    with pytest.raises(ValueError, match="all values are missing"):
        Posterior(Solves(model), np.full(M, np.nan), independent(M), prior)


@pytest.mark.parametrize(("n", "m"), [(2, 5), (3, 6), (4, 6), (30, 6), (200, 50)])
def test_whitening_of_the_model_error_is_the_inverse_root(n, m):
    rng = np.random.default_rng(n)
    differences = rng.standard_normal((n, m)) * np.linspace(0.05, 4, m)
    error = ErrorModel.learned(differences)
    spread = np.cov(differences.T) if n >= 4 else np.zeros((m, m))
    values, vectors = np.linalg.eigh(spread)
    order = np.argsort(values)[::-1][:32]
    kept = (vectors[:, order] * values[order]) @ vectors[:, order].T
    values, vectors = np.linalg.eigh(np.eye(m) + kept)
    dense = (vectors / np.sqrt(values)) @ vectors.T
    np.testing.assert_allclose(error.whiten(np.eye(m)), dense, atol=2e-6)
    np.testing.assert_allclose(error.mean, differences.mean(axis=0))
    np.testing.assert_allclose(error.size() ** 2, ((error.mean**2).sum() + np.trace(kept)) / m, rtol=1e-5)


def test_noise_of_no_observation_does_not_matter():
    data = np.array([1.0, np.nan, 2.0])
    model, prior = Analytic(box(2), matrix(3, 2)), Prior.of(box(2))
    first, second = (
        Posterior(Solves(model), data, Noise(np.array([0.1, size, 0.2])), prior).log_density(np.ones((1, 2)))
        for size in (1.0, 1e-6)
    )
    np.testing.assert_array_equal(first, second)
