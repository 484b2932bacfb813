"""Kernels about centres as features: one length scale for every input, and their derivatives by hand.

A Gaussian process' mean is a separable model of this kind: its last layer solves (K + σ² I) W' = C, and its nonlinear
weights are the length scales and, where they are not the samples themselves, the centres.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import FeatureNetwork, Linearization, require_weights

# Added to the diagonal of kernels among their centres, which may be dependent to rounding.
_JITTER = 1e-10


def _gaussian(squares: Tensor) -> Tensor:
    return torch.exp(-0.5 * squares)


def _gaussian_slope(squares: Tensor) -> Tensor:
    return _gaussian(squares).mul_(-0.5)


def _root(squares: Tensor) -> Tensor:
    """√5 r; a square that rounding made negative counts as zero."""
    return squares.clamp_min(0).mul_(5).sqrt_()


def _matern_slope(squares: Tensor) -> Tensor:
    root = _root(squares)
    return (root + 1).mul_(root.neg_().exp_()).mul_(-5 / 6)


class _OfSquares(torch.autograd.Function):
    """A function of r² whose derivative is given: by way of r it would be 0 times infinity at a centre."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)


class _Matern(_OfSquares):
    @staticmethod
    def forward(squares: Tensor) -> Tensor:
        root = _root(squares)
        return (root / 3).add_(1).mul_(root).add_(1).mul_(root.neg_().exp_())

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> Tensor:
        return seeds[0] * _MaternSlope.apply(*ctx.saved_tensors)

    jvp = backward


class _MaternSlope(_OfSquares):
    @staticmethod
    def forward(squares: Tensor) -> Tensor:
        return _matern_slope(squares)

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> Tensor:
        (squares,) = ctx.saved_tensors
        return seeds[0] * (torch.exp(-torch.sqrt(5 * squares.clamp_min(0))) * (25 / 12))

    jvp = backward


def _matern(squares: Tensor) -> Tensor:
    # For one point the record for derivatives would cost as much as the rest.
    return _Matern.apply(squares) if torch.is_grad_enabled() else _Matern.forward(squares)


# Of r²: the value, which autograd differentiates (twice also where r = 0), and the derivative.
KERNELS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "gaussian": (_gaussian, _gaussian_slope),
    "matern52": (_matern, _matern_slope),
}
# Of r² too, the first and the second derivative, which autograd differentiates; at r = 0 once.
_TINY = 1e-30
DERIVATIVES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "gaussian": (lambda squares: -0.5 * _gaussian(squares), lambda squares: 0.25 * _gaussian(squares)),
    "matern52": (
        lambda squares: _MaternSlope.apply(squares),
        lambda squares: torch.exp(-torch.sqrt(5 * squares.clamp_min(_TINY))) * (25 / 12),
    ),
}


def scaled_squares(x: Tensor, centres: Tensor) -> Tensor:
    """Squared distances (n, m) of points (n, d) and centres (m, d), both divided by the length scales, by one product."""
    return torch.addmm(centres.square().sum(1), x, centres.t(), alpha=-2) + x.square().sum(1, keepdim=True)


