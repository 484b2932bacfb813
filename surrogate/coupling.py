"""What couples samples: sums over all of them, and orthogonal factorisations of their rows.

A process holds the samples of its rank, one after the other, or all of them. Whatever needs the others is a sum over
processes or the triangular factor of rows that are stacked (TSQR; Demmel, Grigori, Hoemmen & Langou 2012), and every process
gets the same bits of it: decisions that rest on these alone are the same everywhere, and no process waits for another that
went a different way.
"""

from __future__ import annotations

from typing import Any, NamedTuple, override

import torch
import torch.distributed as dist
from torch import Tensor


class Coupling:
    """One process that has all samples; `Ranks` is several.

    Every method is collective: all processes call it, in the same order.
    """

    rank, size = 0, 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Over the processes, elementwise. What is given may be overwritten."""
        return values

    def largest(self, values: Tensor) -> Tensor:
        """Elementwise, over the processes."""
        return values

    def stacked(self, rows: Tensor) -> Tensor:
        """The rows (m, p) of all processes, in the order of these; m and p are the same for all."""
        return rows

    def gathered(self, value: Any) -> list[Any]:
        """What each process has, in their order: anything that can be pickled."""
        return [value]

    def from_first[T](self, value: T) -> T:
        """What the first process has: anything that can be pickled."""
        return value

    def sums(self, *values: Tensor) -> list[Tensor]:
        """Several sums, of one dtype, at once."""
        if self.size == 1:
            return list(values)
        total = self.sum(torch.cat([value.reshape(-1) for value in values]))
        return [
            part.view(value.shape)
            for part, value in zip(total.split([value.numel() for value in values]), values, strict=True)
        ]

    def any(self, flag: bool) -> bool:
        """Whether it holds in some process."""
        return flag if self.size == 1 else bool(self.largest(torch.tensor([int(flag)]))[0])

    def place(self, n: int) -> Place:
        """Where the n samples of this process are among all."""
        numbers = self.gathered(n)
        return Place(sum(numbers[: self.rank]), sum(numbers))

    def share(self, n: int) -> slice:
        """Which of n samples are this process's, of shares as even as can be."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def orthogonal(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Q R = the rows (m, p) of all processes, stacked: the rows of Q that belong to these, and R."""
        basis, triangle = torch.linalg.qr(rows)
        if self.size == 1:
            return basis, triangle
        outer, whole = torch.linalg.qr(self.stacked(_square(triangle)))
        first = self.rank * triangle.shape[1]
        return basis @ outer[first : first + len(triangle)], whole

    def triangle(self, rows: Tensor) -> Tensor:
        """R alone, (p, p) of several processes; from rows (m, p), or from an R of some of them."""
        local = torch.linalg.qr(rows, mode="r").R
        return local if self.size == 1 else torch.linalg.qr(self.stacked(_square(local)), mode="r").R


def _square(triangle: Tensor) -> Tensor:
    """R with rows of zeros, where a process has fewer samples than columns."""
    missing = triangle.shape[1] - len(triangle)
    return torch.cat([triangle, triangle.new_zeros(missing, triangle.shape[1])]) if missing else triangle


class Place(NamedTuple):
    """The number of the first sample of a process among all, and how many there are."""

    first: int
    total: int


ALONE = Coupling()


class Ranks(Coupling):
    """The processes of the default group of `torch.distributed`, which has been made."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    @override
    def sum(self, values: Tensor) -> Tensor:
        values = values.contiguous()
        dist.all_reduce(values)
        return values

    @override
    def largest(self, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values, dist.ReduceOp.MAX)
        return values

    @override
    def stacked(self, rows: Tensor) -> Tensor:
        together = rows.new_empty(self.size * len(rows), *rows.shape[1:])
        dist.all_gather_into_tensor(together, rows.contiguous())
        return together

    @override
    def gathered(self, value: Any) -> list[Any]:
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    @override
    def from_first[T](self, value: T) -> T:
        found = [value]
        dist.broadcast_object_list(found, src=0)
        return found[0]
