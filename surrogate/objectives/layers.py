"""What a network shows of its layers to a curvature estimate, and what showing it costs."""

from __future__ import annotations

from torch import Tensor

from gnvpro.surrogate.networks.protocol import Layer, LayeredLinearization, Linearization
from gnvpro.surrogate.objectives.work import WorkMeter


def charged_layers(linearization: Linearization, seed: Tensor, meter: WorkMeter) -> list[Layer] | None:
    """Layers with sensitivities to `seed` (n, width); None, and nothing charged, where the network shows none.

    One backward pass, and the forward passes that the network takes to show them.
    """
    if not isinstance(linearization, LayeredLinearization):
        return None
    found = linearization.layers(seed)
    if found is not None:
        meter.backward += 1
        meter.forward += linearization.layer_forwards
    return found
