"""Sparse polynomials of any number of parameters: which terms, by orthogonal matching pursuit and cross-validation.

Candidates are the products of orthonormal one-dimensional polynomials with sum_j k_j^q <= p^q (hyperbolic index sets:
Blatman & Sudret 2011). Orthogonal matching pursuit takes, one after the other, the term that lowers the squared residual
of all targets together the most; it works on the Gram matrix alone (Rubinstein, Zibulevsky & Elad 2008), of which that
of a fold is the whole less that of the samples left out. The set (p, q) and the number of terms are those with the
smallest error on the samples that the folds left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.spaces import Array

Exponents = NDArray[np.int64]
NORMS = (1.0, 0.75, 0.5)
HIGHEST_DEGREE = 14
_MOST_TERMS = 1000
# Terms chosen, of the samples and at most.
_SHARE, _LONGEST = 0.7, 400
# A set is given up when it is so many times worse than the best in the folds so far, and a norm after two worse degrees.
_HOPELESS, _WORSE = 4.0, 5
# Squared errors of larger sets and of further terms have to be better by this factor: under noise the smallest is the
# luckiest. The error of a path that ended early counts so many times after its end.
_BETTER, _ENDED = 0.95, 4.0
# A column is taken for dependent below this share of its square, of what is left without the columns taken.
_DEPENDENT = 1e-8


@dataclass(frozen=True, eq=False)
class TermChoice:
    """The candidates that cross-validation chose, and how many of them to take.

    Attributes
    ----------
    candidates : (P, d)
        Exponents of the terms, the constant first.
    in_folds, in_all
        Numbers of terms to take of the samples of a fold, and of all.
    """

    candidates: Exponents
    in_folds: int
    in_all: int
    degree: int
    norm: float

    def path(self, columns: Array, targets: Array, weights: Array, n_terms: int) -> Exponents:
        """Exponents of the terms in the order in which they enter on samples with these columns (n, P) of the candidates.

        The constant is the first.
        """
        columns = columns * weights[:, None]
        n_terms = max(1, min(n_terms, len(columns) - 2))
        order, _ = matching_pursuit(columns.T @ columns, columns.T @ (targets * weights[:, None]), n_terms)
        return self.candidates[order]


def choose_terms(
    design: Callable[[Exponents], Array],
    n_inputs: int,
    targets: Array,
    weights: Array,
    folds: NDArray[np.intp],
    least_known: float = 1.0,
) -> TermChoice:
    """The index set and the number of terms of the least error on samples left out.

    Parameters
    ----------
    design
        From exponents (P, d) to the terms (n, P) at the samples.
    targets, weights, folds : (n, k), (n,), (n,)
        The error is that of weighted targets; folds are numbered from zero.
    least_known
        Of the samples, the share that has the target which the fewest have: they determine the terms.
    """
    n, weighted = len(targets), targets * weights[:, None]
    in_fold = 1 - (folds >= 0).mean() / (int(folds.max()) + 1)  # share of the samples that a fold keeps
    best: tuple[float, TermChoice] | None = None
    most = max(1, min(int(_SHARE * n * least_known * in_fold), _LONGEST))
    for norm in NORMS:
        size, least, worse = 0, np.inf, 0
        for degree in range(1, HIGHEST_DEGREE + 1):
            candidates = index_set(n_inputs, degree, norm, _MOST_TERMS)
            if candidates is None or worse >= _WORSE:
                break
            if len(candidates) == size:
                continue
            size = len(candidates)
            limit = np.inf if best is None else _HOPELESS * best[0]
            errors = _errors(design(candidates) * weights[:, None], weighted, folds, min(most, size), limit)
            error = np.inf if errors is None else float(errors.min())
            if errors is not None and (best is None or error < _BETTER * best[0]):
                n_terms = int(np.argmax(errors * _BETTER <= error)) + 1
                # More samples carry more terms, unless the path was as long as it may be.
                further = round(n_terms / in_fold) if n_terms < 0.3 * n else n_terms
                best = error, TermChoice(candidates, n_terms, min(size, further), degree, norm)
            worse = 0 if error < least else worse + 1
            least = min(least, error)
    assert best is not None  # the first set is always judged
    return best[1]


def _errors(columns: Array, targets: Array, folds: NDArray[np.intp], most: int, limit: float) -> Array | None:
    """Squared error on what the folds left out by the number of terms, (most,); None as soon as it is hopeless."""
    gram, along, n_folds = columns.T @ columns, columns.T @ targets, int(folds.max()) + 1
    errors = np.zeros(most)
    for fold in range(n_folds):
        out = folds == fold
        held = columns[out], targets[out]
        _, path = matching_pursuit(gram - held[0].T @ held[0], along - held[0].T @ held[1], most, held)
        errors += np.append(path, np.full(most - len(path), _ENDED * path[-1]))
        if fold and errors.min() * n_folds / (fold + 1) > limit:
            return None
    return errors


def matching_pursuit(
    gram: Array, along: Array, most: int, held_out: tuple[Array, Array] | None = None
) -> tuple[NDArray[np.intp], Array]:
    """The order in which columns enter, and the squared error on what was held out after each.

    Parameters
    ----------
    gram, along : (P, P), (P, k)
        Products of the columns with each other and with the targets.
    held_out : (h, P), (h, k)
        Columns and targets of other samples; the search ends where their error has long been rising.
    """
    sizes = np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    along = along / sizes[:, None]  # with the residual, from here on
    basis, spanned = np.zeros((len(sizes), most)), np.zeros(len(sizes))
    free, order, errors = np.ones(len(sizes), bool), [], []
    columns, residual = (np.zeros((0, len(sizes))), along[:0]) if held_out is None else held_out
    outside, patience = np.zeros((len(columns), most)), max(12, most // 8)
    while len(order) < most:
        k = len(order)
        gains = (along**2).sum(1) / np.maximum(1 - spanned, 1e-2)
        gains[~free | (1 - spanned < 1e-6)] = -1
        j = int(gains.argmax()) if k else 0  # the constant is always the first
        if gains[j] < 0 or (k and gains[j] == 0):
            break
        free[j] = False
        inside = basis[j, :k]
        square = float(1 - inside @ inside)
        if square < _DEPENDENT:
            continue
        remainder = math.sqrt(square)
        basis[:, k] = (gram[:, j] / (sizes * sizes[j]) - basis[:, :k] @ inside) / remainder
        step = along[j] / remainder
        along = along - basis[:, k, None] * step
        spanned = spanned + basis[:, k] ** 2
        order.append(j)
        if held_out is not None:
            outside[:, k] = (columns[:, j] / sizes[j] - outside[:, :k] @ inside) / remainder
            residual = residual - outside[:, k, None] * step
            errors.append((residual**2).sum())
            if k - int(np.argmin(errors)) > patience:
                break
    return np.array(order, dtype=np.intp), np.array(errors)


@lru_cache(maxsize=256)
def index_set(n_inputs: int, degree: int, norm: float, most: int) -> Exponents | None:
    """Exponents with sum_j k_j^norm <= degree^norm in the order of their sums; None where there are more than `most`."""
    powers = [k**norm if k else 0.0 for k in range(degree + 1)]
    budget, rows = degree**norm + 1e-9, [((), 0.0)]
    for _ in range(n_inputs):
        rows = [
            (*((*row, k), spent + powers[k]),)
            for row, spent in rows
            for k in range(degree + 1)
            if spent + powers[k] <= budget
        ]
        if len(rows) > most:
            return None
    exponents = np.array([row for row, _ in rows], dtype=np.int64)
    exponents = exponents[np.argsort(exponents.sum(1), kind="stable")]
    exponents.flags.writeable = False
    return exponents
