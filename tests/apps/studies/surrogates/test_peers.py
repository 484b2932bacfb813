"""Peers fit what they can represent, and counts of polynomials are right."""

import itertools

import numpy as np
import pytest

from gnvpro.apps.studies.surrogates import peers

RNG = np.random.default_rng(0)
Y, AT = RNG.random((60, 3)), 0.05 + 0.9 * RNG.random((200, 3))


def linear(y):
    return np.stack([1 + y @ [1.0, -2.0, 0.5], 3 * y[:, 0]], axis=1)


def quadratic(y):
    return (1 + y[:, 0] * y[:, 2] - 2 * y[:, 1] ** 2)[:, None]


def smooth(y):
    return np.sin(2 * y[:, :1]) * np.exp(y[:, 1:2])


def step(y):
    return (y[:, :1] > 0.5) * 1.0


@pytest.mark.parametrize(
    ("method", "function", "most"),
    [
        ("ridge", linear, 1e-6),
        ("polynomials", quadratic, 1e-6),
        ("gp", smooth, 1e-3),
        pytest.param("trees", step, 0.35, marks=pytest.mark.long),
        pytest.param("adam", smooth, 0.05, marks=pytest.mark.exhaustive),
        pytest.param("kriging", smooth, 1e-2, marks=pytest.mark.long),
    ],
)
def test_a_peer_fits_what_it_is_made_for(method, function, most):
    predicted = peers.PEERS[method](Y, function(Y), 0)(AT)
    expected = function(AT)
    assert predicted.shape == expected.shape
    assert np.sqrt(((predicted - expected) ** 2).mean()) < most * expected.std()


def test_a_field_is_fitted_by_its_components():
    modes = np.sin(np.outer([1, 2], np.linspace(0, 3, 30)))
    predicted = peers.PEERS["polynomials"](Y, linear(Y) @ modes, 0)(AT)
    np.testing.assert_allclose(predicted, linear(AT) @ modes, atol=1e-6)


@pytest.mark.parametrize(("d", "degree", "norm"), [(3, 4, 1.0), (3, 5, 0.75), (4, 6, 0.5), (2, 3, 0.5)])
def test_polynomials_are_counted_as_they_are_listed(d, degree, norm):
    indices = np.array(list(itertools.product(range(degree + 1), repeat=d)), float)
    assert peers._count(d, degree, norm) == ((indices**norm).sum(1) <= degree**norm + 1e-9).sum()


def test_legendre_columns_are_orthonormal():
    u, w = np.polynomial.legendre.leggauss(8)
    grid = np.array(list(itertools.product((u + 1) / 2, repeat=2)))
    weights = np.prod(np.array(list(itertools.product(w / 2, repeat=2))), axis=1)
    columns = peers._legendre(grid, np.array([[0, 0], [1, 0], [0, 2], [2, 3]]))
    np.testing.assert_allclose((columns * weights[:, None]).T @ columns, np.eye(3), atol=1e-12)
