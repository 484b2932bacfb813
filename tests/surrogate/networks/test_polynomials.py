"""Polynomial terms against numpy's Chebyshev polynomials, and their derivatives against finite differences."""

import itertools
import json

import numpy as np
import pytest
import torch
from numpy.polynomial.chebyshev import chebval

from gnvpro.surrogate.networks.polynomials import Amplitude, PolynomialBasis, chebyshev

LOWER, UPPER = (0.5, 0.1, -1.0), (1.5, 0.9, 2.0)
PLAIN = PolynomialBasis(LOWER, UPPER, (1.0, 1.5, 2.0), 5.0, (1.0, 1.0, 1.0))
BENT = PolynomialBasis(LOWER, UPPER, (1.0, 1.5, 2.0), 5.0, (-1.0, 0.5, 1.0))
POINTS = np.random.default_rng(0).uniform(LOWER, UPPER, (30, 3))


def expected_terms(basis, y):
    """Every product of Chebyshev polynomials whose weighted degree is allowed, by numpy."""
    powers = np.array(basis.powers)
    low, high = np.array(basis.lower) ** powers, np.array(basis.upper) ** powers
    x = (2 * y**powers - low - high) / (high - low)
    kept = [k for k in itertools.product(range(6), repeat=3) if 0 < np.dot(k, basis.weights) <= basis.degree]
    return {k: np.prod([chebval(x[:, j], np.eye(6)[k[j]]) for j in range(3)], axis=0) for k in kept}


@pytest.mark.parametrize("basis", [PLAIN, BENT], ids=["plain", "powers"])
def test_terms_are_products_of_chebyshev_polynomials(basis):
    expected = expected_terms(basis, POINTS)
    assert {tuple(k) for k in basis.exponents.tolist()} == expected.keys()
    assert basis.n_terms == len(expected)
    terms = basis(torch.as_tensor(POINTS)).numpy()
    for k, values in zip(basis.exponents.tolist(), terms.T, strict=True):
        np.testing.assert_allclose(values, expected[tuple(k)], rtol=1e-12, atol=1e-13)


def test_chebyshev_doubling_is_accurate_to_high_degree_and_beyond_the_bounds():
    x = np.linspace(-1.1, 1.1, 41)
    table = chebyshev(torch.as_tensor(x)[:, None], 40)[:, :41, 0].numpy()
    expected = np.stack([chebval(x, np.eye(41)[k]) for k in range(41)], 1)
    np.testing.assert_allclose(table, expected, rtol=1e-11, atol=1e-12)


def test_a_smaller_degree_is_a_prefix():
    smaller = PolynomialBasis(LOWER, UPPER, PLAIN.weights, 3.5, PLAIN.powers)
    np.testing.assert_array_equal(smaller.exponents, PLAIN.exponents[: smaller.n_terms])
    assert 0 < smaller.n_terms < PLAIN.n_terms


@pytest.mark.parametrize("basis", [PLAIN, BENT], ids=["plain", "powers"])
def test_derivatives_by_autograd_and_by_torch_func(basis):
    y = torch.tensor([LOWER, UPPER, [1.0, 0.3, 0.1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(basis, (y,))
    amplitude = Amplitude(basis, tuple(np.linspace(0.1, 0.3, basis.n_terms + 1)))
    assert torch.autograd.gradcheck(amplitude, (y,))
    direction = torch.tensor([[0.3, -0.2, 0.5]] * 3, dtype=torch.float64)
    _, change = torch.func.jvp(basis, (y.detach(),), (direction,))
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: basis(row[None])[0]))(y.detach())
    torch.testing.assert_close(change, torch.einsum("nti,ni->nt", jacobian, direction), rtol=1e-11, atol=1e-11)


def test_one_term_or_none():
    assert PolynomialBasis((0.0,), (1.0,), (1.0,), 0.0, (1.0,))(torch.zeros(4, 1, dtype=torch.float64)).shape == (4, 0)
    one = PolynomialBasis((0.0,), (1.0,), (1.0,), 1.0, (1.0,))
    np.testing.assert_allclose(one(torch.tensor([[0.0], [0.25], [1.0]], dtype=torch.float64))[:, 0], [-1, -0.5, 1])


def test_descriptions_survive_json():
    amplitude = Amplitude(BENT, tuple(np.random.default_rng(1).normal(size=BENT.n_terms + 1).tolist()))
    assert PolynomialBasis.from_dict(json.loads(json.dumps(BENT.to_dict()))) == BENT
    assert Amplitude.from_dict(json.loads(json.dumps(amplitude.to_dict()))) == amplitude


@pytest.mark.parametrize(
    "wrong",
    [
        dict(lower=(0.0, 0.0)),
        dict(upper=LOWER),
        dict(weights=(1.0, 0.0, 1.0)),
        dict(degree=-1.0),
        dict(degree=float("nan")),
        dict(degree=1e6),
        dict(powers=(0.0, 1.0, 1.0)),
        dict(powers=(1.0, 1.0, 0.5)),
    ],
)
def test_what_makes_no_basis_is_refused(wrong):
    given = dict(lower=LOWER, upper=UPPER, weights=(1.0, 1.0, 1.0), degree=3.0, powers=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="expected|more than"):
        PolynomialBasis(**given | wrong)


def test_amplitude_needs_a_coefficient_for_every_term():
    with pytest.raises(ValueError, match=f"expected {PLAIN.n_terms + 1} finite coefficients"):
        Amplitude(PLAIN, (1.0,))
