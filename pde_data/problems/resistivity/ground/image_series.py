"""Sums of images whose weights fall like powers of a reflection coefficient, with few terms.

sum_n k^n g(n), n = 0, 1, …, where g(n) is the potential of the image that has been reflected n times: it falls like 1/n, and
is analytic in n but for places next to n = 0. Terms as they come would need 1,000 of them for k = 0.98 and an error of
1e-10. Here

- k > 0: the first 8 as they come; the others, in blocks from 2^m to 2^(m + 1), by the Gauss rule of the block's own weights
  k^n, with 6 points, at numbers n that are no integers: the error of a block is 5.8^-12 of its sum, since the nearest
  singularity is three half-lengths from its middle.
- k < 0: the acceleration of alternating sums of Cohen, Rodriguez Villegas & Zagier (Experimental Mathematics 9, 2000,
  algorithm 1), 5.8^-n of n terms, after 4 terms as they come.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from gnvpro.surrogate.spaces import Array

# What the weights add up to beyond the last term, relative to all of them: 1e-12. The error of the sums is 1e-10 or less.
_NEGLIGIBLE = 1e-12
_FIRST_BLOCK, _GAUSS_POINTS = 3, 6
_ALTERNATING_FIRST, _ALTERNATING = 4, 16


@cache
def powers(ratio: float) -> tuple[Array, Array]:
    """Numbers x and weights w with sum_j w_j g(x_j) = sum_n ratio^n g(n): both (n_terms,), x ascending from 0.

    `ratio` is between -1 and 1, both excluded.
    """
    numbers, weights = _alternating(-ratio) if ratio < 0 else _positive(ratio)
    numbers.setflags(write=False)
    weights.setflags(write=False)
    return numbers, weights


def _positive(ratio: float) -> tuple[Array, Array]:
    if ratio == 0:
        return np.zeros(1), np.ones(1)
    last = int(np.ceil(np.log(_NEGLIGIBLE) / np.log(ratio)))
    first = np.arange(min(2**_FIRST_BLOCK, last + 1), dtype=float)
    numbers, weights = [first], [ratio**first]
    for block in range(_FIRST_BLOCK, max(last, 1).bit_length()):
        n = np.arange(2**block, min(2 ** (block + 1), last + 1), dtype=float)
        points, share = _gauss(n, ratio ** (n - n[0])) if len(n) > _GAUSS_POINTS else (n, ratio ** (n - n[0]))
        numbers.append(points)
        weights.append(ratio ** n[0] * share)
    return np.concatenate(numbers), np.concatenate(weights)


def _gauss(points: Array, weights: Array) -> tuple[Array, Array]:
    """The Gauss rule of a sum over points, by Lanczos: a symmetric tridiagonal matrix has its nodes as eigenvalues."""
    total, scaled = weights.sum(), (points - points[0]) / (points[-1] - points[0])
    basis = [np.sqrt(weights / total)]
    matrix = np.zeros((_GAUSS_POINTS, _GAUSS_POINTS))
    for j in range(_GAUSS_POINTS):
        following = scaled * basis[j]
        matrix[j, j] = following @ basis[j]
        for _ in range(2):  # twice: what rounding leaves of the others the first time
            for known in basis:
                following = following - (following @ known) * known
        length = np.sqrt(following @ following)
        if j + 1 < _GAUSS_POINTS:
            matrix[j, j + 1] = matrix[j + 1, j] = length
            basis.append(following / length)
    values, vectors = np.linalg.eigh(matrix)
    return points[0] + values * (points[-1] - points[0]), total * vectors[0] ** 2


def _alternating(size: float) -> tuple[Array, Array]:
    """sum_n (-size)^n g(n)."""
    n, first = _ALTERNATING, np.arange(_ALTERNATING_FIRST, dtype=float)
    d = ((3 + np.sqrt(8)) ** n + (3 - np.sqrt(8)) ** n) / 2
    b, c, factors = -1.0, -d, np.empty(n)
    for j in range(n):
        c = b - c
        factors[j] = c / d
        b *= (j + n) * (j - n) / ((j + 0.5) * (j + 1))
    numbers = np.concatenate([first, _ALTERNATING_FIRST + np.arange(n, dtype=float)])
    signs = np.concatenate([(-1.0) ** first, (-1.0) ** _ALTERNATING_FIRST * factors])
    return numbers, signs * size**numbers
