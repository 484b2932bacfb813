"""Most probable points against scipy's, with bounds that hold and bounds that do not, on the simplex, of several minima."""

import warnings

import numpy as np
import pytest
from scipy.optimize import least_squares, minimize

from gnvpro.apps.inversion.maximum_a_posteriori import find_minima
from gnvpro.apps.inversion.posterior.posterior import ErrorModel, Posterior
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.spaces import Space
from tests.apps.inversion.models import (
    Analytic,
    Together,
    box,
    correlated,
    exact,
    independent,
    matrix,
    normal_prior,
    simplex,
    synthetic,
    unbounded,
)


def reference(posterior, start):
    """scipy's trust region on the same residuals."""
    prior = posterior.prior
    normal = prior.coordinates.normal

    def residuals(y):
        data = posterior.residuals(posterior.solves.evaluate(y[None]))[0]
        return np.concatenate(
            [data, (y - prior.coordinates.mean)[normal] / prior.coordinates.standard_deviation[normal]]
        )

    return least_squares(residuals, start, bounds=(prior.lower, prior.upper), xtol=1e-14, ftol=1e-14, gtol=1e-14)


@pytest.mark.parametrize("noise", [independent(9), correlated(9)], ids=["independent", "correlated"])
@pytest.mark.parametrize("truth", [[0.2, -0.3, 0.5, 0.1], [1.3, -0.3, -1.4, 0.1]], ids=["inside", "bounds hold"])
def test_as_scipy_finds_it(truth, noise):
    model, prior = Together(box(4), matrix(9, 4), bend=0.05), Prior.of(box(4))
    posterior = synthetic(model, np.array(truth), noise, prior)
    best = find_minima(posterior, 4, 0)[0]
    expected = reference(posterior, np.zeros(4))
    np.testing.assert_allclose(best.parameters, expected.x, atol=2e-6)
    np.testing.assert_allclose(best.value, expected.cost, rtol=1e-9)
    np.testing.assert_allclose(best.misfit, best.value)
    assert best.converged
    assert best.at_bound.tolist() == (np.abs(expected.x) > 1 - 1e-6).tolist()
    assert best.at_bound.any() == (max(truth) > 1)
    np.testing.assert_allclose(best.covariance, np.linalg.inv(expected.jac.T @ expected.jac), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("space", [box(4, -1, 1), unbounded(4), Space.vector(list("abcd"), lower=(0.0,) * 4)])
def test_normal_priors_bounded_or_not(space):
    prior = normal_prior(space, 0.4, 0.3)
    posterior = synthetic(
        Together(space, matrix(3, 4), bend=0.1), np.array([0.9, -0.5, 0.4, 1.2]), independent(3), prior
    )
    posterior = posterior.with_error(ErrorModel.learned(np.random.default_rng(1).standard_normal((8, 3))))
    best = find_minima(posterior, 4, 0)[0]
    expected = reference(posterior, np.full(4, 0.4))
    np.testing.assert_allclose(best.value, expected.cost, rtol=1e-9)
    np.testing.assert_allclose(best.parameters, expected.x, atol=2e-6)
    assert best.misfit < best.value - 0.1


def test_some_parameters_normal_and_some_uniform():
    space = Space.vector(["a", "b"], lower=(-1.0, -np.inf), upper=(1.0, np.inf))
    posterior = synthetic(
        Analytic(space, matrix(4, 2)), np.array([0.4, 3.0]), independent(4), Prior.of(space, {"b": (2, 1)})
    )
    best = find_minima(posterior, 2, 0)[0]
    np.testing.assert_allclose(best.parameters, reference(posterior, np.zeros(2)).x, atol=5e-6)


def test_laplace_of_a_linear_problem_is_exact():
    prior = normal_prior(unbounded(5), 0.3, 2.0)
    model = Analytic(prior.space, matrix(4, 5), shift=0.7)  # fewer observations than parameters
    posterior = synthetic(model, np.full(5, 0.5), correlated(4), prior)
    found = find_minima(posterior, 3, 0)
    mean, covariance = exact(model, posterior, 0.3, 2.0)
    assert len(found) == 1
    assert found[0].starts == 3
    np.testing.assert_allclose(found[0].parameters, mean, atol=1e-6)
    np.testing.assert_allclose(found[0].covariance, covariance, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found[0].standard_deviations, np.sqrt(np.diagonal(covariance)), rtol=1e-8)


def _on_simplex(posterior):
    """scipy's sequential quadratic programming, the law of the parameters as the normal one of its moments."""
    prior, n = posterior.prior, posterior.prior.size
    mean, covariance = prior.moments
    precision = np.linalg.pinv(covariance, rcond=1e-10, hermitian=True)

    unit = posterior.noise.standard_deviations.max() ** 2  # else the search ends where it begins

    def objective(y):
        misfit = float(posterior.misfit(posterior.solves.evaluate(y[None]))[0])
        return unit * (misfit + 0.5 * float((y - mean) @ precision @ (y - mean)))

    def slope(y):
        observables = posterior.solves.evaluate(y[None])
        return unit * (posterior.solves.vjp(y[None], posterior.weights(observables))[0] + precision @ (y - mean))

    found = minimize(
        objective,
        mean,
        jac=slope,
        method="SLSQP",
        bounds=[(0, 1)] * n,
        constraints={"type": "eq", "fun": lambda y: y.sum() - 1, "jac": lambda y: np.ones(n)},
        options={"ftol": 1e-15, "maxiter": 500},
    )
    return found.x, found.fun / unit


@pytest.mark.parametrize("law", ["normalised_uniform", "uniform"])
@pytest.mark.parametrize("n", [3, 12])
@pytest.mark.parametrize("size", [0.3, 0.003])
def test_on_the_simplex_as_scipy_finds_it(law, n, size):
    prior = Prior.of(simplex(n, law))
    truth = prior.draw(np.random.default_rng(2), 1)[0]
    truth[: n // 3] = 0.0
    model = Together(prior.space, matrix(8, n), bend=0.2)
    posterior = synthetic(model, truth / truth.sum(), independent(8, size), prior)
    best, (expected, value) = find_minima(posterior, 3, 0)[0], _on_simplex(posterior)
    np.testing.assert_allclose(best.parameters.sum(), 1, rtol=1e-12)
    assert best.parameters.min() >= 0
    assert best.value <= value * (1 + 1e-8)
    np.testing.assert_allclose(best.value, value, rtol=1e-5)
    np.testing.assert_allclose(best.parameters, expected, atol=1e-4)
    assert best.converged
    assert best.iterations < 30
    np.testing.assert_allclose(best.covariance.sum(axis=1), 0, atol=1e-10 * np.abs(best.covariance).max() + 1e-15)


def test_laplace_on_the_simplex_is_exact_along_it():
    prior = Prior.of(simplex(4))
    model = Analytic(prior.space, matrix(6, 4))
    posterior = synthetic(model, np.full(4, 0.25), independent(6, 0.01), prior)
    best = find_minima(posterior, 2, 0)[0]
    # The last one is one less the others: three free parameters.
    along = np.concatenate([np.eye(3), -np.ones((1, 3))])
    design = model.matrix @ along / 0.01
    free = np.linalg.inv(design.T @ design + np.linalg.inv(prior.moments[1][:3, :3]))
    np.testing.assert_allclose(best.covariance, along @ free @ along.T, rtol=1e-6, atol=1e-12)


class Square:
    """c = (a², b): two values of a give the same, unless the prior knows better."""

    parameters = Space.vector(["a", "b"], lower=(-2.0, -2.0), upper=(2.0, 2.0), law="uniform")
    observables = Space.vector(["c", "d"], axis="observable")

    def evaluate(self, y):
        return y ** [2, 1]

    def jvp(self, y, dy):
        return dy * np.stack([2 * y[:, 0], np.ones(len(y))], axis=1)

    vjp = jvp


def test_all_minima_are_found():
    posterior = Posterior(Solves(Square()), np.array([1.44, 0.5]), independent(2, 0.01), Prior.of(Square.parameters))
    found = find_minima(posterior, 16, 0)
    assert len(found) == 2
    assert found[0].starts + found[1].starts == 16
    assert min(found[0].starts, found[1].starts) > 3
    np.testing.assert_allclose(sorted(one.parameters[0] for one in found), [-1.2, 1.2], atol=1e-6)
    np.testing.assert_allclose([one.parameters[1] for one in found], 0.5, atol=1e-6)
    biased = Prior.of(Square.parameters, {"a": (0.6, 0.7)})
    found = find_minima(Posterior(posterior.solves, posterior.data, posterior.noise, biased), 16, 0)
    assert len(found) == 2
    assert found[0].value < found[1].value - 1
    np.testing.assert_allclose([one.parameters[0] for one in found], [1.2, -1.2], atol=1e-3)


def test_the_same_seed_finds_the_same_and_starts_may_be_given():
    posterior = Posterior(Solves(Square()), np.array([1.44, 0.5]), independent(2, 0.01), Prior.of(Square.parameters))
    for one, other in zip(find_minima(posterior, 4, 3), find_minima(posterior, 4, 3), strict=True):
        np.testing.assert_array_equal(one.parameters, other.parameters)
    (only,) = find_minima(posterior, 0, 0, at=np.array([[-1.0, 0.0]]))
    np.testing.assert_allclose(only.parameters, [-1.2, 0.5], atol=1e-6)
    with pytest.raises(ValueError, match="at least one start"):
        find_minima(posterior, 0, 0)


def test_any_number_of_starts_is_asked_for_without_a_warning():
    posterior = Posterior(Solves(Square()), np.array([1.44, 0.5]), independent(2, 0.01), Prior.of(Square.parameters))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find_minima(posterior, 3, 0)


def test_where_the_model_fails_is_avoided():
    space = box(2)
    kind = {"bend": 0.05, "fails": lambda y: y[:, 0] > 0.6}
    posterior = synthetic(
        Together(space, matrix(5, 2), bend=0.05), np.array([0.5, -0.2]), independent(5), Prior.of(space)
    )
    ill = Posterior(Solves(Together(space, matrix(5, 2), **kind)), posterior.data, posterior.noise, posterior.prior)
    best = find_minima(ill, 8, 0)[0]
    np.testing.assert_allclose(best.parameters, find_minima(posterior, 8, 0)[0].parameters, atol=1e-6)
    assert best.starts < 8, "some starts are where it fails"
    with pytest.raises(NumericalFailure, match="could be solved at none of 2 starts"):
        find_minima(ill, 0, 0, at=np.array([[0.9, 0.0], [0.8, 0.1]]))


def test_a_minimum_behind_a_failure_ends_before_it():
    space = box(2)
    model = Together(space, np.eye(2), fails=lambda y: y[:, 0] > 0.5)
    posterior = Posterior(Solves(model), np.array([0.8, 0.1]), independent(2), Prior.of(space))
    (best,) = find_minima(posterior, 0, 0, at=np.zeros((1, 2)))
    assert 0.3 < best.parameters[0] <= 0.5


def test_what_nothing_is_known_of_is_said_to_be_wide_and_one_minimum_stays_one():
    space = box(3)
    design = matrix(5, 3)
    design[:, 2] = 0.0  # no observation knows of the third
    posterior = synthetic(Analytic(space, design), np.array([0.2, 0.1, 0.0]), independent(5), Prior.of(space))
    found = find_minima(posterior, 6, 0)
    assert len(found) == 1
    assert found[0].standard_deviations[2] > 100
    np.testing.assert_allclose(
        found[0].covariance[:2, :2], np.linalg.inv(design[:, :2].T @ design[:, :2]) * 0.01, rtol=1e-8
    )


def test_bounds_that_meet_hold():
    space = Space.vector(["a", "b", "c"], lower=(-1.0, 0.3, -1.0), upper=(1.0, 0.3, 1.0))
    posterior = synthetic(Analytic(space, matrix(5, 3)), np.array([0.2, 0.3, 0.0]), independent(5), Prior.of(space))
    best = find_minima(posterior, 2, 0)[0]
    assert best.parameters[1] == 0.3
    assert best.at_bound.tolist() == [False, True, False]
    free = posterior.data - 0.3 * matrix(5, 3)[:, 1]
    expected = np.linalg.lstsq(matrix(5, 3)[:, [0, 2]], free)[0]
    np.testing.assert_allclose(best.parameters[[0, 2]], expected, atol=1e-6)


def test_few_solves_are_spent_on_the_last_digits():
    prior = Prior.of(simplex(12))
    truth = prior.draw(np.random.default_rng(2), 1)[0]
    posterior = synthetic(Together(prior.space, matrix(20, 12), bend=0.2), truth, independent(20, 0.003), prior)
    posterior.solves.evaluated = 0
    (best,) = find_minima(posterior, 0, 0, at=np.full((1, 12), 1 / 12))
    # A step is one evaluation and one linearization, and a few are refused.
    assert posterior.solves.evaluated <= 2 * best.iterations + 4
