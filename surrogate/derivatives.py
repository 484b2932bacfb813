"""Directional derivatives that threads may ask for at the same time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def directional(function: Callable[[Tensor], Tensor], at: Tensor, along: Tensor) -> Tensor:
    """Derivative of the function at a tensor along a direction, differentiable itself.

    By the transpose of the gradient, which is linear in its weights: the levels of forward mode (`torch.func.jvp`) belong
    to the process, and two threads in it end each other's.
    """
    value, pull_back, *_ = torch.func.vjp(function, at)
    transposed = torch.func.vjp(lambda weights: pull_back(weights)[0], torch.zeros_like(value))[1]
    return transposed(along)[0]
