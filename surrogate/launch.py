"""What `torchrun`, and everything that starts processes as it does, tells each of them by its environment."""

from __future__ import annotations

import os


def n_processes() -> int:
    """How many processes were started together; one where none says so."""
    size = os.environ.get("WORLD_SIZE", "")
    return max(1, int(size)) if size.isdecimal() else 1


def rank() -> int:
    """The number of this process among them; the first writes and reports."""
    number = os.environ.get("RANK", "")
    return int(number) if n_processes() > 1 and number.isdecimal() else 0


def local_rank() -> int:
    """Its number among those of this machine."""
    number = os.environ.get("LOCAL_RANK", "")
    return int(number) if n_processes() > 1 and number.isdecimal() else 0
