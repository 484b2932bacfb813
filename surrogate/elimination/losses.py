"""Losses of predictions, one sample a row: value, gradient, and products with the (Gauss–Newton) Hessian.

The Hessian of a sample is a small positive semidefinite matrix of outputs by outputs; with random signs e, `root`
gives a vector of that covariance, which is what a curvature estimate by one backward pass needs.
"""

from __future__ import annotations

from typing import Protocol, override

import torch
from torch import Tensor

# Signs taken from one number.
_BITS = 32


class Loss(Protocol):
    """A loss that is convex in the predictions; all arguments and results (n, n_out), values (n,)."""

    def value(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """One number a sample, (n,)."""
        ...

    def gradient(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """By the predictions."""
        ...

    def hessian(self, predictions: Tensor, direction: Tensor) -> Tensor:
        """Hessian by the predictions times a direction, row by row."""
        ...

    def root(self, predictions: Tensor, signs: Tensor) -> Tensor:
        """A square root of the Hessian times independent signs, row by row."""
        ...


class LeastSquares(Loss):
    """1/2 ||x - c||²."""

    @override
    def value(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * ((predictions - targets) ** 2).sum(1)

    @override
    def gradient(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return predictions - targets

    @override
    def hessian(self, predictions: Tensor, direction: Tensor) -> Tensor:
        return direction

    @override
    def root(self, predictions: Tensor, signs: Tensor) -> Tensor:
        return signs


class CrossEntropy(Loss):
    """-sum_k c_k log softmax(x)_k for targets c that are probabilities: one-hot rows, smoothed or not."""

    @override
    def value(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return torch.logsumexp(predictions, 1) - (predictions * targets).sum(1)

    @override
    def gradient(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return torch.softmax(predictions, 1) - targets

    def hessian(self, predictions: Tensor, direction: Tensor) -> Tensor:
        """(diag(S) - S S') U with S the softmax."""
        return hessian_at(torch.softmax(predictions, 1), direction)

    def root(self, predictions: Tensor, signs: Tensor) -> Tensor:
        """B e with B B' = diag(S) - S S'."""
        return root_at(torch.softmax(predictions, 1), signs)


def hessian_at(probabilities: Tensor, direction: Tensor) -> Tensor:
    """(diag(S) - S S') U, row by row, where the probabilities S are at hand."""
    weighted = probabilities * direction
    return weighted - probabilities * weighted.sum(1, keepdim=True)


def root_at(probabilities: Tensor, signs: Tensor) -> Tensor:
    """B e with B = diag(S)^1/2 - S S^1/2', for which B B' = diag(S) - S S', row by row."""
    half = probabilities.sqrt() * signs
    return half - probabilities * half.sum(1, keepdim=True)


def random_signs(like: Tensor, seed: int, first: int | Tensor = 0) -> Tensor:
    """Signs (n, k) of the dtype of another tensor, made on its device.

    Each is a function of seed, row and column alone, `first` being the number of the first row, or those of all rows (n,):
    samples have the same signs on every device, in every chunk and process. By the mixing function of SplitMix64 (Steele,
    Lea & Flood 2014).
    """
    n, k = like.shape
    words = -(-k // _BITS)
    rows = torch.arange(first, first + n, device=like.device) if isinstance(first, int) else first
    places = (
        rows * words if words == 1 else rows.unsqueeze(1) * words + torch.arange(words, device=like.device)
    ).flatten()
    bits = _mixed(places + _mixed(torch.tensor([seed], device=like.device))).view(n, words)
    columns = torch.arange(k, device=like.device)
    chosen = bits if words == 1 else bits.index_select(1, columns // _BITS)
    return ((chosen >> (columns % _BITS)) & 1).to(like.dtype).mul_(2).sub_(1)


def _mixed(values: Tensor) -> Tensor:
    """64 bits that look independent from value to value; integers of 64 bits overflow as they should."""
    values = values * -7046029254386353131  # 2^64 over the golden ratio
    values = (values ^ ((values >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    values = (values ^ ((values >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    return values ^ ((values >> 31) & 0x1FFFFFFFF)
