"""Antisymmetric matrices from their strict lower triangles, and the adjoint of that, for stacks of them."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor


def antisymmetric(weights: Tensor, width: int) -> Tensor:
    """K - K' (r, width, width) from rows that begin with its strict lower triangle, width (width - 1) / 2, row by row.

    What follows in a row, at least one entry, is ignored: at width one it takes the place of the triangle that is empty.
    """
    places = _places(width, weights.device)
    entries = weights.index_select(1, places.triangle_of_entry) * places.sign.to(weights.dtype)
    return entries.view(len(weights), width, width)


def antisymmetric_adjoint(matrices: Tensor) -> Tensor:
    """Gradients by the triangles from gradients by the entries, (r, width, width) -> (r, width (width - 1) / 2)."""
    entries = (matrices - matrices.transpose(1, 2)).flatten(1)
    return entries.index_select(1, _places(matrices.shape[1], matrices.device).entry_of_triangle)


class _Places(NamedTuple):
    """Where the free entries of an antisymmetric matrix sit in it, and the reverse with signs."""

    entry_of_triangle: Tensor
    triangle_of_entry: Tensor
    sign: Tensor


@cache
def _places(width: int, device: torch.device) -> _Places:
    rows, columns = torch.tril_indices(width, width, -1)
    number = torch.arange(len(rows))
    triangle_of_entry, sign = torch.zeros(width, width, dtype=torch.int64), torch.zeros(width, width)
    triangle_of_entry[rows, columns] = triangle_of_entry[columns, rows] = number
    sign[rows, columns], sign[columns, rows] = 1.0, -1.0
    places = (rows * width + columns, triangle_of_entry.reshape(-1), sign.reshape(-1).double())
    return _Places(*(part.to(device) for part in places))
