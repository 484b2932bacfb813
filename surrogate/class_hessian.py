"""The Hessian of regularised cross-entropy by the last layer: products, an explicit inverse, and solves.

With Phi (n, m) the features and a column of ones, s the softmax and w the weight of a sample,

    H U = sum_i w_i phi_i (diag(s_i) - s_i s_i') (phi_i' U) + alpha_w U,      U: (m, K).

An explicit inverse in float32 is made once and used many times, as preconditioner of conjugate gradients in float64:
the problem is small (some hundreds of unknowns) and the samples many, so a product by the inverse is cheaper than one by H.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from surrogate.losses import hessian_at

# Unknowns up to which the inverse is one matrix; above, one block a class. 2048² floats are 16 MB.
DENSE_LIMIT = 2048
# Entries of the table of products of feature pairs that are held at once.
_TABLE_ENTRIES = 2**23


class ClassHessian(NamedTuple):
    """H at one W: columns (n, m), probabilities (n, K), row_scale (n, 1), alpha_w."""

    columns: Tensor
    probabilities: Tensor
    row_scale: Tensor
    alpha_w: float

    def of_predictions(self, direction: Tensor) -> Tensor:
        """The Hessian by the predictions, (n, K) -> (n, K)."""
        return hessian_at(self.probabilities, direction).mul_(self.row_scale)

    def apply(self, direction: Tensor) -> Tensor:
        """H U, (m, K) -> (m, K)."""
        curved = self.of_predictions(self.columns @ direction)
        return torch.addmm(direction, self.columns.t(), curved, beta=self.alpha_w)

    def inverse(self) -> ClassInverse:
        """An approximate inverse in float32: of H, or of its diagonal blocks where H is large."""
        width, n_classes = self.columns.shape[1], self.probabilities.shape[1]
        if width * n_classes > DENSE_LIMIT:
            return ClassInverse(_inverted(self._class_blocks()))
        return ClassInverse(_inverted(self._dense()[None]))

    def solve(self, right: Tensor, inverse: ClassInverse, tolerance: float, most: int = 200) -> Tensor:
        """H^-1 B by preconditioned conjugate gradients, the error below `tolerance` relative in the norm of H.

        Stopped early the result X still has <B, X> <= <B, H^-1 B>, so that Schur complements made of it stay positive
        semidefinite.
        """

        def small_enough(remaining: float, first: float, _: float) -> bool:
            return remaining <= tolerance**2 * first

        return conjugate_gradients(self.apply, right, inverse.apply, small_enough, most).solution

    def _dense(self) -> Tensor:
        """H, (K m, K m), class by class, in float32.

        Blocks of two classes are symmetric, so one product of (pairs of classes, n) with (n, pairs of features) makes
        all of them.
        """
        n, width = self.columns.shape
        n_classes, device = self.probabilities.shape[1], self.columns.device
        one, other = torch.triu_indices(n_classes, n_classes, device=device)
        left, right = torch.triu_indices(width, width, device=device)
        columns, scale = self.columns.t().float().contiguous(), self.row_scale[:, 0].float()
        probabilities = self.probabilities.t().float().contiguous()
        pairs = columns.new_zeros(len(one), len(left))
        for rows in torch.arange(n, device=device).split(max(1, _TABLE_ENTRIES // len(left))):
            part, s = columns[:, rows[0] : rows[-1] + 1], probabilities[:, rows[0] : rows[-1] + 1]
            curved = -s[one] * s[other]
            curved[one == other] += s
            curved *= scale[rows]
            pairs.addmm_(curved, (part[left] * part[right]).t())
        blocks = pairs.new_empty(len(one), width, width)
        blocks[:, left, right] = pairs
        blocks[:, right, left] = pairs
        dense = pairs.new_empty(n_classes, width, n_classes, width)
        dense[one, :, other, :] = blocks
        dense[other, :, one, :] = blocks
        dense = dense.view(n_classes * width, n_classes * width)
        dense.diagonal().add_(self.alpha_w)
        return dense

    def _class_blocks(self) -> Tensor:
        """The diagonal blocks of H, (K, m, m), in float32."""
        columns = self.columns.float()
        curved = (self.probabilities * (1 - self.probabilities) * self.row_scale).float()
        blocks = torch.stack([columns.t() @ (columns * c.unsqueeze(1)) for c in curved.unbind(1)])
        blocks.diagonal(dim1=1, dim2=2).add_(self.alpha_w)
        return blocks


class ClassInverse(NamedTuple):
    """An approximate inverse of H: one matrix (1, K m, K m) or a block a class (K, m, m), float32."""

    blocks: Tensor

    def apply(self, right: Tensor) -> Tensor:
        """(m, K) -> (m, K), in the dtype given."""
        stacked = right.t().to(self.blocks.dtype).reshape(len(self.blocks), -1, 1)
        return torch.bmm(self.blocks, stacked).view(right.shape[1], -1).t().to(right.dtype)


class Solved(NamedTuple):
    """What conjugate gradients found, the remaining <r, M r>, and how many products it took."""

    solution: Tensor
    remaining: float
    products: int


def conjugate_gradients(
    operator: Callable[[Tensor], Tensor],
    right: Tensor,
    inverse: Callable[[Tensor], Tensor],
    small_enough: Callable[[float, float, float], bool],
    most: int,
) -> Solved:
    """Preconditioned conjugate gradients from zero.

    Parameters
    ----------
    small_enough
        Of <r, M r> now, <r, M r> at the start, and <x, B>: whether to stop. <r, M r> is the squared error in the norm
        of the operator, as far as M is its inverse; <x, B> is the squared length of x in that norm.
    """
    solution, residual = torch.zeros_like(right), right
    direction = preconditioned = inverse(residual)
    remaining = first = float((residual * preconditioned).sum())
    reached = 0.0
    for products in range(1, most + 1):
        if not first > 0:  # nothing to solve, or not a number
            return Solved(solution, remaining, 0)
        curved = operator(direction)
        length = remaining / float((direction * curved).sum())
        solution = solution.add(direction, alpha=length)
        residual = residual.sub(curved, alpha=length)
        reached += length * remaining
        preconditioned = inverse(residual)
        after = float((residual * preconditioned).sum())
        if not after > 0 or small_enough(after, first, reached):
            return Solved(solution, max(after, 0.0), products)
        direction = torch.add(preconditioned, direction, alpha=after / remaining)
        remaining = after
    return Solved(solution, remaining, most)


def _inverted(blocks: Tensor) -> Tensor:
    """Inverses of symmetric positive definite blocks, symmetric to the bit; in float64 where float32 cannot."""
    shift = 1e-7 * blocks.diagonal(dim1=1, dim2=2).mean(1)
    shifted = blocks + torch.diag_embed(shift.unsqueeze(1).expand(-1, blocks.shape[1]))
    factor, info = torch.linalg.cholesky_ex(shifted)
    if bool(info.any()):
        spectrum, vectors = torch.linalg.eigh(blocks.double())
        floor = 1e-7 * spectrum[:, -1:]
        inverse = (vectors / torch.maximum(spectrum, floor).unsqueeze(1)) @ vectors.transpose(1, 2)
        return inverse.to(blocks.dtype)
    inverse = torch.cholesky_inverse(factor)
    return 0.5 * (inverse + inverse.transpose(1, 2))
