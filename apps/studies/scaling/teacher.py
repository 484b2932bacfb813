"""Synthetic data of known difficulty: a smooth field, seen by any number of sensors, whose shape a random network sets.

The coefficients of the lowest cosine modes are a random tanh network of the parameters. Sensors sit at the midpoints of
a uniform grid of [0, 1], where the modes stay orthogonal however few the sensors are, so a finer grid shows the same
field with the same relative error: what it adds is outputs, and nothing to learn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.dense import DenseNetwork


@dataclass(frozen=True)
class Teacher:
    """A field over [0, 1] by parameters that are uniform in [-1, 1]^n_inputs.

    Attributes
    ----------
    gain
        Scale of the parameters before the first layer: the larger, the rougher the field as a function of them.
    noise
        Standard deviation of the error of one sensor, relative to the RMS of the field.
    """

    n_inputs: int = 8
    widths: tuple[int, ...] = (12, 8)
    modes: int = 24
    gain: float = 1.0
    noise: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.noise >= 0 or not self.gain > 0 or self.modes < 1:
            raise UsageError(
                f"expected noise >= 0, gain > 0 and at least one mode, got {self.noise}, {self.gain}, {self.modes}"
            )

    def draw(self, n_samples: int, n_outputs: int, seed: int) -> tuple[Tensor, Tensor]:
        """Parameters (n, n_inputs) and noisy observables (n, n_outputs) of unit RMS.

        Raises
        ------
        UsageError
            Fewer sensors than modes: the grid would not tell the modes apart.
        """
        if n_outputs < self.modes:
            raise UsageError(f"expected at least as many outputs as the field has modes, {self.modes}; got {n_outputs}")
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        inputs = 2 * torch.rand(n_samples, self.n_inputs, generator=generator, dtype=torch.float64) - 1
        coefficients = self.coefficients(inputs)
        x = (torch.arange(n_outputs, dtype=torch.float64) + 0.5) / n_outputs
        modes = math.sqrt(2) * torch.cos(math.pi * torch.arange(1, self.modes + 1).unsqueeze(1) * x)
        return inputs, coefficients @ modes + self.noise * normal(n_samples, n_outputs)

    def coefficients(self, inputs: Tensor) -> Tensor:
        """Of the modes, (n, modes), scaled so that the field has unit RMS over the samples."""
        network, generator = DenseNetwork(self.n_inputs, self.widths), torch.Generator().manual_seed(self.seed + 1)
        mixing = torch.randn(self.widths[-1], self.modes, generator=generator, dtype=torch.float64)
        # Smooth in space: the amplitude of a mode falls with its number.
        mixing /= torch.arange(1, self.modes + 1, dtype=torch.float64)
        coefficients = network.bind(network.initial(self.seed))(self.gain * inputs) @ mixing
        return coefficients / coefficients.square().sum(1).mean().sqrt()
