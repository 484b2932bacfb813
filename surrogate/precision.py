"""Thresholds in the precision of a type."""

from __future__ import annotations

import math
import sys

import torch


def in_precision(threshold: float, dtype: torch.dtype) -> float:
    """A threshold that is right in float64, for another type: the same power of the type's machine epsilon."""
    if dtype == torch.float64:
        return threshold
    return torch.finfo(dtype).eps ** (math.log(threshold) / math.log(sys.float_info.epsilon))