@dataclass(frozen=True)
class KernelFeatures:
    """k(r) about every centre, r² = Σ_j ((x_j - c_j) / ℓ_j)².

    "gaussian" is exp(-r²/2), "matern52" is (1 + √5 r + 5r²/3) exp(-√5 r). In theta the logarithms of the length scales,
    then the centres row by row.
    """

    n_inputs: int
    n_centres: int
    kernel: str

    def __post_init__(self) -> None:
        if self.n_inputs < 1 or self.n_centres < 1:
            raise UsageError(
                f"expected a positive number of inputs and of centres, got {self.n_inputs} and {self.n_centres}"
            )
        if self.kernel not in KERNELS:
            raise UsageError(f"unknown kernel {self.kernel!r}; expected {' or '.join(KERNELS)}")
        require_weights(self.n_theta)

    @property
    def width(self) -> int:
        """Number of features."""
        return self.n_centres

    @property
    def n_theta(self) -> int:
        """Number of weights."""
        return self.n_inputs * (self.n_centres + 1)

    def initial(self, seed: int) -> Tensor:
        """Centres from the standard normal law, length scales that put them about a unit of r apart."""
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.full((self.n_inputs,), math.log(math.sqrt(2 * self.n_inputs)), dtype=torch.float64)
        centres = torch.randn(self.n_centres * self.n_inputs, generator=generator, dtype=torch.float64)
        return torch.cat([lengths, centres])

    def unpack(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Views of theta: logarithms of the length scales (n_inputs,), centres (n_centres, n_inputs)."""
        return theta[: self.n_inputs], theta[self.n_inputs :].view(self.n_centres, self.n_inputs)

    def covariance(self, theta: Tensor) -> Tensor:
        """Of a process of this kernel at what the features stand for, (width, width): the kernels among their centres."""
        return self.bind(theta)(self.unpack(theta)[1])

    def bind(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        """The map inputs -> features at this theta."""
        squares, value = _Squares(self, theta), KERNELS[self.kernel][0]
        return lambda inputs: value(squares(squares.scaled(inputs)))

    def linearize(self, theta: Tensor, inputs: Tensor) -> Linearization:
        """The same with what derivative products need kept."""
        return _KernelLinearization(self, theta, inputs)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, read back by `gnvpro.surrogate.networks.registry`."""
        return {"kind": "kernel", "n_inputs": self.n_inputs, "n_centres": self.n_centres, "kernel": self.kernel}


class _Squares:
    """r² by one matrix product, |x|² - 2 x·c + |c|² of what is divided by the length scales.

    Both are taken from the centres' mean: the sum loses digits of |x|², which is small there.
    """

    def __init__(self, network: KernelFeatures, theta: Tensor) -> None:
        lengths, centres = network.unpack(theta)
        self.scale, self._middle = torch.exp(-lengths), centres.mean(0)
        self.centres = self.scaled(centres)
        self._sums, self._double = self.centres.square().sum(1), -2 * self.centres.t()

    def scaled(self, inputs: Tensor) -> Tensor:
        return (inputs - self._middle) * self.scale

    def __call__(self, scaled: Tensor) -> Tensor:
        return torch.addmm(self._sums, scaled, self._double) + scaled.square().sum(1, keepdim=True)


class _KernelLinearization:
    """With H the derivative by r², every product is one by a matrix (n_centres, n_inputs)."""

    def __init__(self, network: KernelFeatures, theta: Tensor, inputs: Tensor) -> None:
        self._network = network
        self._of = _Squares(network, theta)
        self._inputs = self._of.scaled(inputs)
        self._squares = self._of(self._inputs)
        self.features = KERNELS[network.kernel][0](self._squares)

    @cached_property
    def _slopes(self) -> Tensor:
        return KERNELS[self._network.kernel][1](self._squares)

    def jvp(self, direction: Tensor) -> Tensor:
        lengths, moves = self._network.unpack(direction)
        x, c, moves = self._inputs, self._of.centres, moves * self._of.scale
        # -2 Σ_j (x_j - c_j)² dλ_j - 2 Σ_j (x_j - c_j) dc_j / ℓ_j, without an array (n, n_centres, n_inputs).
        of_centres = c.square() @ lengths - (c * moves).sum(1)
        change = torch.addmm(of_centres, x, (moves - 2 * c * lengths).t()).add_((x.square() @ lengths)[:, None])
        return change.mul_(self._slopes).mul_(-2)

    def vjp(self, seed: Tensor) -> Tensor:
        x, c, h = self._inputs, self._of.centres, seed * self._slopes
        of_inputs, of_centres, crossed = h.sum(1), h.sum(0), h.t() @ x
        by_lengths = x.square().t() @ of_inputs - 2 * (c * crossed).sum(0) + c.square().t() @ of_centres
        by_centres = (crossed - of_centres[:, None] * c) * self._of.scale
        return -2 * torch.cat([by_lengths, by_centres.reshape(-1)])


def own_norm(network: KernelFeatures, theta: Tensor) -> NDArray[np.float64]:
    """L^-T (width, width) with L L' = K, the covariance among what the features stand for.

    Features times it have the inner product of the kernels' own norm: coefficients with the covariance K^-1 are then
    independent and of equal variance.
    """
    among = network.covariance(theta.double()).numpy()
    among = (among + among.T) / 2
    among.flat[:: len(among) + 1] += _JITTER
    lower = np.linalg.cholesky(among)
    return solve_triangular(lower, np.eye(len(lower)), lower=True).T


def has_kernels(network: FeatureNetwork) -> bool:
    """Whether kernels are among the features of a network, by itself or side by side with others."""
    return any(isinstance(part, KernelFeatures) for part in getattr(network, "members", (network,)))
