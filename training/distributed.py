"""Several processes that train together: those that `torchrun` starts.

Where the environment says that there are several, their group is made (gloo on CPUs, nccl for what is on CUDA devices) and
ended again. They run the same program; the first of them writes and reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from gnvpro.surrogate.coupling import ALONE, Coupling, Ranks
from gnvpro.surrogate.launch import local_rank, n_processes
from gnvpro.training.fitting.interrupts import noted

# A process that says nothing for so long has died or hangs.
_PATIENCE = timedelta(minutes=30)


def device_of_process(name: str) -> str:
    """The device for this process: of several, `cuda` means the one of its number on this machine."""
    return f"cuda:{local_rank()}" if name == "cuda" and n_processes() > 1 else name


@contextmanager
def together() -> Iterator[Coupling]:
    """The coupling of this process with those that were started with it; a group that there is stays as it is.

    Inside, Ctrl-C of several processes is noted and agreed on, see `gnvpro.training.fitting.interrupts`.
    """
    if dist.is_initialized() and dist.get_world_size() > 1:
        with noted():
            yield Ranks()
        return
    if n_processes() == 1:
        yield ALONE
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank())
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)
    try:
        with noted():
            yield Ranks()
    finally:
        dist.destroy_process_group()
