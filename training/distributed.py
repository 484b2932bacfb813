"""Several processes that train together: those that `torchrun` starts.

Where the environment says that there are several, their group is made (gloo on CPUs, nccl for what is on CUDA devices) and
ended again. They run the same program; the first of them writes and reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from gnvpro.surrogate.coupling import ALONE, Coupling, Ranks
from gnvpro.surrogate.launch import local_rank, n_processes
from gnvpro.training.interrupts import noted

# Processes wait as long as another trains alone; torchrun ends the others of one that dies.
_PATIENCE = timedelta(days=7)
# The store that torchrun keeps has the addresses of earlier groups: each has a name of its own.
_groups = count()


def device_of_process(name: str) -> str:
    """The device for this process: of several, `cuda` means the one of its number on this machine."""
    return f"cuda:{local_rank()}" if name == "cuda" and n_processes() > 1 else name


@contextmanager
def together() -> Iterator[Coupling]:
    """The coupling of this process with those that were started with it; a group that there is stays as it is.

    Inside, Ctrl-C of several processes is noted and agreed on, see `gnvpro.training.interrupts`.
    """
    if dist.is_initialized() and dist.get_world_size() > 1:
        with noted():
            yield Ranks()
        return
    if n_processes() == 1:
        yield ALONE
        return
    if local_rank() < torch.cuda.device_count():
        torch.cuda.set_device(local_rank())
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store, rank, size = next(rendezvous("env://", timeout=_PATIENCE))
    store = dist.PrefixStore(f"gnvpro-{next(_groups)}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    try:
        with noted():
            yield Ranks()
    finally:
        dist.destroy_process_group()
