"""Any `torch.nn.Module` as feature network: the general path, by `torch.func`."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vjp

from gnvpro.surrogate.derivatives import directional
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.module_layers import ModuleLayers
from gnvpro.surrogate.networks.protocol import Layer


class ModuleNetwork:
    """Wraps a module that maps (n, n_inputs) to features (n, width).

    The module is copied and put in evaluation mode (dropout and running statistics would make the objective
    random); the module given is left alone. Its weights enter theta in the order of `named_parameters`, and
    those frozen by `requires_grad_(False)` stay as they are; `initial` ignores the seed: the module's own weights are
    the start. What is bound runs a copy of the module in every thread, so that threads share nothing, whatever a module
    keeps of a call, and nothing changes the module here.

    Raises
    ------
    UsageError
        A module that cannot be copied, no trainable weights, or an output that is not (n, width).
    """

    def __init__(self, module: nn.Module, n_inputs: int) -> None:
        try:
            copied = copy.deepcopy(module)
        except (RuntimeError, TypeError) as error:  # tensors that have a history; files and the like
            raise UsageError(f"expected a module that can be copied: {error}") from error
        self.module = copied.eval().double()
        self.n_inputs = n_inputs
        parameters = {name: value for name, value in self.module.named_parameters() if value.requires_grad}
        self._parameters, self._frozen = parameters, [p for p in self.module.parameters() if not p.requires_grad]
        if not parameters:
            raise UsageError("the module has no parameters to train; expected a network")
        self._shapes = {name: value.shape for name, value in parameters.items()}
        self._uploaded: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
        self._start = torch.cat([value.detach().reshape(-1) for value in parameters.values()])
        ends = itertools.accumulate(shape.numel() for shape in self._shapes.values())
        self.module_layers = ModuleLayers(self.module, dict(zip(self._shapes, (0, *ends), strict=False)))
        with torch.no_grad():
            out = self.bind(self._start)(self._start.new_zeros(2, n_inputs))
        if out.ndim != 2 or len(out) != 2:
            raise UsageError(
                f"expected features (n, width) for inputs (n, {n_inputs}), got {tuple(out.shape)} for n = 2"
            )
        self.width = out.shape[1]

    @property
    def n_theta(self) -> int:
        """Number of weights."""
        return len(self._start)

    def initial(self, seed: int) -> Tensor:
        """The weights the module came with."""
        return self._start.clone()

    def bind(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        """The map inputs -> features at this theta."""
        with_weights, of_thread = self.with_weights(theta), threading.local()

        def features(inputs: Tensor) -> Tensor:
            if not hasattr(of_thread, "module"):
                of_thread.module = with_weights()
            return of_thread.module(inputs)

        return features

    def with_weights(self, theta: Tensor) -> Callable[[], nn.Module]:
        """Makes copies of the module with the weights of theta, which stay part of theta's graph."""
        parts = torch.split(theta, [shape.numel() for shape in self._shapes.values()])
        weights = {
            id(self._parameters[name]): part.view(shape)
            for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)
        }
        frozen, buffers = self._constants(theta)
        weights |= {id(value): there for value, there in zip(self._frozen, frozen, strict=True)}

        def copied() -> nn.Module:
            # What is in here stands in for a copy, wherever the module refers to it.
            replaced: dict[int, Any] = dict(weights)
            with torch.inference_mode(False):  # or whichever call is first in a thread would decide for all
                for value, there in zip(self.module.buffers(), buffers, strict=True):
                    replaced[id(value)] = there.clone()
                return copy.deepcopy(self.module, replaced)

        return copied

    def _constants(self, like: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What is not trained, frozen weights and buffers, where theta is: brought there once."""
        key = like.device, like.dtype
        if key not in self._uploaded:
            with torch.inference_mode(False):
                frozen = [value.detach().to(like) for value in self._frozen]
                buffers = [v.detach().to(like if v.is_floating_point() else like.device) for v in self.module.buffers()]
            self._uploaded[key] = frozen, buffers
        return self._uploaded[key]

    def __getstate__(self) -> dict[str, Any]:
        """Without what is on a device, which another process may not have."""
        return {**self.__dict__, "_uploaded": {}}

    def linearize(self, theta: Tensor, inputs: Tensor) -> ModuleLinearization:
        """The same with what derivative products need kept."""
        return ModuleLinearization(self, theta, inputs)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description: weights are saved, code is not; loading needs the module given."""
        return {"kind": "module", "n_inputs": self.n_inputs, "class": type(self.module).__qualname__}


class MapLinearization:
    """Products of a map theta -> features by `torch.func`; correct where it is differentiable."""

    def __init__(self, features: Callable[[Tensor], Tensor], theta: Tensor) -> None:
        self._theta, self._map = theta, features
        at_theta, self._pull_back, *_ = vjp(features, theta)
        self.features = at_theta.detach()

    def jvp(self, direction: Tensor) -> Tensor:
        """Change of the features along a direction."""
        return directional(self._map, self._theta, direction)

    def vjp(self, seed: Tensor) -> Tensor:
        """Gradient of <seed, features> by theta."""
        return self._pull_back(seed)[0]


class ModuleLinearization(MapLinearization):
    """That of a network's bound map."""

    layer_forwards = 1  # the module is run again to see what enters its layers

    def __init__(self, network: Any, theta: Tensor, inputs: Tensor) -> None:
        super().__init__(lambda at: network.bind(at)(inputs), theta)
        self._network, self._inputs = network, inputs

    def layers(self, seed: Tensor) -> list[Layer] | None:
        """What enters the layers and comes back to them; None where the module has none."""
        known = getattr(self._network, "module_layers", None)
        return known.at(self._network.with_weights, self._theta, self._inputs, seed) if known else None
