"""Which parameters of a module belong to linear and convolutional layers, and what passes through these.

A convolution is a dense layer that acts on patches: its gradient at one sample is the sum over positions of patch times
sensitivity (Grosse & Martens 2016). A layer used several times in one pass is the same thing with more positions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from gnvpro.surrogate.networks.protocol import Layer, with_ones

# Of a gradient: above this the layers do not explain it, so the weights are used outside of them too.
_UNEXPLAINED = 1e-4


class _Use(NamedTuple):
    """One call of a layer: rows (samples, positions, fan_in) that came in, and the output as the graph knows it."""

    rows: Tensor
    output: Tensor


class _Weights(NamedTuple):
    """A layer's parameters by the places they have in theta, (fan_in (+ 1), fan_out); one matrix a group."""

    module: nn.Module
    places: list[Tensor]
    with_bias: bool


class ModuleLayers:
    """The linear and convolutional layers of a module.

    Parameters
    ----------
    offsets
        Where the trainable parameters begin in theta, by name. Layers whose weights are not among them are left out,
        as are weights that are made of other parameters (`torch.nn.utils.parametrize`).
    """

    def __init__(self, module: nn.Module, offsets: dict[str, int]) -> None:
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        self._layers: list[_Weights] = []
        self._parts = {
            name: slice(start, start + dict(module.named_parameters())[name].numel()) for name, start in offsets.items()
        }
        by_parameters: dict[tuple[str, str | None], int] = {}
        self._number: dict[str, int] = {}
        for path, layer in module.named_modules():
            if not isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
                continue
            weight = names.get(id(layer.weight), "")
            if weight not in offsets:
                continue
            bias = None if layer.bias is None else names.get(id(layer.bias))
            bias = bias if bias in offsets else None
            number = by_parameters.setdefault((weight, bias), len(self._layers))
            if number == len(self._layers):
                places = _places(layer, offsets[weight], None if bias is None else offsets[bias])
                self._layers.append(_Weights(layer, places, bias is not None))
            self._number[path] = number

    def __bool__(self) -> bool:
        return bool(self._layers)

    def at(
        self, with_weights: Callable[[Tensor], Callable[[], nn.Module]], theta: Tensor, inputs: Tensor, seed: Tensor
    ):
        """The `Layer`s for a seed (n, width), by one forward and one backward pass of a copy with the weights theta.

        Parameters of other kinds, and weights that are used outside of their layers too, become one block a parameter: a
        multiple of the identity, the mean square of the gradient. The seeds of a curvature estimate are independent
        over samples, so the expected square of the sum over samples is the sum of the samples' squares.
        """
        uses: list[list[_Use]] = [[] for _ in self._layers]
        with torch.enable_grad():
            theta = theta.detach().requires_grad_()
            module = with_weights(theta)()
            for path, number in self._number.items():
                module.get_submodule(path).register_forward_hook(_recorder(uses[number], len(inputs)))
            features = module(inputs)
            outputs = [use.output for calls in uses for use in calls]
            gradient, *pulled = torch.autograd.grad(features, [theta, *outputs], seed, allow_unused=True)
        if gradient is None:
            gradient = torch.zeros_like(theta)
        back, explained, covered = iter(pulled), [], torch.zeros_like(gradient, dtype=torch.bool)
        for weights, calls in zip(self._layers, uses, strict=True):
            sensitivities = [_as_rows(weights.module, use, next(back)) for use in calls]
            for layer in _layers(weights, [use.rows for use in calls], sensitivities):
                rebuilt = layer.inputs.flatten(0, -2).t() @ layer.sensitivities.flatten(0, -2)
                expected = gradient[layer.where]
                if float((rebuilt - expected).norm()) <= _UNEXPLAINED * float(expected.norm()):
                    covered[layer.where] = True
                    explained.append(layer)
        return [*explained, *self._loose(gradient, covered)]

    def _loose(self, gradient: Tensor, covered: Tensor):
        for part in self._parts.values():
            places = part.start + torch.nonzero(~covered[part]).flatten()
            if len(places):
                size = gradient[places].square().mean().sqrt()
                yield Layer(places.view(-1, 1, 1), torch.ones_like(size).view(1, 1), size.view(1, 1))


