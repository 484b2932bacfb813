"""Parameters as the inputs of a network: shifted and scaled, those that span decades after their logarithm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnvpro.surrogate.spaces import Array

# Of the length of each parameter's range in training.
BOUNDS_MARGIN = 0.1
# Spreads of a parameter from zero.
_FAR = 1e3


def bound_inputs(
    shift: Tensor, scale: Tensor, logarithmic: tuple[bool, ...] | None = None, device: torch.device | None = None
) -> Callable[[Tensor], Tensor]:
    """The map parameters (n, n_in) -> (t(y) - shift) * scale with t the logarithm where that is said.

    Parameters that are not positive have no logarithm: NaN, zero among them. The parameters are on the device, that of the
    shift where left out.
    """
    offset = -shift * scale
    # One operation instead of two, unless the mean is so many spreads that it would cost digits.
    is_far = bool((offset.abs() > _FAR).any())
    shift, scale, offset = (values.to(device or shift.device) for values in (shift, scale, offset))

    def scaled(y: Tensor) -> Tensor:
        return (y - shift) * scale if is_far else torch.addcmul(offset, y, scale)

    if not logarithmic:
        return scaled
    flags, one = torch.tensor(logarithmic, device=shift.device), shift.new_ones(())

    def of_logarithms(y: Tensor) -> Tensor:
        # The other parameters are no arguments of log, whose derivative may be infinite there.
        t = torch.where(flags, torch.log(torch.where(flags, y, one)), y)
        return scaled(t + 0 * t)  # NaN for the logarithm of zero

    return of_logarithms


def training_range(
    training: Mapping[str, Any], margin: float = BOUNDS_MARGIN, logarithmic: tuple[bool, ...] | None = None
) -> tuple[Array, Array] | None:
    """Lower and upper ends (n_in,) of where training samples were, each moved out by `margin` of the length between.

    The length is that between logarithms for the parameters that enter by these. None where `training`, the record of a
    model, does not tell.
    """
    if not (bounds := training.get("bounds")):
        return None
    lower, upper = np.asarray(bounds["lower"], float), np.asarray(bounds["upper"], float)
    beyond = margin * (upper - lower)
    below, above = lower - beyond, upper + beyond
    flags = np.zeros(len(lower), bool) if logarithmic is None else np.array(logarithmic) & (lower > 0)
    factor = (upper[flags] / lower[flags]) ** margin
    below[flags], above[flags] = lower[flags] / factor, upper[flags] * factor
    return below, above
