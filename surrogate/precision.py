"""Numbers of a type of torch: thresholds in its precision, and whether all of a tensor are finite."""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor


def in_precision(threshold: float, dtype: torch.dtype) -> float:
    """A threshold that is right in float64, for another type: the same power of the type's machine epsilon."""
    if dtype == torch.float64:
        return threshold
    return torch.finfo(dtype).eps ** (math.log(threshold) / math.log(sys.float_info.epsilon))


def all_finite(values: Tensor) -> bool:
    """Whether no number is NaN or infinite, without a second tensor of their size."""
    return not values.numel() or bool(torch.isfinite(torch.stack(torch.aminmax(values))).all())
