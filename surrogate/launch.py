"""Which process this is of several: by a group of torch.distributed, or by the environment that torchrun makes."""

from __future__ import annotations

import os
import sys
from typing import Any


def n_processes() -> int:
    """How many processes were started together; one where none says so."""
    if (group := _group()) is not None:
        return group.get_world_size()
    size = os.environ.get("WORLD_SIZE", "")
    return max(1, int(size)) if size.isdecimal() else 1


def rank() -> int:
    """The number of this process among them; the first writes and reports."""
    if (group := _group()) is not None:
        return group.get_rank()
    number = os.environ.get("RANK", "")
    return int(number) if n_processes() > 1 and number.isdecimal() else 0


def local_rank() -> int:
    """Its number among those of this machine."""
    number = os.environ.get("LOCAL_RANK", "")
    return int(number) if n_processes() > 1 and number.isdecimal() else 0


def _group() -> Any:
    """torch.distributed where it is loaded and has a group; torch is not loaded for it."""
    distributed = sys.modules.get("torch.distributed")
    return distributed if distributed and distributed.is_available() and distributed.is_initialized() else None
