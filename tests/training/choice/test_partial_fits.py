"""Closed forms for targets that some samples lack: what a fit to the others alone gives."""

import numpy as np
import pytest

from gnvpro.training.choice.contenders import Problem
from gnvpro.training.choice.filling import filled
from gnvpro.training.choice.kernel_fits import Columns, _Likelihood, solve_at_centres, solve_kernel
from gnvpro.training.choice.partial_fits import fit_known, imputed, of_few_patterns
from tests.calculus import assert_taylor

N, K = 50, 5


def problem(seed=0, share=0.2):
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(-1, 1, (N, 2))
    targets = np.sin(inputs @ rng.normal(size=(2, K))) + 0.5
    missing = rng.random((N, K)) < share
    missing[:, 0] = False
    return inputs, targets, missing, rng


@pytest.mark.parametrize("with_penalty", [False, True])
def test_coefficients_and_residuals_left_out_are_those_of_the_samples_that_have_the_target(with_penalty):
    _, targets, missing, rng = problem()
    columns = rng.normal(size=(N, 4))
    penalty = 0.5 * np.eye(4) if with_penalty else None
    found = fit_known(columns, np.where(missing, np.nan, targets), penalty)
    below = columns[:0] if penalty is None else penalty
    for j in range(K):
        known = np.flatnonzero(~missing[:, j])

        def fitted(rows, j=j):
            right = np.append(targets[rows, j], np.zeros(len(below)))
            return np.linalg.lstsq(np.concatenate([columns[rows], below]), right, rcond=None)[0]

        np.testing.assert_allclose(found.coefficients[:, j], fitted(known), rtol=1e-10, atol=1e-12)
        for i in known[:3]:
            without = targets[i, j] - columns[i] @ fitted(known[known != i])
            assert found.left_out[i, j] == pytest.approx(without, rel=1e-9)
    assert not found.left_out[missing].any()


def test_columns_that_the_samples_of_a_target_do_not_determine_have_the_least_norm():
    _, targets, missing, rng = problem()
    columns = rng.normal(size=(N, 4))
    missing[:, 1] = np.arange(N) >= 3  # fewer samples than columns
    missing[:, 2] = True
    found = fit_known(columns, np.where(missing, np.nan, targets))
    np.testing.assert_allclose(found.coefficients[:, 1], np.linalg.pinv(columns[:3]) @ targets[:3, 1], rtol=1e-9)
    assert not found.coefficients[:, 2].any()
    expected = np.linalg.lstsq(columns, targets[:, 0], rcond=None)[0]
    np.testing.assert_allclose(found.coefficients[:, 0], expected, rtol=1e-9)


def test_a_process_with_gaps_is_that_of_the_rest():
    _, targets, missing, rng = problem()
    root = rng.normal(size=(N, N))
    precision = np.linalg.inv(root @ root.T + N * np.eye(N))
    covariance = np.linalg.inv(precision)
    values, own = imputed(precision, np.where(missing, np.nan, targets))
    for j in range(K):
        known = ~missing[:, j]
        alone = np.linalg.inv(covariance[np.ix_(known, known)])
        np.testing.assert_allclose((precision @ values[:, j])[known], alone @ targets[known, j], rtol=1e-8)
        np.testing.assert_allclose(own[known, j], np.diag(alone), rtol=1e-8)


