"""Variances by maximum likelihood."""

import numpy as np
import pytest
from scipy.optimize import minimize

from gnvpro.training.fidelities.components import fit_components

RNG = np.random.default_rng(0)


def test_one_block_is_ridge_regression_at_the_maximum_of_the_likelihood():
    rng = np.random.default_rng(1)
    design = rng.standard_normal((30, 6))
    residuals = design @ rng.standard_normal((6, 4)) + 0.3 * rng.standard_normal((30, 4))

    def minus_likelihood(logarithms):
        noise, variance = np.exp(logarithms)
        covariance = noise * np.eye(30) + variance * design @ design.T
        _, logarithm = np.linalg.slogdet(covariance)
        return 4 * logarithm + np.trace(residuals.T @ np.linalg.solve(covariance, residuals))

    starts = [(a, b) for a in (-4.0, -1.0) for b in (-1.0, 1.0)]
    best = min((minimize(minus_likelihood, start, method="Nelder-Mead") for start in starts), key=lambda one: one.fun)
    noise, variance = np.exp(best.x)
    expected = np.linalg.solve(design.T @ design + noise / variance * np.eye(6), design.T @ residuals)
    np.testing.assert_allclose(fit_components([design], residuals)[0], expected, rtol=1e-2, atol=1e-3)


def test_what_lies_in_the_span_of_a_block_is_reproduced():
    design = RNG.standard_normal((20, 5))
    coefficients = RNG.standard_normal((5, 3))
    np.testing.assert_allclose(fit_components([design], design @ coefficients)[0], coefficients, rtol=1e-6, atol=1e-8)


def test_only_the_block_that_explains_enters():
    useful, useless = RNG.standard_normal((40, 3)), RNG.standard_normal((40, 8))
    residuals = useful @ RNG.standard_normal((3, 5)) + 0.01 * RNG.standard_normal((40, 5))
    assert list(fit_components([useless, useful], residuals)) == [1]


def test_noise_alone_is_given_to_no_block():
    coefficients = fit_components([RNG.standard_normal((40, 3))], RNG.standard_normal((40, 20)))
    assert all(np.abs(of).max() < 0.3 for of in coefficients.values())


def test_residuals_of_zero_need_nothing():
    assert fit_components([np.ones((4, 1))], np.zeros((4, 2))) == {}


@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_units_of_residuals_and_of_blocks_do_not_matter(factor):
    design, residuals = RNG.standard_normal((25, 4)), RNG.standard_normal((25, 3))
    residuals += design @ RNG.standard_normal((4, 3))
    one = fit_components([design], residuals)[0]
    np.testing.assert_allclose(fit_components([design], factor * residuals)[0] / factor, one, rtol=1e-6)
    np.testing.assert_allclose(fit_components([factor * design], residuals)[0] * factor, one, rtol=1e-6)
