"""Where training computes, and on how many threads."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import shortened

# OpenMP ends the process where it cannot have them.
_MOST_THREADS = 1024
# Rows times features of all layers that are worth a thread (measured: docs/speed.md).
GRAIN = 50_000
_CGROUP = Path("/sys/fs/cgroup/cpu.max")


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
    cudnn: Any = torch.backends.cudnn
    kinds: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
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


def threads_for(rows: int, width: int) -> int:
    """Threads for passes over so many rows, of networks of so many features in all layers; below 2 x `GRAIN` it is one.

    No more than this process may have; one where others of the same kind share the machine: ranks of torchrun, Dask workers.
    """
    if "LOCAL_WORLD_SIZE" in os.environ or _in_dask_worker():
        return 1
    return max(1, min(rows * width // GRAIN, cores(), _MOST_THREADS))


def cores() -> int:
    """Processors that this process may use: by its affinity, and by the quota of its control group (of cgroup v2)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CGROUP.read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, math.ceil(int(quota) / int(period))))


def _in_dask_worker() -> bool:
    worker = sys.modules.get("distributed.worker")  # Dask has loaded it where this is one
    return worker is not None and bool(worker.Worker._instances)