@pytest.mark.parametrize("at_centres", [False, True])
def test_a_kernel_has_nothing_at_a_sample_without_the_target(at_centres):
    inputs, targets, missing, _ = problem()
    rng = np.random.default_rng(7)
    fixed, noise = np.stack([np.ones(N), inputs[:, 0]], 1), rng.uniform(0.5, 2, N)
    logarithms = np.array([0.0, 0.2, -8.0])

    def solved(rows, targets):
        columns = Columns(inputs[rows], targets[rows], fixed[rows], noise[rows], np.ones(targets.shape[1]))
        if at_centres:
            return solve_at_centres(columns, "gaussian", logarithms, inputs[:12])
        return solve_kernel(columns, "gaussian", logarithms)

    found, at = solved(np.arange(N), np.where(missing, np.nan, targets)), rng.uniform(-1, 1, (5, 2))
    beside = np.stack([np.ones(5), at[:, 0]], 1)
    for j in range(K):
        known = np.flatnonzero(~missing[:, j])
        alone = solved(known, targets[:, [j]])
        np.testing.assert_allclose(found.predict(at, beside)[:, [j]], alone.predict(at, beside), rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.left_out[known, j], alone.left_out[:, 0], rtol=1e-5, atol=1e-9)
        if not at_centres:
            assert not found.coefficients[missing[:, j], j].any()


def likelihood(rows, targets, importance, inputs):
    fixed = np.stack([np.ones(N), inputs[:, 0]], 1)
    return _Likelihood(Columns(inputs[rows], targets[rows], fixed[rows], np.ones(N)[rows], importance), "gaussian")


AT = np.array([0.1, 0.3, -7.0])


def test_the_likelihood_of_targets_with_gaps_is_the_sum_of_theirs():
    inputs, targets, missing, rng = problem()
    importance = rng.dirichlet(np.ones(K))
    found, _ = likelihood(slice(None), np.where(missing, np.nan, targets), importance, inputs)(AT)
    expected, prior = 0.0, 0.5 * (((AT[:-1] - np.log(3 * np.sqrt(2))) / 3) ** 2).sum()
    for j in range(K):
        alone, _ = likelihood(~missing[:, j], targets[:, [j]], np.ones(1), inputs)(AT)
        expected += importance[j] * (alone - prior)
    assert found == pytest.approx(expected + prior, rel=1e-9)


def test_the_gradient_of_that_likelihood():
    inputs, targets, missing, rng = problem()
    function = likelihood(slice(None), np.where(missing, np.nan, targets), np.full(K, 1 / K), inputs)
    direction, gradient = rng.normal(size=3), function(AT)[1]
    assert_taylor(lambda at: function(at)[0], gradient @ direction, AT, direction)


def test_few_patterns_stand_for_many():
    missing = np.array([[1, 0, 1, 0], [0, 1, 0, 0]], bool)
    kept = of_few_patterns(missing, np.array([0.2, 0.3, 0.2, 0.3]), 1)
    np.testing.assert_allclose(kept, [0.5, 0, 0.5, 0])
    np.testing.assert_allclose(of_few_patterns(missing, kept, 9), kept)


def test_what_is_filled_in_is_a_prediction_and_the_rest_stays():
    inputs, targets, missing, _ = problem(share=0.1)
    found = filled(inputs / np.sqrt(2), np.where(missing, np.nan, targets), np.ones(N))
    np.testing.assert_array_equal(found[~missing], targets[~missing])
    assert np.abs(found - targets)[missing].max() < 0.02 * targets.std()
    assert filled(inputs, targets, np.ones(N)) is targets


def test_errors_of_a_problem_are_those_of_the_targets_that_are_there():
    inputs, targets, missing, rng = problem()
    residuals = rng.normal(size=(N, K))
    at = Problem(inputs, targets, np.eye(K), np.ones(N), np.zeros(N, int), absent=missing)
    expected = sum((residuals[~missing[:, j], j] ** 2).mean() for j in range(K))
    assert at.error(residuals) == pytest.approx(np.sqrt(expected))
    spoiled = np.where(missing, 1e9, residuals)
    assert at.error(spoiled) == at.error(residuals)
    assert at.least_known == pytest.approx(1 - missing.mean(0).max())
    rows = np.arange(N) < 20
    of_rows = sum((residuals[:20][~missing[:20, j], j] ** 2).mean() for j in range(K))
    assert at.error_at(rows, residuals[rows]) == pytest.approx(np.sqrt(of_rows))
