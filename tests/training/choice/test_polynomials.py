"""The choice of the basis: leave-one-out against leaving one out, and what is chosen for known functions."""

import math

import numpy as np
import pytest
import torch

from gnvpro.surrogate.networks.polynomials import PolynomialBasis
from gnvpro.training.choice.polynomials import Slopes, choose_polynomials, fit_amplitude, leave_one_out_errors

RNG = np.random.default_rng(4)
Y = RNG.uniform([1.0, 0.2], [2.0, 1.6], (60, 2))


def relative(observables):
    return 1 / np.linalg.norm(observables, axis=1)


def test_leave_one_out_equals_leaving_one_out():
    y, c, weights = Y[:25], RNG.normal(size=(25, 3)), RNG.uniform(0.5, 2, 25)
    basis = PolynomialBasis((1.0, 0.2), (2.0, 1.6), (1.0, 1.5), 3.0, (1.0, 1.0))
    columns = np.concatenate([np.ones((25, 1)), basis(torch.from_numpy(y)).numpy()], 1)
    errors = leave_one_out_errors(basis, y, c, weights)
    assert list(errors) == [0.0, 1.0, 1.5, 2.0, 2.5, 3.0]
    for degree, error in errors.items():
        kept = 1 + PolynomialBasis(basis.lower, basis.upper, basis.weights, degree, basis.powers).n_terms
        squares = []
        for i in range(25):
            rest = np.delete(np.arange(25), i)
            scale = weights[rest, None]
            solution = np.linalg.lstsq(columns[rest, :kept] * scale, c[rest] * scale, rcond=None)[0]
            squares.append((weights[i] * (columns[i, :kept] @ solution - c[i])) ** 2)
        assert error == pytest.approx(math.sqrt(np.sum(squares, axis=1).mean()), rel=1e-9)


def test_a_polynomial_is_found_exactly():
    c = np.stack([Y[:, 0] ** 3 * Y[:, 1] + 1, Y[:, 0] - Y[:, 1] ** 2 + 4], 1)
    chosen = choose_polynomials(Y, c, relative(c))
    assert chosen.leave_one_out < 1e-12
    assert chosen.basis.powers == (1.0, 1.0)
    assert 0.05 * 60 <= chosen.basis.n_terms + 1 <= 0.75 * 60


def test_powers_are_found_where_they_matter():
    # Of 40 seeds one of which the search finds them exactly; of the others it comes within 5e-4.
    y = np.random.default_rng(18).uniform([0.2, 0.1], [2.0, 1.6], (90, 2))
    a, b = 1 / y[:, :1], np.sqrt(y[:, 1:])
    c = np.concatenate([a**2 + b**3, 2 + a * b**2 - a, 1 + b**5], 1)
    chosen = choose_polynomials(y, c, relative(c))
    assert chosen.leave_one_out < 1e-10
    assert all(power != 1 for power in chosen.basis.powers)
    plain = PolynomialBasis(chosen.basis.lower, chosen.basis.upper, (1.0, 1.0), 7.0, (1.0, 1.0))
    assert min(leave_one_out_errors(plain, y, c, relative(c)).values()) > 1e-3


def test_parameters_that_reach_zero_keep_their_first_power():
    y = np.abs(Y - Y.min(0))
    c = np.concatenate([np.sqrt(y), y + 1], 1)
    assert choose_polynomials(y, c, relative(c)).basis.powers == (1.0, 1.0)


def test_the_amplitude_takes_out_the_size():
    pattern = np.stack([np.ones(60), 0.2 * Y[:, 0]], 1)
    c = np.exp(4 * Y[:, :1] - 3 * Y[:, 1:] ** 2) * pattern / np.linalg.norm(pattern, axis=1, keepdims=True)
    amplitude = fit_amplitude(Y, np.linalg.norm(c, axis=1), (1.0, 1.0))
    ratio = amplitude(torch.from_numpy(Y)).numpy()[:, 0] / np.linalg.norm(c, axis=1)
    np.testing.assert_allclose(ratio, 1, rtol=1e-10)
    assert choose_polynomials(Y, c, relative(c)).amplitude is not None


