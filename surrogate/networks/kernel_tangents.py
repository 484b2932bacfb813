"""Kernels and their derivatives along directions at the centres as features: what derivative data ask of kernels.

With covariance k(r) between values at x and at a centre c, that of the value at x and the derivative at c along v is

    ∂_v k = -2 k'(r²) Σ_j (x_j - c_j) v_j / ℓ_j²,

so the mean of a Gaussian process that has seen values and derivatives is a separable model of 1 + R features a centre.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, override

import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.kernels import DERIVATIVES, KERNELS, KernelFeatures, scaled_squares
from gnvpro.surrogate.networks.module import ModuleLinearization


@dataclass(frozen=True)
class KernelTangents(KernelFeatures):
    """Of every centre the kernel, then its derivatives along `n_directions` directions of its own.

    In theta the logarithms of the length scales, the centres row by row, then the directions (n_centres, n_directions,
    n_inputs). A direction of zeros gives a feature of zeros.
    """

    n_directions: int

    @override
    def __post_init__(self) -> None:
        if self.n_directions < 1:
            raise UsageError(f"expected at least one direction at every centre, got {self.n_directions}")
        super().__post_init__()

    @property
    @override
    def width(self) -> int:
        return self.n_centres * (1 + self.n_directions)

    @property
    @override
    def n_theta(self) -> int:
        return self.n_inputs * (1 + self.width)

    @override
    def initial(self, seed: int) -> Tensor:
        """Centres and directions from the standard normal law, length scales that put centres about a unit of r apart."""
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.full((self.n_inputs,), math.log(math.sqrt(2 * self.n_inputs)), dtype=torch.float64)
        rest = torch.randn(self.n_theta - self.n_inputs, generator=generator, dtype=torch.float64)
        return torch.cat([lengths, rest])

    def unpack_directions(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithms of the length scales (n_inputs,), centres (n_centres, n_inputs), directions (n_centres, R, n_inputs)."""
        sizes = [self.n_inputs, self.n_centres * self.n_inputs, self.n_centres * self.n_directions * self.n_inputs]
        lengths, centres, directions = theta.split(sizes)
        return lengths, centres.view(self.n_centres, -1), directions.view(self.n_centres, self.n_directions, -1)

    @override
    def unpack(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        return self.unpack_directions(theta)[:2]

    @override
    def covariance(self, theta: Tensor) -> Tensor:
        lengths, centres, directions = self.unpack_directions(theta)
        scale = torch.exp(-lengths)
        x, v = centres * scale, directions * scale
        return covariances(self.kernel, x, v, x, v)

    @override
    def bind(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        lengths, centres, directions = self.unpack_directions(theta)
        scale, middle = torch.exp(-lengths), centres.mean(0)
        centres, directions = (centres - middle) * scale, (directions * scale).flatten(0, 1)
        at_centres = (centres.repeat_interleave(self.n_directions, 0) * directions).sum(1)
        value, slope = KERNELS[self.kernel][0], DERIVATIVES[self.kernel][0]

        def features(inputs: Tensor) -> Tensor:
            x = (inputs - middle) * scale
            squares = scaled_squares(x, centres)
            along = torch.addmm(at_centres, x, directions.t(), beta=-1).unflatten(1, (self.n_centres, -1))
            tangents = along * (-2 * slope(squares)).unsqueeze(2)
            return torch.cat([value(squares).unsqueeze(2), tangents], 2).flatten(1)

        return features

    @override
    def linearize(self, theta: Tensor, inputs: Tensor) -> ModuleLinearization:
        return ModuleLinearization(self, theta, inputs)

    @override
    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "kind": "kernel_tangents", "n_directions": self.n_directions}


def covariances(kernel: str, x: Tensor, u: Tensor, centres: Tensor, v: Tensor) -> Tensor:
    """Of values and derivatives, all divided by the length scales: (n (1 + r), m (1 + R)), sample by sample.

    Points (n, d) with directions (n, r, d), centres (m, d) with directions (m, R, d); r or R may be zero.
    """
    middle = centres.mean(0)
    x, centres = x - middle, centres - middle
    squares = scaled_squares(x, centres)
    slope, bend = (function(squares) for function in DERIVATIVES[kernel])
    n, m = squares.shape
    # Differences x - c along the directions of either side.
    of_x = (x[:, None] * u).sum(2)[:, :, None] - u @ centres.t()  # (n, r, m)
    of_centres = (v @ x.t()).permute(2, 0, 1) - (centres[:, None] * v).sum(2)  # (n, m, R)
    top = torch.cat([KERNELS[kernel][0](squares).unsqueeze(2), of_centres * (-2 * slope).unsqueeze(2)], 2)
    left = of_x * (2 * slope).unsqueeze(1)
    crossed = (u.flatten(0, 1) @ v.flatten(0, 1).t()).view(n, u.shape[1], m, v.shape[1])
    both = of_x.unsqueeze(3) * (-4 * bend[:, None, :, None] * of_centres.unsqueeze(1))
    both = both - 2 * slope[:, None, :, None] * crossed
    below = torch.cat([left.unsqueeze(3), both], 3)
    return torch.cat([top.unsqueeze(1), below], 1).flatten(2).flatten(0, 1)
