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
# Entries of the table of products of feature pairs that are held at once: what a cache holds, twice as fast as more.
_TABLE_ENTRIES = 2**19


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
        curved = self.of_predictions((direction.t() @ self.columns.t()).t())
        return torch.addmm(direction, self.columns.t(), curved, beta=self.alpha_w)

    def to(self, dtype: torch.dtype) -> ClassHessian:
        """The same with products in another dtype."""
        return ClassHessian(
            self.columns.to(dtype), self.probabilities.to(dtype), self.row_scale.to(dtype), self.alpha_w
        )

    def inverse(self) -> ClassInverse:
        """An approximate inverse in float32: of H, or of its diagonal blocks where H is large."""
        width, n_classes = self.columns.shape[1], self.probabilities.shape[1]
        blocks = self._class_blocks() if width * n_classes > DENSE_LIMIT else self._dense()[None]
        condition = float(blocks.diagonal(dim1=1, dim2=2).max()) / self.alpha_w
        return ClassInverse(_inverted(blocks), condition)

    def solve(self, right: Tensor, inverse: ClassInverse, tolerance: float, most: int = 200) -> Tensor:
        """H^-1 B by preconditioned conjugate gradients, the error below `tolerance` relative in the norm of H.

        Stopped early the result X still has <B, X> <= <B, H^-1 B>, so that Schur complements made of it stay positive
        semidefinite.
        """
        return self.descend(right, inverse, lambda now, first: now <= tolerance**2 * first, most).solution

    def descend(
        self, right: Tensor, inverse: ClassInverse, small_enough: Callable[[float, float], bool], most: int
    ) -> Solved:
        """Preconditioned conjugate gradients for H X = B from zero, in the dtype of the products.

        Parameters
        ----------
        small_enough
            Of <r, M r> now and at the start: whether to stop. It is the squared error in the norm of H, as far as M is
            the inverse of H.
        """
        residual = right.to(self.columns.dtype)
        solution = torch.zeros_like(residual)
        direction = preconditioned = inverse.apply(residual)
        remaining = first = float((residual * preconditioned).sum())
        for products in range(1, most + 1):
            if not remaining > 0:  # nothing to solve, or rounding
                return Solved(solution.to(right.dtype), products - 1)
            curved = self.apply(direction)
            curvature = float((direction * curved).sum())
            if not curvature > 0:  # underflow
                return Solved(solution.to(right.dtype), products)
            length = remaining / curvature
            solution = solution.add(direction, alpha=length)
            residual = residual.sub(curved, alpha=length)
            preconditioned = inverse.apply(residual)
            after = float((residual * preconditioned).sum())
            if small_enough(after, first):
                return Solved(solution.to(right.dtype), products)
            direction = torch.add(preconditioned, direction, alpha=after / remaining)
            remaining = after
        return Solved(solution.to(right.dtype), most)

    def _dense(self) -> Tensor:
        """H, (K m, K m), class by class, in float32.

        Blocks of two classes are symmetric, so one product of (pairs of classes, n) with (n, pairs of features) makes
        all of them.
        """
        n, width = self.columns.shape
        n_classes, device = self.probabilities.shape[1], self.columns.device
        classes, features = _Pairs.of(n_classes, device), _Pairs.of(width, device)
        columns, scale = self.columns.t().float().contiguous(), self.row_scale[:, 0].float()
        probabilities = self.probabilities.t().float().contiguous()
        pairs = columns.new_zeros(len(classes.one), len(features.one))
        for rows in torch.arange(n, device=device).split(max(1, _TABLE_ENTRIES // len(features.one))):
            part, s = columns[:, rows[0] : rows[-1] + 1], probabilities[:, rows[0] : rows[-1] + 1]
            curved = s.index_select(0, classes.one).mul_(s.index_select(0, classes.other)).neg_()
            curved[classes.place.diagonal()] += s
            curved *= scale[rows]
            pairs.addmm_(curved, part.index_select(0, features.one).mul_(part.index_select(0, features.other)).t())
        blocks = pairs.index_select(1, features.place.flatten()).index_select(0, classes.place.flatten())
        dense = blocks.view(n_classes, n_classes, width, width).transpose(1, 2).reshape(n_classes * width, -1)
        dense.diagonal().add_(self.alpha_w)
        return dense

    def _class_blocks(self) -> Tensor:
        """The diagonal blocks of H, (K, m, m), in float32."""
        columns = self.columns.float()
        curved = (self.probabilities * (1 - self.probabilities) * self.row_scale).float()
        blocks = torch.stack([columns.t() @ (columns * c.unsqueeze(1)) for c in curved.unbind(1)])
        blocks.diagonal(dim1=1, dim2=2).add_(self.alpha_w)
        return blocks


class _Pairs(NamedTuple):
    """Unordered pairs of `size` things, and where the pair of two of them is found, (size, size)."""

    one: Tensor
    other: Tensor
    place: Tensor

    @classmethod
    def of(cls, size: int, device: torch.device) -> _Pairs:
        one, other = torch.triu_indices(size, size, device=device)
        place = torch.empty(size, size, dtype=torch.int64, device=device)
        place[one, other] = place[other, one] = torch.arange(len(one), device=device)
        return cls(one, other, place)


class ClassInverse(NamedTuple):
    """An approximate inverse of H: one matrix (1, K m, K m) or a block a class (K, m, m), float32.

    condition: the largest diagonal entry of H over alpha_w, which says in which dtype H can be resolved.
    """

    blocks: Tensor
    condition: float = 1.0

    def apply(self, right: Tensor) -> Tensor:
        """(m, K) -> (m, K), in the dtype given."""
        stacked = right.t().to(self.blocks.dtype).reshape(len(self.blocks), -1, 1)
        return torch.bmm(self.blocks, stacked).view(right.shape[1], -1).t().to(right.dtype)


class Solved(NamedTuple):
    """What conjugate gradients found, and how many products it took."""

    solution: Tensor
    products: int


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
