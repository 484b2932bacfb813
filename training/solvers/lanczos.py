"""Lanczos: an orthonormal Krylov basis in which a large symmetric operator is a small tridiagonal one."""

from __future__ import annotations

import math
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
    size, k = min(size, start.numel()), 0
    vectors = start.new_zeros(size, start.numel())
    vectors[0] = start / torch.linalg.vector_norm(start)
    diagonal, beside = np.zeros(size), np.zeros(size)
    pivot, last = math.nan, 1.0  # of T = L D L', and the last entry of T^-1 e_1
    for j in range(size):
        k = j + 1
        new = operator(vectors[j])
        diagonal[j] = float(new @ vectors[j])
        for _ in range(2):  # twice is enough (Parlett)
            new = new - vectors[: j + 1].t() @ (vectors[: j + 1] @ new)
        beside[j] = float(torch.linalg.vector_norm(new))
        pivot = diagonal[0] if j == 0 else diagonal[j] - beside[j - 1] ** 2 / max(pivot, np.finfo(float).tiny)
        # A pivot that is not positive is rounding of a singular T, whose solution tells nothing: go on.
        last = last * (1.0 if j == 0 else -beside[j - 1]) / pivot if pivot > 0 else math.inf
        invariant = beside[j] <= 1e-12 * max(abs(diagonal[0]), beside[0])
        if k == size or invariant or beside[j] * abs(last) < tolerance:
            break
        vectors[j + 1] = new / beside[j]
    return KrylovBasis(vectors[:k], np.diag(diagonal[:k]) + np.diag(beside[: k - 1], 1) + np.diag(beside[: k - 1], -1))
