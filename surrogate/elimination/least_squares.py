"""The eliminated layer: exact least squares for W at fixed features.

With Z: features (n, width), P: fixed columns (n, q; the bias is a column of ones) and omega: row weights,

    A = [omega Z / sqrt(n), omega P / sqrt(n); sqrt(alpha_w) I],   B = [omega C / sqrt(n); 0],
    W = argmin ||A W - B||²    (Golub & Pereyra 1973; Newman et al. 2021, Sec. 3).

The fixed columns do not move during training, so their orthonormal basis is made once and projected out of the
moving ones. A is never squared: cond(Z) passes 1e8 late in training, which Z'Z would turn into 1e16.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Below this ratio of the diagonal of R the columns count as dependent, and the SVD takes over.
_RANK_TOLERANCE = 1e-13


@dataclass(frozen=True)
class InnerSolution:
    """W(theta) and what derivative products through it need; data rows only unless said otherwise.

    Attributes
    ----------
    weights : (width, n_targets)
        Last-layer weights of the features, transposed (features are rows).
    fixed_weights : (q, n_targets)
        Those of the fixed columns.
    residual : (n, n_targets)
        Weighted residual, omega (Phi W - C) / sqrt(n).
    fixed_basis, basis : (n, q), (n, width)
        Data rows of an orthonormal basis Q of the range of A, what the fixed columns span and what the features add;
        the projector on its complement is I - Q Q'.
    feature_inverse : (width, r)
        T with T T' = the block of (A'A)^+ that belongs to the features.
    value
        1/2 ||residual||² + alpha_w/2 ||W||², a scalar tensor.
    """

    weights: Tensor
    fixed_weights: Tensor
    residual: Tensor
    fixed_basis: Tensor
    basis: Tensor
    feature_inverse: Tensor
    value: Tensor


class LeastSquaresLayer:
    """The inner problem of one training set, ready to be solved for any features.

    Parameters
    ----------
    targets : (n, n_targets)
    row_weights : (n,)
        omega, one per sample.
    alpha_w
        Regularisation of W, >= 0; zero asks for the minimum-norm W where features are dependent.
    fixed : (n, q)
        Columns beside the features, by default ones.
    """

    def __init__(self, targets: Tensor, row_weights: Tensor, alpha_w: float, fixed: Tensor | None = None) -> None:
        n = len(targets)
        fixed = targets.new_ones(n, 1) if fixed is None else fixed
        self.n, self.n_fixed, self.alpha_w = n, fixed.shape[1], alpha_w
        self.row_scale = (row_weights / math.sqrt(n)).unsqueeze(1)
        columns = torch.cat([fixed * self.row_scale, math.sqrt(alpha_w) * _eye(self.n_fixed, targets)])
        padded = torch.cat([targets * self.row_scale, targets.new_zeros(self.n_fixed, targets.shape[1])])
        self._fixed_basis, self._fixed_solution, self._fixed_inverse = _least_squares(columns, padded)
        self._free_targets = padded - self._fixed_basis @ (self._fixed_basis.t() @ padded)

    def solve(self, features: Tensor) -> InnerSolution:
        """W for these features (n, width), by an orthogonal factorisation."""
        n, rows, width = self.n, self.n + self.n_fixed, features.shape[1]
        columns = features.new_zeros(rows + width, width)
        torch.mul(features, self.row_scale, out=columns[:n])
        along_fixed = self._fixed_basis[:n].t() @ columns[:n]
        columns[:rows].addmm_(self._fixed_basis, along_fixed, alpha=-1)
        columns[rows:].diagonal().fill_(math.sqrt(self.alpha_w))

        targets = torch.cat([self._free_targets, features.new_zeros(width, self._free_targets.shape[1])])
        basis, weights, inverse = _least_squares(columns, targets)
        # The rows of `columns` are feature rows with the fixed part removed, so this residual is that of all columns.
        residual = torch.addmm(self._free_targets, columns[:rows], weights, beta=-1)
        fixed_weights = self._fixed_solution - self._fixed_inverse @ (along_fixed @ weights)
        value = 0.5 * (torch.linalg.vector_norm(residual) ** 2 + self.alpha_w * torch.linalg.vector_norm(weights) ** 2)
        return InnerSolution(weights, fixed_weights, residual[:n], self._fixed_basis[:n], basis[:n], inverse, value)


def _least_squares(columns: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Orthonormal Q of the range, columns^+ targets, and T with columns^+ = T Q'.

    By QR; by SVD, hence of minimum norm, where QR finds dependent columns.
    """
    basis, triangle = torch.linalg.qr(columns)
    if _is_dependent(triangle.diagonal().abs()):
        if not bool(torch.isfinite(columns).all()):  # features overflowed: the value is not finite, as it should be
            return basis, targets.new_full((columns.shape[1], targets.shape[1]), torch.nan), triangle
        left, singular, right = torch.linalg.svd(columns, full_matrices=False)
        keep = singular > _RANK_TOLERANCE * singular[0]
        basis, inverse = left[:, keep], right[keep].t() / singular[keep]
        return basis, inverse @ (basis.t() @ targets), inverse
    # One substitution serves both; a solution by the explicit inverse would lose cond(R) digits.
    right_sides = torch.cat([basis.t() @ targets, _eye(len(triangle), triangle)], 1)
    solution, inverse = torch.linalg.solve_triangular(triangle, right_sides, upper=True).split(
        [targets.shape[1], len(triangle)], 1
    )
    return basis, solution, inverse


def _is_dependent(diagonal: Tensor) -> bool:
    if not len(diagonal):  # no features at all: what is left are the fixed columns
        return False
    low, high = torch.aminmax(diagonal)
    return not float(low) > _RANK_TOLERANCE * float(high)


def _eye(n: int, like: Tensor) -> Tensor:
    return torch.eye(n, dtype=like.dtype, device=like.device)
