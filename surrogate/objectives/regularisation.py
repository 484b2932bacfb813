"""Regularisation of the network's weights: quadratic forms alpha/2 ||L theta||², L as the problem asks for.

`Ridge` is L = I. `LayerRidge` weighs the opening layer and the rest apart. `TimeDerivative` is the choice of the original
study's classification: the opening layer as it is, the weights of the residual block by their differences between
neighbouring times (Newman et al. 2021, Sec. 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, override

import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError


class Regulariser(Protocol):
    """A positive semidefinite quadratic form of theta."""

    def value(self, theta: Tensor) -> Tensor:
        """1/2 <theta, A theta>, a float64 scalar tensor."""
        ...

    def apply(self, direction: Tensor) -> Tensor:
        """A times a vector (n_theta,): the gradient at it, and the Hessian along it."""
        ...

    def mean_diagonal(self, where: slice) -> float:
        """The mean of A's diagonal over a part of theta, for curvature estimates."""
        ...


@dataclass(frozen=True)
class Ridge(Regulariser):
    """alpha/2 ||theta||²."""

    alpha: float

    def __post_init__(self) -> None:
        _require(self.alpha)

    @override
    def value(self, theta: Tensor) -> Tensor:
        return 0.5 * self.alpha * (theta.double() ** 2).sum()

    @override
    def apply(self, direction: Tensor) -> Tensor:
        return self.alpha * direction

    @override
    def mean_diagonal(self, where: slice) -> float:
        return self.alpha


@dataclass(frozen=True)
class LayerRidge(Regulariser):
    """opening/2 ||first n_opening weights||² + rest/2 ||the others||²."""

    opening: float
    rest: float
    n_opening: int

    def __post_init__(self) -> None:
        _require(self.opening, self.rest)

    @override
    def value(self, theta: Tensor) -> Tensor:
        return _half_product(theta, self.apply(theta))

    @override
    def apply(self, direction: Tensor) -> Tensor:
        return torch.cat([self.opening * direction[: self.n_opening], self.rest * direction[self.n_opening :]])

    @override
    def mean_diagonal(self, where: slice) -> float:
        return self.opening if where.start < self.n_opening else self.rest


@dataclass(frozen=True)
class TimeDerivative(Regulariser):
    """opening/2 ||first n_opening weights||² + rest/2 sum_j ||theta_(j+1) - theta_j||² over the times of the block.

    The differences are not divided by the time step, as in the original study: halving the step halves the sum of
    squares of a smooth path, and the study halves alpha at each level besides.
    """

    opening: float
    rest: float
    n_opening: int
    n_times: int

    def __post_init__(self) -> None:
        _require(self.opening, self.rest)
        if self.n_times < 2:
            raise UsageError(f"a time derivative needs weights at two times at least, got {self.n_times}")

    @override
    def value(self, theta: Tensor) -> Tensor:
        return _half_product(theta, self.apply(theta))

    @override
    def apply(self, direction: Tensor) -> Tensor:
        in_time = direction[self.n_opening :].view(self.n_times, -1)
        steps = self.rest * (in_time[1:] - in_time[:-1])
        out = torch.zeros_like(in_time)
        out[1:] += steps
        out[:-1] -= steps
        return torch.cat([self.opening * direction[: self.n_opening], out.reshape(-1)])

    @override
    def mean_diagonal(self, where: slice) -> float:
        # The second difference has 2 on its diagonal, 1 at the ends.
        return self.opening if where.start < self.n_opening else self.rest * (2 - 2 / self.n_times)


def as_regulariser(alpha: float | Regulariser) -> Regulariser:
    """A number as a ridge; a regulariser as it is."""
    return Ridge(alpha) if isinstance(alpha, float | int) else alpha


def _half_product(theta: Tensor, applied: Tensor) -> Tensor:
    return 0.5 * (theta.double() @ applied.double())


def _require(*alphas: float) -> None:
    if not all(alpha >= 0 for alpha in alphas):
        raise UsageError(f"expected regularisation >= 0, got {', '.join(map(str, alphas))}")
