"""Sparse polynomials: orthonormal under their law, equal to NumPy's, and saved term by term."""

import json
import math

import numpy as np
import pytest
import torch

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.sparse_polynomials import FAMILIES, MAX_DEGREE, SparsePolynomials

torch.set_default_dtype(torch.float64)
NONE = torch.zeros(0)


def one_dimensional(family, degree):
    if family == "legendre":
        return np.polynomial.legendre.Legendre.basis(degree) * math.sqrt(2 * degree + 1)
    return np.polynomial.hermite_e.HermiteE.basis(degree) / math.sqrt(math.factorial(degree))


def many(n_terms=60, n_inputs=40):
    rng = np.random.default_rng(0)
    exponents = np.zeros((n_terms, n_inputs), dtype=int)
    for row in exponents:
        inputs = rng.choice(n_inputs - 3, rng.integers(1, 5), replace=False)  # the last three are in no term
        row[inputs] = rng.integers(1, 6, len(inputs))
    families = tuple(rng.choice(list(FAMILIES), n_inputs).tolist())
    centre, radius = rng.standard_normal(n_inputs), rng.uniform(0.5, 2, n_inputs)
    return SparsePolynomials(exponents, families, tuple(centre.tolist()), tuple(radius.tolist()))


def test_terms_are_the_products_they_are_said_to_be_also_beyond_the_range():
    basis = many()
    inputs = np.random.default_rng(1).uniform(-3, 3, (9, basis.n_inputs))
    xi = (inputs - basis.centre) / basis.radius
    expected = np.ones((9, basis.width))
    for i, j in zip(*np.nonzero(basis.exponents), strict=True):
        expected[:, i] *= one_dimensional(basis.families[j], basis.exponents[i, j])(xi[:, j])
    found = basis.bind(NONE)(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())
    assert np.abs(expected).max() > 1e3  # nothing is clipped
    low = basis.bind(NONE.float())(torch.from_numpy(inputs).float())
    assert low.dtype == torch.float32
    np.testing.assert_allclose(low.numpy(), expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_terms_are_orthonormal_under_the_law_of_the_inputs(family):
    quadrature = {"legendre": np.polynomial.legendre.leggauss, "hermite": np.polynomial.hermite_e.hermegauss}
    points, weights = quadrature[family](12)
    x, y = np.meshgrid(points, points)
    law = np.outer(weights, weights).reshape(-1) / weights.sum() ** 2
    exponents = np.array([[j, k] for j in range(6) for k in range(6) if j + k])
    basis = SparsePolynomials(exponents, (family,) * 2, (0.0, 2.0), (1.0, 3.0))
    terms = basis.bind(NONE)(torch.from_numpy(np.stack([x.reshape(-1), 2 + 3 * y.reshape(-1)], 1))).numpy()
    np.testing.assert_allclose(terms.T @ (law[:, None] * terms), np.eye(35), atol=1e-11)
    np.testing.assert_allclose(law @ terms, 0, atol=1e-12)


def test_order_of_the_terms_is_that_of_the_exponents():
    basis = many()
    order = np.random.default_rng(2).permutation(basis.width)
    moved = SparsePolynomials(basis.exponents[order], basis.families, basis.centre, basis.radius)
    inputs = torch.randn(5, basis.n_inputs, generator=torch.Generator().manual_seed(0))
    assert torch.equal(moved.bind(NONE)(inputs), basis.bind(NONE)(inputs)[:, order])


def test_second_derivatives_by_the_inputs():
    basis = many(20, 12)
    bound = basis.bind(NONE)
    at = torch.zeros(1, 12, requires_grad=True)  # zero of no centre; a product of zeros would have no derivative
    assert torch.autograd.gradcheck(bound, at)
    centres = torch.tensor([basis.centre], requires_grad=True)
    assert torch.autograd.gradgradcheck(bound, centres)


def test_description_is_sparse_and_read_back():
    basis = many()
    described = json.loads(json.dumps(basis.to_dict()))
    assert SparsePolynomials.from_dict(described) == basis
    assert sum(map(len, described["terms"])) == 2 * np.count_nonzero(basis.exponents)
    assert SparsePolynomials(basis.exponents[1:], basis.families, basis.centre, basis.radius) != basis


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("terms", [], "expected up to 20000 terms, got 0"),
        ("terms", [[0, 1]] * 20_001, "expected up to 20000 terms"),
        ("terms", [[0]], "pairs of integers"),
        ("terms", [[0, 1.5]], "pairs of integers"),
        ("terms", [[-1, 1]], "inputs from 0 to 1"),
        ("terms", [[2, 1]], "inputs from 0 to 1"),
        ("terms", [[0, MAX_DEGREE + 1]], "degrees from 1 to 100"),
        ("terms", [[0, 0]], "degrees from 1 to 100"),
        ("terms", [[]], "one at least above 0 in every term"),
        ("families", ["legendre", "cosine"], "unknown family 'cosine'; expected legendre or hermite"),
        ("n_inputs", 10**8, "expected up to 20000 terms, got 2 of 100000000 inputs"),
        ("n_inputs", 3, "expected 3 families, centres and radii"),
        ("centre", [0.0], "expected 2 families, centres and radii"),
        ("centre", [0.0, math.nan], "finite centres and positive radii"),
        ("radius", [0.0, 1.0], "finite centres and positive radii"),
    ],
)
def test_descriptions_that_make_no_basis_are_refused(part, value, message):
    described = SparsePolynomials(np.eye(2), ("legendre",) * 2, (0.0,) * 2, (1.0,) * 2).to_dict()
    with pytest.raises(UsageError, match=message):
        SparsePolynomials.from_dict({**described, part: value})


@pytest.mark.parametrize("exponents", [np.zeros((0, 2)), np.zeros((3, 2)), np.array([[1, -1]]), np.array([1, 2])])
def test_exponents_that_make_no_basis_are_refused(exponents):
    with pytest.raises(UsageError, match="expected"):
        SparsePolynomials(exponents, ("legendre",) * 2, (0.0,) * 2, (1.0,) * 2)


def test_the_table_of_one_evaluation_is_bounded():
    exponents = np.full((1, 300), MAX_DEGREE)
    with pytest.raises(UsageError, match="highest degrees that sum to 20000"):
        SparsePolynomials(exponents, ("legendre",) * 300, (0.0,) * 300, (1.0,) * 300)
