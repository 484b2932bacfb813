"""Where training computes, and on how many threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import shortened

# OpenMP ends the process where it cannot have them.
_MOST_THREADS = 1024


def device_named(name: str) -> torch.device:
    """The device, tried out; a `UsageError` where there is none of that name, or one without float64."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"expected a torch device such as cpu, cuda or cuda:1, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device is available; train on the device cpu")
    try:
        torch.zeros(1, dtype=torch.float64, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise UsageError(f"device {name} cannot be used for training here; expected cpu or a CUDA device") from error
    return device


@contextmanager
def float32_as_such() -> Iterator[None]:
    """Products and convolutions of float32 with all of its digits inside: TF32 of CUDA keeps three."""
    kinds: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    before = [kind.fp32_precision for kind in kinds]
    for kind in kinds:
        kind.fp32_precision = "ieee"
    try:
        yield
    finally:
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads of linear algebra inside, and `float32_as_such`; UsageError for more than machines have."""
    if not 1 <= count <= _MOST_THREADS:
        raise UsageError(f"expected 1 to {_MOST_THREADS} threads, got {shortened(count)}")
    before = torch.get_num_threads()
    with float32_as_such(), threadpool_limits(limits=count):  # of the linear algebra under numpy
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)
