"""Jacobians by differences, in the middle, at bounds, and on the simplex."""

import numpy as np

from gnvpro.apps.inversion.posterior.solves import difference_jacobian
from gnvpro.surrogate.laws import Dirichlet, Integers, Normal
from gnvpro.surrogate.spaces import Space

RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((5, 3))


def evaluate(y):
    assert (y >= 0).all()
    assert (y <= 1).all()
    return np.sin(y @ MATRIX.T) + (y**2).sum(axis=1, keepdims=True)


def exact(y):
    return np.cos(y @ MATRIX.T)[:, :, None] * MATRIX + 2 * y[:, None, :]


def test_in_a_box_and_at_its_bounds():
    space = Space.vector(["a", "b", "c"], lower=(0.0,) * 3, upper=(1.0,) * 3)
    y = np.array([[0.3, 0.5, 0.7], [0.0, 1.0, 0.5], [1.0, 1.0, 0.0]])
    found = difference_jacobian(evaluate, space, y)
    np.testing.assert_allclose(found, exact(y), atol=2e-9)
    assert np.abs(found - exact(y + 1e-4)).max() > 1e-5  # tells another point


def test_on_the_simplex_along_it():
    space = Space.vector(["a", "b", "c"], lower=(0.0,) * 3, upper=(1.0,) * 3, constraint="simplex")

    def on_simplex(y):
        np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-12)
        return evaluate(y)

    y = np.array([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    along = np.array([[0.5, -0.2, -0.3], [1.0, -1.0, 0.0]])
    found = difference_jacobian(on_simplex, space, y)
    np.testing.assert_allclose(found @ along.T, exact(y) @ along.T, atol=2e-9)


def test_without_bounds():
    space = Space.vector(["a"])
    found = difference_jacobian(lambda y: y**2, space, np.array([[30.0]]))
    np.testing.assert_allclose(found, [[[60.0]]], rtol=1e-8)


def test_shares_among_other_parameters_and_single_values():
    space = Space.of_laws({"x": Normal(), ("a", "b"): Dirichlet((1, 1)), "n": Integers(0, 3), "c": (0, 1)})
    matrix = np.random.default_rng(1).standard_normal((4, 5))

    def inside(y):
        assert space.contains(y).all()
        return np.sin(y @ matrix.T)

    y = np.array([[0.3, 0.2, 0.8, 2.0, 0.4], [-1.0, 0.0, 1.0, 0.0, 1.0]])
    found = difference_jacobian(inside, space, y, np.ones(5))
    expected = np.cos(y @ matrix.T)[:, :, None] * matrix
    for along in ([1.0, 0, 0, 0, 0], [0, 1.0, -1.0, 0, 0], [0, 0, 0, 0, 1.0], [0.5, -0.2, 0.2, 0, 3.0]):
        np.testing.assert_allclose(found @ along, expected @ along, atol=2e-9)
    assert not found[:, :, 3].any()
