"""Kernels fitted in closed form: the likelihood's gradient, residuals left out, and what fixed columns reproduce."""

import numpy as np
import pytest
import torch

from gnvpro.surrogate.networks.kernel_tangents import KernelTangents, covariances
from gnvpro.surrogate.networks.kernels import own_norm
from gnvpro.surrogate.networks.tangents import features_and_tangents
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


def with_derivatives(n=14, d=3, r=2, noise=0.0):
    """Values and derivatives of two smooth functions, one after the other for every sample."""
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((n, d)), rng.standard_normal((n, r, d))
    mixing = np.array([[0.7, 0.2], [-0.4, 0.5], [0.3, 0.6]])
    targets = np.concatenate([np.sin(x @ mixing)[:, None], np.cos(x @ mixing)[:, None] * (v @ mixing)], 1)
    fixed = np.zeros((n, 1 + r, 1 + d))
    fixed[:, 0], fixed[:, 1:, 1:] = np.append(np.ones((n, 1)), x, axis=1), v
    targets = targets + noise * rng.standard_normal(targets.shape)
    rows = (part.reshape(n * (1 + r), -1) for part in (targets, fixed))
    return Columns(x, *rows, rng.uniform(0.5, 2.0, n * (1 + r)), np.array([0.7, 0.3]), v)


@pytest.mark.parametrize("kernel", KERNELS)
def test_joint_covariances_are_the_derivatives_of_kernels_along_directions(kernel):
    """Of the features about the centres, of which those of derivatives are features themselves."""
    given, lengths = with_derivatives(), torch.tensor([0.7, 1.1, 0.9], dtype=torch.float64)
    x, v = torch.from_numpy(given.inputs), torch.from_numpy(given.directions)
    network = KernelTangents(3, len(x), kernel, 2)
    theta = torch.cat([lengths.log(), x.reshape(-1), v.reshape(-1)]).double()
    points, along = x + 0.1, v.flip(0)
    expected = features_and_tangents(network, theta, points, along)
    parts = (part / lengths for part in (points, along, x, v))
    torch.testing.assert_close(covariances(kernel, *parts), expected, rtol=1e-9, atol=1e-11)
    joint = covariances(kernel, *(part / lengths for part in (x, v, x, v)))
    torch.testing.assert_close(joint, joint.t(), rtol=1e-12, atol=1e-13)
    assert float(torch.linalg.eigvalsh(joint).min()) > -1e-10


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_gradient_of_the_likelihood_of_derivatives_passes_the_taylor_test(kernel):
    likelihood, rng = _Likelihood(with_derivatives(noise=1e-2), kernel), np.random.default_rng(1)
    at, along = np.append(rng.normal(0.5, 0.3, 3), -4.0), rng.standard_normal(4)
    _, gradient = likelihood(at)
    assert_taylor(lambda point: likelihood(point)[0], gradient @ along, at, along)


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_interpolate_values_and_derivatives(kernel):
    given = with_derivatives()
    fit = solve_kernel(given, kernel, np.array([0.6, 0.6, 0.6, -22.0]))
    predicted = fit.predict(given.inputs, given.fixed, given.directions)
    np.testing.assert_allclose(predicted, given.targets, atol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_sample_is_left_out_with_its_derivatives(kernel):
    given, logarithms = with_derivatives(), np.array([0.3, 0.5, 0.7, -5.0])
    fit = solve_kernel(given, kernel, logarithms)
    for i in (0, 9):
        others = np.arange(len(given.inputs)) != i
        without, alone = solve_kernel(given.rows(others), kernel, logarithms), given.rows(~others)
        predicted = without.predict(alone.inputs, alone.fixed, alone.directions)
        np.testing.assert_allclose(fit.left_out[3 * i : 3 * i + 3], alone.targets - predicted, rtol=1e-7, atol=1e-9)


def test_directions_of_zeros_say_nothing_to_a_kernel():
    given, logarithms = with_derivatives(), np.array([0.3, 0.5, 0.7, -5.0])
    keep = np.array([1.0, 1.0, 0.0])[None, :, None]

    def without_second(rows):
        return (rows.reshape(14, 3, -1) * keep).reshape(rows.shape)

    def first(rows):
        return rows.reshape(14, 3, *rows.shape[1:])[:, :2].reshape(-1, *rows.shape[1:])

    known = given._replace(directions=given.directions * np.array([1.0, 0.0])[None, :, None])
    known = known._replace(targets=without_second(given.targets), fixed=without_second(given.fixed))
    fewer = Columns(
        given.inputs,
        *(first(rows) for rows in (given.targets, given.fixed, given.noise)),
        given.importance,
        given.directions[:, :1],
    )
    one, other = (solve_kernel(columns, "gaussian", logarithms) for columns in (known, fewer))
    points = np.random.default_rng(3).standard_normal((5, 3))
    fixed = np.append(np.ones((5, 1)), points, axis=1)
    np.testing.assert_allclose(one.predict(points, fixed), other.predict(points, fixed), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_covariance_of_kernels_is_that_of_values_and_derivatives_at_their_centres(kernel):
    network = KernelTangents(3, 5, kernel, 2)
    theta = network.initial(1)
    _, centres, directions = network.unpack_directions(theta)
    covariance = network.covariance(theta).view(5, 3, 15)
    torch.testing.assert_close(covariance[:, 0], network.bind(theta)(centres))
    step = 1e-5
    for j in range(2):
        ahead, behind = (network.bind(theta)(centres + sign * step * directions[:, j]) for sign in (1, -1))
        torch.testing.assert_close(covariance[:, 1 + j], (ahead - behind) / (2 * step), rtol=1e-4, atol=1e-6)
    square = covariance.reshape(15, 15)
    torch.testing.assert_close(square, square.t())
    norm = own_norm(network, theta)
    np.testing.assert_allclose(norm.T @ square.numpy() @ norm, np.eye(15), atol=1e-4)
