"""Between the memory of a device and Python, without waiting more often than needed.

Python runs ahead of a GPU: it queues operations and goes on. A number that it reads empties the queue, which at a few hundred
samples costs more than the operations do, so what is read at one place is read together.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def numbers(*scalars: Tensor) -> list[float]:
    """Scalar tensors of one device as numbers, in one transfer."""
    if len(scalars) == 1:
        return [float(scalars[0])]
    return torch.stack([scalar.double() for scalar in scalars]).tolist()


def on_device(values: NDArray[np.float64], like: Tensor) -> Tensor:
    """A few numbers with the device and the type of another tensor; Python does not wait until they are there."""
    return torch.from_numpy(values).to(like, non_blocking=True)
