"""The state of a fit or solver as JSON values and tensors: what a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from gnvpro.training.solvers.protocol import Solver


@dataclass
class State:
    """JSON-able values and tensors, both by name; parts are named `part.name`."""

    values: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def add(self, name: str, part: State | None) -> None:
        """Put a part in; None leaves a mark that there is none."""
        self.values[name] = None if part is None else part.values
        if part is not None:
            self.tensors |= {f"{name}.{key}": tensor for key, tensor in part.tensors.items()}

    def part(self, name: str) -> State | None:
        """The part of this name, or None where it was None."""
        values, start = self.values[name], f"{name}."
        if values is None:
            return None
        return State(values, {key[len(start) :]: t for key, t in self.tensors.items() if key.startswith(start)})

    def on(self, like: Tensor) -> State:
        """The same with its tensors on the device of another."""
        return State(self.values, {name: tensor.to(like.device) for name, tensor in self.tensors.items()})

    def array(self, name: str) -> np.ndarray:
        """A tensor as array on the host."""
        return self.tensors[name].cpu().numpy()


@runtime_checkable
class Resumable(Solver, Protocol):
    """A solver that can be put aside and taken up again with the same bits."""

    def state(self) -> State:
        """All that the next steps depend on, besides the point."""
        ...

    def restore(self, state: State) -> None:
        """Become the solver whose state this is; made with the same arguments."""
        ...


def as_tensor(array: np.ndarray) -> Tensor:
    """A host array as tensor of the same memory order."""
    return torch.from_numpy(array)
