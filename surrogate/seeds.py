"""Seeds of the members of a family, such as the networks of a mean."""

from __future__ import annotations

import numpy as np


def member_seed(seed: int, member: int) -> int:
    """Member 0 has the seed itself; the others have spawned ones, so that families of neighbouring seeds share none."""
    if member == 0:
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=(member,)).generate_state(1)[0])