def test_the_amplitude_is_left_out_where_it_cannot_be_fitted_or_does_not_help():
    c = np.stack([Y[:, 0] - Y[0, 0], Y[:, 1] - Y[0, 1]], 1)  # zero at the first sample
    assert fit_amplitude(Y, np.linalg.norm(c, axis=1), (1.0, 1.0)) is None
    assert choose_polynomials(Y, c, np.ones(60)).amplitude is None
    shifted = c + 1.0  # a polynomial, which no amplitude leaves one
    assert choose_polynomials(Y, shifted, relative(shifted)).amplitude is None


def test_no_basis_for_many_parameters_few_samples_or_a_constant_one():
    many = RNG.uniform(1, 2, (60, 6))
    constant = np.concatenate([Y, np.ones((60, 1))], 1)
    for y in (many, constant, Y[:3]):
        c = np.ones((len(y), 2))
        assert choose_polynomials(y, c, relative(c)) is None


@pytest.mark.parametrize("powers", [(1.0, 1.0), (0.5, -1.0)])
def test_leave_one_out_with_derivatives_leaves_out_the_derivatives_too(powers):
    rng = np.random.default_rng(2)
    y, dy = rng.uniform(1, 2, (20, 2)), rng.normal(size=(20, 2, 2))
    c, dc = np.exp(y @ np.ones((2, 1))), np.exp(y @ np.ones((2, 1)))[:, None] * (dy @ np.ones((2, 1)))
    weights, slopes = rng.uniform(0.5, 2, 20), Slopes(dy, dc)
    basis = PolynomialBasis((1.0, 1.0), (2.0, 2.0), (1.0, 1.0), 2.0, powers)
    error = leave_one_out_errors(basis, y, c, weights, slopes)[2.0]
    terms, step = (lambda at: np.append(np.ones((len(at), 1)), basis(torch.from_numpy(at)).numpy(), axis=1)), 1e-6
    tangents = np.stack([(terms(y + step * dy[:, k]) - terms(y - step * dy[:, k])) / (2 * step) for k in range(2)], 1)
    rows, scale = np.append(terms(y)[:, None], tangents, axis=1), weights[:, None] * np.array([1, 0.5**0.5, 0.5**0.5])
    targets = np.append(c[:, None], dc, axis=1)
    residuals = []
    for i in range(20):
        others = np.arange(20) != i
        columns, right = rows[others] * scale[others, :, None], targets[others] * scale[others, :, None]
        solution = np.linalg.lstsq(columns.reshape(-1, rows.shape[2]), right.reshape(-1, 1), rcond=None)[0]
        residuals.append(weights[i] * (c[i] - rows[i, 0] @ solution))
    assert error == pytest.approx(np.sqrt(np.mean(np.square(residuals))), rel=1e-6)


def test_derivatives_carry_more_terms_and_their_length_says_nothing():
    rng = np.random.default_rng(3)
    y, dy = rng.uniform(-1, 1, (40, 3)), rng.normal(size=(40, 3, 3))
    direction = np.array([[1.0], [0.6], [-0.8]])
    c, dc = np.exp(y @ direction), np.exp(y @ direction)[:, None] * (dy @ direction)
    alone = choose_polynomials(y, c, relative(c))
    lengths = 10 ** rng.uniform(-2, 2, (40, 3, 1))
    slopes, longer = Slopes.of(y, dy, dc), Slopes.of(y, lengths * dy, lengths * dc)
    chosen = choose_polynomials(y, c, relative(c), slopes)
    assert chosen.basis.n_terms > alone.basis.n_terms
    assert chosen.leave_one_out < 0.1 * alone.leave_one_out
    assert choose_polynomials(y, c, relative(c), longer).leave_one_out == pytest.approx(chosen.leave_one_out, rel=1e-6)
    assert Slopes.of(y, dy * np.array([1.0, 1.0, 0.0])[None, :, None], dc) is None
