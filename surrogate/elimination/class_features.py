"""Phi = [Z, 1], the features of a solve and the bias: products with it, and sums over the samples of all processes.

Z is kept as it came. A copy of it with the column of ones written down would be the largest array of a solve, and products
of its odd width take up to seven times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling

# Entries of an array over samples that are made at once where the whole is not needed: what a cache holds.
CHUNK_ENTRIES = 2**19


class Features:
    """Phi (n, width + 1) of the features Z (n, width) of the samples of this process.

    Z in another dtype than its own is made when a product asks for it, and kept.
    """

    def __init__(self, values: Tensor, coupling: Coupling = ALONE) -> None:
        self._values, self.coupling = {values.dtype: values}, coupling
        self.own, self.n_columns = values, values.shape[1] + 1

    def predictions(self, weights: Tensor) -> Tensor:
        """Phi W, (n, K), class by class in memory; in the dtype of W."""
        return torch.addmm(weights[-1].unsqueeze(1), weights[:-1].t(), self._as(weights.dtype).t()).t()

    def adjoint(self, rows: Tensor) -> Tensor:
        """Phi' C of rows (n, K), (width + 1, K), the sum over the samples of this process; in the dtype of C."""
        return torch.cat([rows.t() @ self._as(rows.dtype), rows.sum(0).unsqueeze(1)], 1).t()

    def chunks(self, width: int, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """Phi' (width + 1, rows) of some samples after each other, so many that arrays (width, rows) stay small."""
        size = max(1, CHUNK_ENTRIES // width)
        for first in range(0, len(self.own), size):
            rows = slice(first, first + size)
            part = self.own[rows].t().to(dtype)
            yield rows, torch.cat([part, part.new_ones(1, part.shape[1])])

    @cached_property
    def sizes(self) -> Tensor:
        """The largest entry of every column, (width + 1, 1), among the samples of all processes; one for zeros."""
        lowest, highest = torch.aminmax(self.own, dim=0)
        sizes = self.coupling.largest(torch.cat([torch.maximum(-lowest, highest), highest.new_ones(1)]))
        return torch.where(sizes > 0, sizes, 1.0).unsqueeze(1)

    def _as(self, dtype: torch.dtype) -> Tensor:
        if dtype not in self._values:
            self._values[dtype] = self.own.to(dtype)
        return self._values[dtype]
