"""Where training computes."""

from __future__ import annotations

import torch


def device_named(name: str) -> torch.device:
    """The device, tried out.

    Raises
    ------
    ValueError
        No such device, none there, or one without float64.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"expected a torch device such as cpu, cuda or cuda:1, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device is available; train with --device cpu")
    try:
        torch.zeros(1, dtype=torch.float64, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise ValueError(f"device {name} cannot be used for training here; expected cpu or a CUDA device") from error
    return device
