"""Lanczos: an orthonormal Krylov basis in which a large symmetric operator is a small tridiagonal one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class KrylovBasis(NamedTuple):
    """V (k, n) with orthonormal rows and T (k, k) tridiagonal: V H V' = T; the first row is along the start."""

    vectors: Tensor
    tridiagonal: np.ndarray


def lanczos(operator: Callable[[Tensor], Tensor], start: Tensor, size: int, tolerance: float) -> KrylovBasis:
    """Krylov basis of (operator, start) with full reorthogonalisation.

    Ends early where the space is invariant, or where solving with T already reduces the residual of
    H x = start below `tolerance` relative to ||start||: with a symmetric operator this is the stopping rule of
    GMRES as well as of conjugate gradients.
    """
    size = min(size, start.numel())
    vectors = start.new_zeros(size, start.numel())
    vectors[0] = start / torch.linalg.vector_norm(start)
    diagonal, beside = np.zeros(size), np.zeros(size)
    for j in range(size):
        new = operator(vectors[j])
        diagonal[j] = float(new @ vectors[j])
        for _ in range(2):  # twice is enough (Parlett)
            new = new - vectors[: j + 1].t() @ (vectors[: j + 1] @ new)
        beside[j] = float(torch.linalg.vector_norm(new))
        tridiagonal = np.diag(diagonal[: j + 1]) + np.diag(beside[:j], 1) + np.diag(beside[:j], -1)
        if j + 1 == size or beside[j] <= 1e-12 * max(abs(diagonal[0]), beside[0]):
            break
        if tolerance > 0 and beside[j] * abs(_last_of_solution(tridiagonal)) < tolerance:
            break
        vectors[j + 1] = new / beside[j]
    return KrylovBasis(vectors[: len(tridiagonal)], tridiagonal)


def _last_of_solution(tridiagonal: np.ndarray) -> float:
    first = np.zeros(len(tridiagonal))
    first[0] = 1.0
    return float(np.linalg.lstsq(tridiagonal, first, rcond=None)[0][-1])
