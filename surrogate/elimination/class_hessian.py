"""The Hessian of regularised cross-entropy by the last layer: products, an explicit inverse, and solves.

With Phi (n, m) the features and a column of ones, s the softmax and w the weight of a sample,

    H U = sum_i w_i phi_i (diag(s_i) - s_i s_i') (phi_i' U) + alpha_w U,      U: (m, K).

An explicit inverse is made once and used many times, as preconditioner of conjugate gradients in float64: the problem is
small (some hundreds of unknowns) and the samples many, so a product by the inverse is cheaper than one by H. For float32
features it is made in float32 where that resolves alpha_w beside the rest, else in float64: where features are dependent
(constants beside the bias, say) alpha_w is all the curvature there is, and an inverse that misses it may not even be
positive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gnvpro.surrogate.elimination.class_features import Features
from gnvpro.surrogate.elimination.losses import hessian_at
from gnvpro.surrogate.transfer import numbers

# Unknowns up to which the inverse is one matrix; above, one block a class. 2048² floats are 16 MB.
DENSE_LIMIT = 2048
# Products between two looks at whether conjugate gradients have converged, where looking makes a device wait; solves take
# from two to ten.
PRODUCTS_A_LOOK = 4


class ClassHessian(NamedTuple):
    """H at one W: features, probabilities (n, K), row_scale (n, 1), alpha_w, likeliest class of every sample (n, 1).

    Samples are those of this process, sums over them those of all processes. Products are in the dtype of the probabilities.
    """

    features: Features
    probabilities: Tensor
    row_scale: Tensor
    alpha_w: float
    likeliest: Tensor

    @classmethod
    def at(cls, features: Features, probabilities: Tensor, row_scale: Tensor, alpha_w: float) -> ClassHessian:
        """H where the features, and W, give these probabilities."""
        # `max` along the rows of class-by-class memory takes a tenth of the time of `argmax`.
        likeliest = probabilities.t().max(0).indices.unsqueeze(1)
        return cls(features, probabilities, row_scale, alpha_w, likeliest)

    def of_predictions(self, direction: Tensor) -> Tensor:
        """The Hessian by the predictions, (n, K) -> (n, K)."""
        # What is the same for all classes moves no probability. Taken off at the class that is nearly certain, whose
        # s (1 - s) would be lost in rounding, every term is as exact as it is small.
        return hessian_at(self.probabilities, direction - direction.gather(1, self.likeliest)).mul_(self.row_scale)

    def apply(self, direction: Tensor) -> Tensor:
        """H U, (m, K) -> (m, K)."""
        return self.total(self.of_predictions(self.features.predictions(direction)), direction)

    def total(self, rows: Tensor, direction: Tensor) -> Tensor:
        """Phi' C + alpha_w U, C (n, K) and U (m, K)."""
        return self.features.coupling.sum(self.features.adjoint(rows)).add_(direction, alpha=self.alpha_w)

    def to(self, dtype: torch.dtype) -> ClassHessian:
        """The same with products in another dtype."""
        return self._replace(probabilities=self.probabilities.to(dtype), row_scale=self.row_scale.to(dtype))

    def inverse(self) -> ClassInverse:
        """An approximate inverse: of H, or of its diagonal blocks where H is large."""
        condition = numbers(self._largest_term())[0] / self.alpha_w
        own = self.features.own.dtype
        dtype = own if is_resolved(condition, own) else torch.float64
        is_large = self.features.n_columns * self.probabilities.shape[1] > DENSE_LIMIT
        blocks = self._class_blocks(dtype) if is_large else self._dense(dtype)[None]
        return ClassInverse(_inverted(blocks), condition)

    def _variances(self, rows: slice) -> Tensor:
        """s (1 - s), (rows, K); of the likeliest class 1 - s is the sum of the others."""
        probabilities, likeliest = self.probabilities[rows], self.likeliest[rows]
        others = 1 - probabilities
        others.scatter_(1, likeliest, probabilities.scatter(1, likeliest, 0.0).sum(1, keepdim=True))
        return probabilities * others

    def _largest_term(self) -> Tensor:
        """The largest of the sums that entries of H are differences of, diag(s) without s s': what rounding is a part of."""
        n_columns, n_classes = self.features.n_columns, self.probabilities.shape[1]
        terms = self.row_scale.new_zeros(n_columns, n_classes)
        for rows, part in self.features.chunks(n_columns, self.row_scale.dtype):
            terms.addmm_(part.square_(), self.probabilities[rows] * self.row_scale[rows])
        return self.features.coupling.sum(terms).max()

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

        Residuals are kept orthogonal, by M, to all before: from a converged direction on, rounding would grow a
        thousandfold a product, and where to stop would depend on the order of sums.

        On a device some products are made before the rule is asked about each of them, and what came after its answer is
        dropped: the result is the same, and the device waits once for all.

        Parameters
        ----------
        small_enough
            Of <r, M r> now and at the start: whether to stop. It is the squared error in the norm of H, as far as M is
            the inverse of H.
        """
        residual = right.to(self.probabilities.dtype)
        solution = torch.zeros_like(residual)
        direction = preconditioned = inverse.apply(residual)
        remaining = first = (residual * direction).sum()
        earlier = _Residuals(residual)
        at_once = products_a_look(right.device)
        for products in range(0, most, at_once):
            solutions, scalars = [solution], [first]
            for _ in range(min(at_once, most - products)):
                curved = self.apply(direction)
                curvature = (direction * curved).sum()
                length = remaining / curvature
                solution = torch.addcmul(solution, direction, length)
                earlier.keep(residual, preconditioned, remaining)
                residual = earlier.cleared(torch.addcmul(residual, curved, length, value=-1))
                preconditioned = inverse.apply(residual)
                after = (residual * preconditioned).sum()
                direction = torch.addcmul(preconditioned, direction, after / remaining)
                remaining = after
                solutions.append(solution)
                scalars += [curvature, after]
            start, *read = numbers(*scalars)
            if not start > 0:  # nothing to solve
                return Solved(solutions[0].to(right.dtype), 0)
            for i, (bend, error) in enumerate(zip(read[::2], read[1::2], strict=True)):
                if not bend > 0:  # underflow
                    return Solved(solutions[i].to(right.dtype), products + i + 1)
                if small_enough(error, start) or not error > 0:  # or rounding
                    return Solved(solutions[i + 1].to(right.dtype), products + i + 1)
        return Solved(solution.to(right.dtype), most)

    def _dense(self, dtype: torch.dtype) -> Tensor:
        """H, (K m, K m), class by class.

        Blocks of two classes are symmetric, so one product of (pairs of classes, n) with (n, pairs of features) makes
        all of them.
        """
        width, n_classes, device = self.features.n_columns, self.probabilities.shape[1], self.probabilities.device
        classes, features = _Pairs.of(n_classes, device), _Pairs.of(width, device)
        pairs = torch.zeros(len(classes.first), len(features.first), dtype=dtype, device=device)
        for rows, part in self.features.chunks(len(features.first), dtype):
            s = self.probabilities[rows].t().to(dtype).contiguous()
            curved = s.index_select(0, classes.first).mul_(s.index_select(0, classes.second)).neg_()
            curved[classes.place.diagonal()] = self._variances(rows).t().to(dtype)
            curved *= self.row_scale[rows, 0].to(dtype)
            pairs.addmm_(curved, part.index_select(0, features.first).mul_(part.index_select(0, features.second)).t())
        pairs = self.features.coupling.sum(pairs)
        blocks = pairs.index_select(1, features.place.flatten()).index_select(0, classes.place.flatten())
        dense = blocks.view(n_classes, n_classes, width, width).transpose(1, 2).reshape(n_classes * width, -1)
        dense.diagonal().add_(self.alpha_w)
        return dense

    def _class_blocks(self, dtype: torch.dtype) -> Tensor:
        """The diagonal blocks of H, (K, m, m)."""
        width, n_classes = self.features.n_columns, self.probabilities.shape[1]
        blocks = torch.zeros(n_classes, width, width, dtype=dtype, device=self.probabilities.device)
        for rows, part in self.features.chunks(width * n_classes, dtype):
            curved = (self._variances(rows) * self.row_scale[rows]).t().to(dtype)
            blocks.baddbmm_(part * curved.unsqueeze(1), part.t().expand(n_classes, -1, -1))
        blocks = self.features.coupling.sum(blocks)
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


def products_a_look(device: torch.device) -> int:
    """Products between two looks: on a processor looking costs nothing, and a product that was not needed does."""
    return 1 if device.type == "cpu" else PRODUCTS_A_LOOK


class _Residuals:
    """The residuals r_j of conjugate gradients, with M r_j."""

    def __init__(self, like: Tensor) -> None:
        self._rows, self._count = like.new_empty(2, 8, like.numel()), 0

    def keep(self, residual: Tensor, preconditioned: Tensor, square: Tensor) -> None:
        """One more; its square is <r, M r>."""
        if self._count == self._rows.shape[1]:
            self._rows = torch.cat([self._rows, torch.empty_like(self._rows)], 1)
        self._rows[0, self._count], self._rows[1, self._count] = preconditioned.flatten(), (residual / square).flatten()
        self._count += 1

    def cleared(self, residual: Tensor) -> Tensor:
        """A residual less what is along those kept."""
        by, along = self._rows[:, : self._count]
        flat = residual.flatten()
        return (flat - (by @ flat) @ along).view(residual.shape)


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
    factor, info = torch.linalg.cholesky_ex(scaled)
    # Relative to a unit diagonal. Of a smaller pivot so little is left after rounding that its inverse, which is rounded
    # as an entry of the whole, could turn the whole indefinite.
    smallest = 100 * size * torch.finfo(blocks.dtype).eps
    is_positive = (info == 0).all() & (factor.diagonal(dim1=1, dim2=2) ** 2 > smallest).all()
    is_finite, is_positive = numbers(torch.isfinite(scaled).all(), is_positive)
    if not is_finite:  # squares of the features overflowed: there is no direction to be had
        return torch.zeros_like(blocks)
    if not is_positive:
        spectrum, vectors = torch.linalg.eigh(scaled.double())
        floor = smallest * spectrum[:, -1:]
        inverse = (vectors / torch.maximum(spectrum, floor).unsqueeze(1)) @ vectors.transpose(1, 2)
    else:
        inverse = torch.cholesky_inverse(factor)
    inverse = inverse / scale
    return (0.5 * (inverse + inverse.transpose(1, 2))).to(blocks.dtype)