def _places(layer: nn.Linear | nn.Conv1d | nn.Conv2d, weight: int, bias: int | None) -> list[Tensor]:
    device = layer.weight.device
    at = weight + torch.arange(layer.weight.numel(), device=device).view(len(layer.weight), -1)
    if bias is not None:
        at = torch.cat([at, bias + torch.arange(len(at), device=device)[:, None]], 1)
    return [group.t() for group in at.chunk(_groups(layer))]


def _groups(layer: nn.Module) -> int:
    return layer.groups if isinstance(layer, nn.Conv1d | nn.Conv2d) else 1


def _recorder(calls: list[_Use], n: int):
    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = inputs[0].detach()
        rows = _patches(layer, x) if isinstance(layer, nn.Conv1d | nn.Conv2d) else x.reshape(len(x), -1, x.shape[-1])
        # What is not one row of positions a sample has its positions taken as samples.
        calls.append(_Use(rows.clone() if len(rows) == n else rows.reshape(-1, 1, rows.shape[-1]).clone(), output))
        return output.clone()  # an activation that works in place leaves the output itself alone

    return record


def _patches(layer: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    """What a convolution multiplies: (n, positions, channels * kernel)."""
    flat = isinstance(layer, nn.Conv1d)
    x = x if x.ndim == (3 if flat else 4) else x.unsqueeze(0)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = nnf.pad(x, _margins(layer), mode=mode)
    ahead = (1,) if flat else ()
    x = x.unsqueeze(2) if flat else x
    patches = nnf.unfold(x, (*ahead, *layer.kernel_size), (*ahead, *layer.dilation), 0, (*ahead, *layer.stride))
    return patches.transpose(1, 2)


def _margins(layer: nn.Conv1d | nn.Conv2d) -> list[int]:
    """Padding as `torch.nn.functional.pad` takes it: the last axis first."""
    sides = []
    for axis, (kernel, dilation) in enumerate(zip(layer.kernel_size, layer.dilation, strict=True)):
        if isinstance(layer.padding, str):
            whole = dilation * (kernel - 1) if layer.padding == "same" else 0
            sides.append((whole // 2, whole - whole // 2))
        else:
            sides.append((layer.padding[axis],) * 2)
    return [margin for side in reversed(sides) for margin in side]


def _as_rows(layer: nn.Module, use: _Use, sensitivities: Tensor | None) -> Tensor:
    if sensitivities is None:  # the features do not depend on this call
        sensitivities = torch.zeros_like(use.output)
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        unbatched = sensitivities.ndim == (2 if isinstance(layer, nn.Conv1d) else 3)
        sensitivities = (sensitivities.unsqueeze(0) if unbatched else sensitivities).flatten(2).transpose(1, 2)
    return sensitivities.detach().reshape(*use.rows.shape[:2], -1)


def _layers(weights: _Weights, rows: list[Tensor], sensitivities: list[Tensor]):
    """One `Layer` a group, the calls as further positions."""
    if not rows:
        return
    if len({len(call) for call in rows}) > 1:
        rows, sensitivities = ([c.reshape(-1, 1, c.shape[-1]) for c in calls] for calls in (rows, sensitivities))
        h, g = torch.cat(rows), torch.cat(sensitivities)
    else:
        h, g = torch.cat(rows, 1), torch.cat(sensitivities, 1)
    groups = len(weights.places)
    for places, h_group, g_group in zip(weights.places, h.chunk(groups, 2), g.chunk(groups, 2), strict=True):
        if weights.with_bias:
            h_group = with_ones(h_group)
        if h_group.shape[1] == 1:
            h_group, g_group = h_group[:, 0], g_group[:, 0]
        yield Layer(places.to(h.device), h_group, g_group)
