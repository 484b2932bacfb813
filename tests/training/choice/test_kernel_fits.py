"""Kernels fitted in closed form: the likelihood's gradient, residuals left out, and what fixed columns reproduce."""

import numpy as np
import pytest

from gnvpro.training.choice.kernel_fits import (
    Columns,
    _Likelihood,
    fit_hyperparameters,
    solve_at_centres,
    solve_kernel,
)
from tests.calculus import assert_taylor

KERNELS = ("gaussian", "matern52")


def columns(n=30, d=3, noise=1e-3, degree=1):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((n, d))
    targets = np.stack([np.sin(inputs[:, 0]) + inputs[:, 1] ** 2, np.cos(inputs @ np.arange(1, d + 1))], 1)
    fixed = np.concatenate([np.ones((n, 1)), inputs], 1) if degree else np.ones((n, 1))
    targets = targets + noise * rng.standard_normal(targets.shape)
    return Columns(inputs, targets, fixed, rng.uniform(0.5, 2.0, n), np.array([0.7, 0.3]))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_gradient_of_the_likelihood_passes_the_taylor_test(kernel):
    likelihood, rng = _Likelihood(columns(), kernel), np.random.default_rng(1)
    at, along = np.append(rng.normal(0.5, 0.3, 3), -4.0), rng.standard_normal(4)
    _, gradient = likelihood(at)
    assert_taylor(lambda point: likelihood(point)[0], gradient @ along, at, along)
    with pytest.raises(AssertionError):
        assert_taylor(lambda point: likelihood(point)[0], 1.001 * gradient @ along, at, along)


@pytest.mark.parametrize("kernel", KERNELS)
def test_residuals_left_out_are_those_of_fits_without_the_sample(kernel):
    given, logarithms = columns(), np.array([0.3, 0.5, 0.7, -5.0])
    fit = solve_kernel(given, kernel, logarithms)
    for i in (0, 7, 29):
        others = np.arange(len(given.inputs)) != i
        without = solve_kernel(given.rows(others), kernel, logarithms)
        predicted = without.predict(given.inputs[[i]], given.fixed[[i]])
        np.testing.assert_allclose(fit.left_out[[i]], given.targets[[i]] - predicted, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
def test_with_a_centre_at_every_sample_the_penalised_form_is_the_same(kernel):
    given, logarithms = columns(), np.array([0.3, 0.5, 0.7, -3.0])
    one, other = solve_kernel(given, kernel, logarithms), solve_at_centres(given, kernel, logarithms, given.inputs)
    points = np.random.default_rng(2).standard_normal((5, 3))
    fixed = np.concatenate([np.ones((5, 1)), points], 1)
    np.testing.assert_allclose(one.predict(points, fixed), other.predict(points, fixed), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one.left_out, other.left_out, rtol=1e-4, atol=1e-6)


def test_what_fixed_columns_span_is_reproduced_exactly():
    given = columns()
    linear = given._replace(targets=given.fixed @ np.arange(8.0).reshape(4, 2))
    fit = solve_kernel(linear, "gaussian", np.array([0.3, 0.5, 0.7, -5.0]))
    far = 10 * np.random.default_rng(2).standard_normal((5, 3))
    fixed = np.concatenate([np.ones((5, 1)), far], 1)
    np.testing.assert_allclose(fit.predict(far, fixed), fixed @ np.arange(8.0).reshape(4, 2), rtol=1e-8)


def test_an_input_that_nothing_depends_on_gets_a_long_length_scale():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((60, 2))
    given = Columns(inputs, np.sin(2 * inputs[:, :1]), np.ones((60, 1)), np.ones(60), np.ones(1))
    logarithms = fit_hyperparameters(given, "gaussian", 60)
    assert logarithms[1] > logarithms[0] + 2
    assert fit_hyperparameters(given, "gaussian", 0, logarithms) is logarithms


def test_samples_given_twice_get_more_noise_instead_of_a_failure():
    given = columns(n=12)
    twice = Columns(*(np.concatenate([part, part]) for part in given[:4]), given.importance)
    fit = solve_kernel(twice, "gaussian", np.array([3.0, 3.0, 3.0, -30.0]))
    assert np.isfinite(fit.predict(given.inputs, given.fixed)).all()
