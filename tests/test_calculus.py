"""The checkers fail on what is wrong: derivatives 0.1 % off, constants, adjoints of something else."""

import numpy as np
import pytest

from tests.calculus import assert_adjoint, assert_taylor

RNG = np.random.default_rng(11)
MATRIX = RNG.standard_normal((4, 3))
POINT, DIRECTION = RNG.standard_normal(3), RNG.standard_normal(3)


def curved(x):
    return np.sin(MATRIX @ x) + 10.0


def slope(x, d):
    return np.cos(MATRIX @ x) * (MATRIX @ d)


def test_taylor_accepts_the_derivative():
    assert_taylor(curved, slope(POINT, DIRECTION), POINT, DIRECTION)


def test_taylor_accepts_a_linear_function():
    assert_taylor(lambda x: MATRIX @ x, MATRIX @ DIRECTION, POINT, DIRECTION)


@pytest.mark.parametrize("factor", [1.001, 0.999, 0.0, -1.0])
def test_taylor_refuses_a_wrong_derivative(factor):
    with pytest.raises(AssertionError):
        assert_taylor(curved, factor * slope(POINT, DIRECTION), POINT, DIRECTION)
    with pytest.raises(AssertionError):
        assert_taylor(lambda x: MATRIX @ x, factor * (MATRIX @ DIRECTION), POINT, DIRECTION)


@pytest.mark.parametrize("component", range(4))
def test_taylor_refuses_one_wrong_component(component):
    wrong = slope(POINT, DIRECTION)
    wrong[component] *= 1.001
    with pytest.raises(AssertionError):
        assert_taylor(curved, wrong, POINT, DIRECTION)


def test_taylor_refuses_a_constant():
    with pytest.raises(AssertionError, match="does not change"):
        assert_taylor(lambda x: np.ones(2), np.zeros(2), POINT, DIRECTION)


def test_taylor_refuses_another_shape():
    with pytest.raises(AssertionError, match="shape"):
        assert_taylor(curved, slope(POINT, DIRECTION)[:, None], POINT, DIRECTION)


def test_adjoint_accepts_the_transpose():
    assert_adjoint(lambda d: MATRIX @ d, lambda w: MATRIX.T @ w, DIRECTION, RNG.standard_normal(4))


@pytest.mark.parametrize("factor", [1.001, 0.999, 0.0, -1.0])
def test_adjoint_refuses_a_wrong_transpose(factor):
    with pytest.raises(AssertionError):
        assert_adjoint(lambda d: MATRIX @ d, lambda w: factor * MATRIX.T @ w, DIRECTION, np.ones(4))


def test_adjoint_refuses_zero():
    with pytest.raises(AssertionError, match="nothing is tested"):
        assert_adjoint(lambda d: 0 * (MATRIX @ d), lambda w: 0 * (MATRIX.T @ w), DIRECTION, np.ones(4))
