"""The Hessian of regularised cross-entropy by the last layer: products, an explicit inverse, and solves.

With Phi (n, m) the features and a column of ones, s the softmax and w the weight of a sample,

    H U = sum_i w_i phi_i (diag(s_i) - s_i s_i') (phi_i' U) + alpha_w U,      U: (m, K).

An explicit inverse is made once and used many times, as preconditioner of conjugate gradients in float64: the problem is
small (some hundreds of unknowns) and the samples many, so a product by the inverse is cheaper than one by H. It is made in
float32 where that resolves alpha_w beside the rest, else in float64: where features are dependent (constants beside the
bias, say) alpha_w is all the curvature there is, and an inverse that misses it may not even be positive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gnvpro.surrogate.elimination.losses import hessian_at

# Unknowns up to which the inverse is one matrix; above, one block a class. 2048² floats are 16 MB.
DENSE_LIMIT = 2048
# Entries of the table of products of feature pairs that are held at once: what a cache holds, twice as fast as more.
_TABLE_ENTRIES = 2**19


class ClassHessian(NamedTuple):
    """H at one W: columns (n, m), probabilities (n, K), row_scale (n, 1), alpha_w, likeliest class of every sample (n, 1)."""

    columns: Tensor
    probabilities: Tensor
    row_scale: Tensor
    alpha_w: float
    likeliest: Tensor

    @classmethod
    def at(cls, columns: Tensor, probabilities: Tensor, row_scale: Tensor, alpha_w: float) -> ClassHessian:
        """H where the features and a column of ones, and W, give these probabilities."""
        # `max` along the rows of class-by-class memory takes a tenth of the time of `argmax`.
        likeliest = probabilities.t().max(0).indices.unsqueeze(1)
        return cls(columns, probabilities, row_scale, alpha_w, likeliest)

    def of_predictions(self, direction: Tensor) -> Tensor:
        """The Hessian by the predictions, (n, K) -> (n, K)."""
        # What is the same for all classes moves no probability. Taken off at the class that is nearly certain, whose
        # s (1 - s) would be lost in rounding, every term is as exact as it is small.
        return hessian_at(self.probabilities, direction - direction.gather(1, self.likeliest)).mul_(self.row_scale)

    def apply(self, direction: Tensor) -> Tensor:
        """H U, (m, K) -> (m, K)."""
        curved = self.of_predictions((direction.t() @ self.columns.t()).t())
        return torch.addmm(direction, self.columns.t(), curved, beta=self.alpha_w)

    def to(self, dtype: torch.dtype) -> ClassHessian:
        """The same with products in another dtype."""
        return self._replace(
            columns=self.columns.to(dtype),
            probabilities=self.probabilities.to(dtype),
            row_scale=self.row_scale.to(dtype),
        )

    def inverse(self) -> ClassInverse:
        """An approximate inverse: of H, or of its diagonal blocks where H is large."""
        width, n_classes = self.columns.shape[1], self.probabilities.shape[1]
        condition = self._largest_term() / self.alpha_w
        dtype = torch.float32 if is_resolved(condition, torch.float32) else torch.float64
        blocks = self._class_blocks(dtype) if width * n_classes > DENSE_LIMIT else self._dense(dtype)[None]
        return ClassInverse(_inverted(blocks), condition)

    def _variances(self) -> Tensor:
        """s (1 - s), (n, K); of the likeliest class 1 - s is the sum of the others."""
        others = 1 - self.probabilities
        others.scatter_(1, self.likeliest, self.probabilities.scatter(1, self.likeliest, 0.0).sum(1, keepdim=True))
        return self.probabilities * others

    def _largest_term(self) -> float:
        """The largest of the sums that entries of H are differences of, diag(s) without s s': what rounding is a part of."""
        return float(((self.columns**2).t() @ (self.probabilities * self.row_scale)).max())

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

    def _dense(self, dtype: torch.dtype) -> Tensor:
        """H, (K m, K m), class by class.

        Blocks of two classes are symmetric, so one product of (pairs of classes, n) with (n, pairs of features) makes
        all of them.
        """
        n, width = self.columns.shape
        n_classes, device = self.probabilities.shape[1], self.columns.device
        classes, features = _Pairs.of(n_classes, device), _Pairs.of(width, device)
        columns, scale = self.columns.t().to(dtype).contiguous(), self.row_scale[:, 0].to(dtype)
        probabilities = self.probabilities.t().to(dtype).contiguous()
        variances = self._variances().t().to(dtype).contiguous()
        pairs = columns.new_zeros(len(classes.first), len(features.first))
        together = max(1, _TABLE_ENTRIES // len(features.first))
        for rows in (slice(start, start + together) for start in range(0, n, together)):
            part, s = columns[:, rows], probabilities[:, rows]
            curved = s.index_select(0, classes.first).mul_(s.index_select(0, classes.second)).neg_()
            curved[classes.place.diagonal()] = variances[:, rows]
            curved *= scale[rows]
            pairs.addmm_(curved, part.index_select(0, features.first).mul_(part.index_select(0, features.second)).t())
        blocks = pairs.index_select(1, features.place.flatten()).index_select(0, classes.place.flatten())
        dense = blocks.view(n_classes, n_classes, width, width).transpose(1, 2).reshape(n_classes * width, -1)
        dense.diagonal().add_(self.alpha_w)
        return dense

    def _class_blocks(self, dtype: torch.dtype) -> Tensor:
        """The diagonal blocks of H, (K, m, m)."""
        columns = self.columns.to(dtype)
        curved = (self._variances() * self.row_scale).to(dtype)
        blocks = torch.stack([columns.t() @ (columns * c.unsqueeze(1)) for c in curved.unbind(1)])
        blocks.diagonal(dim1=1, dim2=2).add_(self.alpha_w)
        return blocks


class _Pairs(NamedTuple):
    """Unordered pairs of `size` things, and where the pair of two of them is found, (size, size)."""

    first: Tensor
    second: Tensor
    place: Tensor

    @classmethod
    def of(cls, size: int, device: torch.device) -> _Pairs:
        first, second = torch.triu_indices(size, size, device=device)
        place = torch.empty(size, size, dtype=torch.int64, device=device)
        place[first, second] = place[second, first] = torch.arange(len(first), device=device)
        return cls(first, second, place)


class ClassInverse(NamedTuple):
    """An approximate inverse of H: one matrix (1, K m, K m) or a block a class (K, m, m).

    condition: the largest term of H over alpha_w, which says in which dtype H can be resolved.
    """

    blocks: Tensor
    condition: float = 1.0

    def fits(self, weights: Tensor) -> bool:
        """Whether it is of the size and on the device of W: a layer may be solved for features of any width."""
        return self.blocks.shape[0] * self.blocks.shape[1] == weights.numel() and self.blocks.device == weights.device

    def apply(self, right: Tensor) -> Tensor:
        """(m, K) -> (m, K), in the dtype given."""
        stacked = right.t().to(self.blocks.dtype).reshape(len(self.blocks), -1, 1)
        return torch.bmm(self.blocks, stacked).view(right.shape[1], -1).t().to(right.dtype)


class Solved(NamedTuple):
    """What conjugate gradients found, and how many products it took."""

    solution: Tensor
    products: int


def is_resolved(condition: float, dtype: torch.dtype) -> bool:
    """Whether alpha_w shows beside the largest term of H in this dtype."""
    return condition * torch.finfo(dtype).eps < 1e-2


def _inverted(blocks: Tensor) -> Tensor:
    """Inverses of symmetric positive definite blocks, symmetric to the bit, positive also where rounding hides that.

    Of the blocks scaled to a unit diagonal: features come in any unit, and each would put the others below rounding.
    """
    root = blocks.diagonal(dim1=1, dim2=2).sqrt()
    scale = root.unsqueeze(2) * root.unsqueeze(1)
    scaled, size = blocks / scale, blocks.shape[1]
    if not bool(torch.isfinite(scaled).all()):  # squares of the features overflowed: there is no direction to be had
        return torch.zeros_like(blocks)
    factor, info = torch.linalg.cholesky_ex(scaled)
    # Relative to a unit diagonal. Of a smaller pivot so little is left after rounding that its inverse, which is rounded
    # as an entry of the whole, could turn the whole indefinite.
    smallest = 100 * size * torch.finfo(blocks.dtype).eps
    if bool(info.any()) or not bool((factor.diagonal(dim1=1, dim2=2) ** 2 > smallest).all()):
        spectrum, vectors = torch.linalg.eigh(scaled.double())
        floor = smallest * spectrum[:, -1:]
        inverse = (vectors / torch.maximum(spectrum, floor).unsqueeze(1)) @ vectors.transpose(1, 2)
    else:
        inverse = torch.cholesky_inverse(factor)
    inverse = inverse / scale
    return (0.5 * (inverse + inverse.transpose(1, 2))).to(blocks.dtype)
