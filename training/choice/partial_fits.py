"""Linear least squares with every output on the samples that have it, as arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from gnvpro.surrogate.elimination.patterns import Patterns, Restriction
from gnvpro.surrogate.elimination.ridge_path import FULL_LEVERAGE
from gnvpro.surrogate.missing import Array, missing_in

# One over the condition number from which columns count as dependent.
_DEPENDENT = 1e-13


class PartialFit(NamedTuple):
    """Coefficients (m, k), and residuals of samples that are left out one by one (n, k), zero where a target is missing."""

    coefficients: Array
    left_out: Array


def fit_known(columns: Array, targets: Array, penalty: Array | None = None) -> PartialFit:
    """Columns (n, m), with further rows (p, m) as a penalty, fitted to targets (n, k), NaN where they are missing.

    By one factorisation of all samples where those of every target determine its coefficients; else of least norm.
    """
    n, rows = len(columns), columns if penalty is None else np.concatenate([columns, penalty])
    orthonormal, triangle = np.linalg.qr(rows)
    diagonal = np.abs(np.diag(triangle))
    patterns, order = Patterns.of(torch.from_numpy(~np.isnan(targets)))
    restriction = Restriction(patterns, torch.from_numpy(np.ascontiguousarray(orthonormal[:n])))
    if len(rows) < columns.shape[1] or diagonal.min() <= _DEPENDENT * diagonal.max() or not restriction.is_usable:
        return _one_by_one(columns, targets, penalty)
    known = np.nan_to_num(targets)[:, order.numpy()]
    found = restriction.coordinates(torch.from_numpy(known)).numpy()
    leverages = restriction.of_columns(restriction.leverages()).numpy()
    residual = np.where(patterns.mask.numpy() > 0, known - orthonormal[:n] @ found, 0.0)
    back = np.argsort(order.numpy())
    left_out = residual / (1 - np.minimum(leverages, FULL_LEVERAGE))
    return PartialFit(solve_triangular(triangle, found)[:, back], left_out[:, back])


def _one_by_one(columns: Array, targets: Array, penalty: Array | None) -> PartialFit:
    """Of least norm, every target by itself."""
    below = columns[:0] if penalty is None else penalty
    coefficients, left_out = np.zeros((columns.shape[1], targets.shape[1])), np.zeros(targets.shape)
    for j, known in enumerate(~np.isnan(targets).T):
        if not known.any():
            continue
        rows = np.concatenate([columns[known], below])
        right = np.append(targets[known, j], np.zeros(len(below)))
        left, singular, _ = np.linalg.svd(rows, full_matrices=False)
        coefficients[:, j] = np.linalg.lstsq(rows, right, rcond=None)[0]
        kept = left[: int(known.sum()), singular > _DEPENDENT * max(singular[0], np.finfo(float).tiny)]
        leverages = np.minimum((kept**2).sum(1), FULL_LEVERAGE)
        left_out[known, j] = (targets[known, j] - columns[known] @ coefficients[:, j]) / (1 - leverages)
    return PartialFit(coefficients, left_out)


def imputed(precision: Array, targets: Array) -> tuple[Array, Array]:
    """Targets (n, k) of a Gaussian process with what is missing (NaN) as the rest predicts it, and their own precision.

    P (n, n) is the precision of the samples. What is missing of a target solves P_MM x = -P_MK c_K, so that P times
    the target is P of the known samples alone times them. The precision (n, k) of a sample by the others that have the
    target is P_ii - P_iM P_MM^-1 P_Mi.
    """
    filled, own = np.nan_to_num(targets), np.repeat(np.diag(precision)[:, None], targets.shape[1], 1)
    if (missing := missing_in(targets)) is None:
        return targets, own
    for rows, columns in _gaps(missing):
        across = precision[rows]
        solved = np.linalg.solve(across[:, rows], np.concatenate([across @ filled[:, columns], across], 1))
        filled[np.ix_(rows, columns)] = -solved[:, : len(columns)]
        own[:, columns] -= (across * solved[:, len(columns) :]).sum(0)[:, None]
    return filled, own


def gap_determinants(precision: Array, missing: NDArray[np.bool_], importance: Array) -> tuple[float, Array]:
    """Sum over the targets of importance (k,) times log |P_MM|, and minus its derivative by the inverse of P, (n, n)."""
    value, halves = 0.0, [precision[:0]]
    for rows, columns in _gaps(missing):
        if (weight := float(importance[columns].sum())) > 0:
            across = precision[rows]
            lower = np.linalg.cholesky(across[:, rows])
            half = solve_triangular(lower, across, lower=True)
            value += 2 * weight * float(np.log(np.diag(lower)).sum())
            halves.append(math.sqrt(weight) * half)
    together = np.concatenate(halves)
    return value, together.T @ together


def of_few_patterns(missing: NDArray[np.bool_], importance: Array, most: int) -> Array:
    """The importance (k,) of targets, of those alone that are in the most important of the patterns of missing samples."""
    _, number = np.unique(missing, axis=1, return_inverse=True)
    of_patterns = np.bincount(number, weights=importance)
    kept = np.isin(number, np.argsort(-of_patterns, kind="stable")[:most])
    return np.where(kept, importance, 0.0) / importance[kept].sum()


def _gaps(missing: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The samples that some targets lack, and these targets; not of those without gaps or without a sample."""
    patterns, number = np.unique(missing, axis=1, return_inverse=True)
    for g, pattern in enumerate(patterns.T):
        rows = np.flatnonzero(pattern)
        if 0 < len(rows) < len(pattern):
            yield rows, np.flatnonzero(number == g)
