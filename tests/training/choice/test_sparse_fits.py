"""Sparse polynomials: index sets, matching pursuit, and the choice of terms by folds."""

import math

import numpy as np
import pytest

from gnvpro.training.choice.folds import folds_of
from gnvpro.training.choice.sparse_fits import choose_terms, index_set, matching_pursuit
from gnvpro.training.choice.terms import TermFamilies, Terms


@pytest.mark.parametrize(("d", "degree"), [(1, 4), (2, 3), (3, 5)])
def test_the_set_of_norm_one_is_that_of_total_degree(d, degree):
    exponents = index_set(d, degree, 1.0, 1000)
    assert len(exponents) == math.comb(d + degree, d) == len({tuple(row) for row in exponents})
    assert exponents.sum(1).max() == degree
    assert not exponents[0].any()
    assert (np.diff(exponents.sum(1)) >= 0).all()


def test_smaller_norms_drop_interactions_first_and_too_large_sets_are_none():
    half = {tuple(row) for row in index_set(3, 4, 0.5, 1000)}
    assert (4, 0, 0) in half
    assert (2, 2, 0) not in half
    assert (1, 1, 0) in half
    assert index_set(20, 5, 1.0, 1000) is None


def pursued(n=40, seed=0):
    rng = np.random.default_rng(seed)
    columns = rng.standard_normal((n, 60))
    columns[:, 0] = 1
    return columns, columns[:, [0, 7, 31]] @ np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.7]])


def test_matching_pursuit_finds_the_columns_that_made_the_targets():
    columns, targets = pursued()
    order, _ = matching_pursuit(columns.T @ columns, columns.T @ targets, 3)
    assert set(order) == {0, 7, 31}
    assert order[0] == 0


def test_errors_on_what_is_held_out_are_those_of_least_squares_on_the_columns_taken():
    columns, targets = pursued()
    targets = targets + 0.3 * np.random.default_rng(1).standard_normal(targets.shape)
    inside, outside = slice(0, 30), slice(30, 40)
    gram, along = columns[inside].T @ columns[inside], columns[inside].T @ targets[inside]
    order, errors = matching_pursuit(gram, along, 8, (columns[outside], targets[outside]))
    for k in (1, 4, len(order)):
        taken = order[:k]
        fitted = np.linalg.lstsq(columns[inside][:, taken], targets[inside], rcond=None)[0]
        expected = ((targets[outside] - columns[outside][:, taken] @ fitted) ** 2).sum()
        assert errors[k - 1] == pytest.approx(expected, rel=1e-8)


def test_terms_of_a_sparse_polynomial_are_chosen_and_nothing_is_left():
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-1, 1, (60, 8))
    targets = (1 + inputs[:, 0] * inputs[:, 3] + inputs[:, 6] ** 3 - 2 * inputs[:, 7])[:, None]
    families = TermFamilies.of(inputs)
    assert families.families == ("legendre",) * 8
    terms = Terms(families, inputs)
    choice = choose_terms(terms, 8, targets, np.ones(60), folds_of(60, 0))
    path = choice.path(terms(choice.candidates), targets, np.ones(60), choice.in_all)
    residual = targets - terms(path) @ np.linalg.lstsq(terms(path), targets, rcond=None)[0]
    assert np.abs(residual).max() < 1e-10
    assert len(path) < 30


def test_normal_inputs_get_hermite_polynomials_and_fixed_ones_no_terms():
    rng = np.random.default_rng(0)
    inputs = np.stack([rng.standard_normal(200), rng.uniform(-1, 1, 200), np.full(200, 0.3)], 1)
    families = TermFamilies.of(inputs)
    assert families.families == ("hermite", "legendre", "legendre")
    assert families.varies == (True, True, False)


def test_folds_are_even_and_every_sample_of_few_is_left_out():
    assert sorted(np.bincount(folds_of(47, 3))) == [4, 4, 4, 5, 5, 5, 5, 5, 5, 5]
    assert sorted(folds_of(4, 0)) == [0, 1, 2, 3]
    many = folds_of(60_000, 0)
    assert set(many) == {-1, 0}
    assert (many == 0).sum() == 5000
