"""Networks whose weights depend on time: a dense opening layer, then an ODE integrated in `steps` steps.

The weights are piecewise linear in time and given at the nodes and midpoints of the steps, so a network of twice the
steps with interpolated weights is nearly the same map (Haber & Ruthotto 2017; Newman et al. 2021, Sec. 5).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.in_time.shape import coarsest_steps
from gnvpro.surrogate.networks.protocol import Linearization, require_weights


@dataclass(frozen=True)
class TimeNetwork(ABC):
    """What these networks share; `gnvpro.surrogate.networks.protocol.FeatureNetwork` says the rest.

    In theta: the opening matrix (n_inputs + 1, width), bias last; then for every time t = 0, h/2, h, ... the weights of
    that time, bias last.
    """

    n_inputs: int
    width: int
    steps: int = 1
    final_time: float = 1.0

    def __post_init__(self) -> None:
        if min(self.n_inputs, self.width, self.steps) < 1 or not self.final_time > 0:
            raise UsageError(
                "expected positive inputs, width, steps and final time, got "
                f"{self.n_inputs}, {self.width}, {self.steps}, {self.final_time}"
            )
        require_weights(self.n_theta)

    @property
    @abstractmethod
    def n_matrix(self) -> int:
        """Free entries of the matrix of one time."""

    @property
    @abstractmethod
    def n_bias(self) -> int:
        """Entries of the bias of one time."""

    @abstractmethod
    def bind(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        """The map inputs -> features at this theta."""

    @abstractmethod
    def linearize(self, theta: Tensor, inputs: Tensor) -> Linearization:
        """The same with what derivative products need kept."""

    def to_dict(self) -> dict[str, Any]:
        """Its sizes, JSON-able; a kind of network adds its name."""
        sizes = ("n_inputs", "width", "steps", "final_time")
        return {size: getattr(self, size) for size in sizes}

    @property
    def n_opening(self) -> int:
        """Weights of the opening layer."""
        return (self.n_inputs + 1) * self.width

    @property
    def n_times(self) -> int:
        """Times at which weights are given: nodes and midpoints."""
        return 2 * self.steps + 1

    @property
    def n_theta(self) -> int:
        """Number of weights."""
        return self.n_opening + self.n_times * (self.n_matrix + self.n_bias)

    @property
    def step_size(self) -> float:
        """Length of one step."""
        return self.final_time / self.steps

    def initial(self, seed: int) -> Tensor:
        """Gaussian weights of variance 2/fan_in, the same matrix at every time; zero biases (the study's choice)."""
        generator = torch.Generator().manual_seed(seed)
        opening = torch.zeros(self.n_inputs + 1, self.width, dtype=torch.float64)
        opening[:-1] = math.sqrt(2 / self.n_inputs) * torch.randn(
            self.n_inputs, self.width, generator=generator, dtype=torch.float64
        )
        matrix = math.sqrt(2 / self.n_bias) * torch.randn(self.n_matrix, generator=generator, dtype=torch.float64)
        at_one_time = torch.cat([matrix, matrix.new_zeros(self.n_bias)])
        return torch.cat([opening.reshape(-1), at_one_time.repeat(self.n_times)])

    def coarsest(self, levels: int) -> Self:
        """The network with which so many levels end at this one.

        Raises
        ------
        UsageError
            The steps cannot be halved so often.
        """
        return replace(self, steps=coarsest_steps(self.steps, levels))

    def prolonged(self, theta: Tensor) -> tuple[Self, Tensor]:
        """The network of twice the steps, its weights interpolated linearly in time: nearly the same map."""
        finer = replace(self, steps=2 * self.steps)
        coarse = theta[self.n_opening :].view(self.n_times, -1)
        fine = coarse.new_empty(finer.n_times, coarse.shape[1])
        fine[0::2] = coarse
        fine[1::2] = 0.5 * (coarse[1:] + coarse[:-1])
        return finer, torch.cat([theta[: self.n_opening], fine.reshape(-1)])

    def opening_layer(self, theta: Tensor) -> Tensor:
        """The opening matrix (n_inputs + 1, width), bias last."""
        return theta[: self.n_opening].view(self.n_inputs + 1, self.width)


class TimeLinearization:
    """The opening layer at theta, and what its derivative products need."""

    layer_forwards = 0  # the pass of the linearisation kept what is shown

    def __init__(self, network: TimeNetwork, theta: Tensor, inputs: Tensor) -> None:
        self._opening_of, self._inputs = network.opening_layer, inputs
        opening = network.opening_layer(theta)
        self._opened = torch.addmm(opening[-1], inputs, opening[:-1]).tanh_()
        self._opening_slope = (self._opened * self._opened).neg_().add_(1.0)

    def _opening_change(self, direction: Tensor) -> Tensor:
        """Change of what the opening layer gives."""
        opening = self._opening_of(direction)
        return torch.addmm(opening[-1], self._inputs, opening[:-1]).mul_(self._opening_slope)
