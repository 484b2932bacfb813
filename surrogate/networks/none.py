"""No features: what is left of a separable model are its fixed columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class NoFeatures:
    """The network without features, under which W acts on the fixed columns alone: a polynomial by itself."""

    n_inputs: int
    width = 0
    n_theta = 0

    def initial(self, seed: int) -> Tensor:
        """No weights."""
        return torch.zeros(0, dtype=torch.float64)

    def bind(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        """The map inputs -> features at this theta."""
        return lambda inputs: inputs[:, :0]

    def linearize(self, theta: Tensor, inputs: Tensor) -> _NoLinearization:
        """The same with what derivative products need kept."""
        return _NoLinearization(inputs[:, :0], theta)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, read back by `gnvpro.surrogate.networks.registry`."""
        return {"kind": "none", "n_inputs": self.n_inputs}


class _NoLinearization(NamedTuple):
    features: Tensor
    theta: Tensor

    def jvp(self, direction: Tensor) -> Tensor:
        return self.features

    def vjp(self, seed: Tensor) -> Tensor:
        return torch.zeros_like(self.theta)
