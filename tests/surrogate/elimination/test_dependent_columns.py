"""The last layer where features are dependent: of minimum norm, however the dependence hides."""

import math

import numpy as np
import pytest
import torch

from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer

torch.set_default_dtype(torch.float64)


def kahan(n, angle):
    """Upper triangle with an ordinary diagonal and a smallest singular value of rounding (Kahan 1966)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    return torch.diag(sine ** torch.arange(n)) @ (torch.eye(n) - cosine * torch.triu(torch.ones(n, n), 1))


def features_and_targets(triangle, n_samples):
    """Features whose R is the triangle; they are orthogonal to the column of ones, the bias."""
    generator = torch.Generator().manual_seed(0)
    columns = torch.randn(n_samples, len(triangle), generator=generator)
    basis = torch.linalg.qr(columns - columns.mean(0))[0]
    return basis @ triangle, torch.randn(n_samples, 3, generator=generator)


@pytest.mark.parametrize(("n", "angle"), [(90, 1.2), (120, 1.2), (60, 1.0)])
@pytest.mark.parametrize("unit", [1.0, 1e-13, 1e13])
def test_a_rank_that_the_diagonal_of_r_hides_is_seen(n, angle, unit):
    features, targets = features_and_targets(kahan(n, angle), 2 * n)
    diagonal = torch.linalg.qr(features)[1].diagonal().abs()
    singular = torch.linalg.svdvals(features)
    assert diagonal.min() > 1e-5 * diagonal.max()
    assert singular[-1] < 1e-15 * singular[0]
    solution = LeastSquaresLayer(targets, alpha_w=0.0).solve(features * unit)
    expected = np.linalg.lstsq(features.numpy(), (targets - targets.mean(0)).numpy(), rcond=1e-13)[0]
    np.testing.assert_allclose(solution.weights.numpy() * unit, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    assert torch.linalg.vector_norm(solution.weights) * unit < 1e6


def test_columns_of_full_rank_are_solved_by_qr_and_repeated_ones_share_their_weight():
    features, targets = features_and_targets(torch.eye(4), 30)
    solution = LeastSquaresLayer(targets, alpha_w=0.0).solve(features)
    torch.testing.assert_close(solution.weights, features.t() @ (targets - targets.mean(0)))
    twice = LeastSquaresLayer(targets, alpha_w=0.0).solve(torch.cat([features, features], 1))
    torch.testing.assert_close(twice.weights, torch.cat([solution.weights, solution.weights]) / 2)


def test_features_that_overflowed_give_a_value_that_is_not_finite():
    features, targets = features_and_targets(torch.eye(4), 30)
    features[3, 2] = torch.inf
    assert not torch.isfinite(LeastSquaresLayer(targets).solve(features).value)
