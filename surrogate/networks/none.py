"""No features: what is left of a separable model are its fixed columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gnvpro.surrogate.networks.protocol import FixedFeatures


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

    def linearize(self, theta: Tensor, inputs: Tensor) -> FixedFeatures:
        """The same with what derivative products need kept."""
        return FixedFeatures(inputs[:, :0])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, read back by `gnvpro.surrogate.networks.registry`."""
        return {"kind": "none", "n_inputs": self.n_inputs}
