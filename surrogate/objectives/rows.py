"""Samples as they are trained on, some at a time: in memory, or in a file that is larger than memory."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol, override

import numpy as np
import torch
from torch import Tensor

from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer

# What a chunk may take with all that is computed of it.
CHUNK_BYTES = 48 * 2**20
_MOST_ROWS = 8192


class Part(NamedTuple):
    """Some samples of this process.

    Attributes
    ----------
    inputs : (m, d)
        Of the network.
    targets, columns : (m, k), (m, q)
        Compressed targets, and what stands beside the features, the bias last.
    row_scale : (m, 1)
        omega / sqrt(n).
    dropped, norms : (m,)
        Norm of what compression left out of the targets; what errors are relative to.
    """

    inputs: Tensor
    targets: Tensor
    columns: Tensor
    row_scale: Tensor
    dropped: Tensor
    norms: Tensor


class Rows(Protocol):
    """The samples of this process."""

    def __len__(self) -> int: ...

    def read(self, rows: slice) -> Part:
        """Some that follow each other."""
        ...

    def at(self, index: Tensor) -> Part:
        """Those of these numbers, in that order."""
        ...

    def will_need(self, index: Tensor) -> None:
        """Say of which numbers `at` will be asked next."""
        ...

    def ahead(self, size: int) -> Iterator[Part]:
        """All, so many at a time, the next ones read while the last are worked on."""
        ...


def rows_at_once(n_numbers: int) -> int:
    """Samples in a chunk, of each of which so many numbers are in memory at a time."""
    return max(64, min(_MOST_ROWS, CHUNK_BYTES // (8 * n_numbers)))


class RowsInMemory(Rows):
    """Samples whose tensors are there: inputs (n, d), and a layer that has the rest."""

    def __init__(self, inputs: Tensor, layer: LeastSquaresLayer) -> None:
        self.inputs, self._layer = inputs, layer

    @override
    def __len__(self) -> int:
        return len(self.inputs)

    @override
    def read(self, rows: slice | Tensor) -> Part:
        layer = self._layer
        parts = layer.targets, layer.columns, layer.row_scale, layer.dropped, layer.target_norms
        return Part(self.inputs[rows], *(part[rows] for part in parts))

    @override
    def at(self, index: Tensor) -> Part:
        return self.read(index)

    @override
    def will_need(self, index: Tensor) -> None:
        pass

    @override
    def ahead(self, size: int) -> Iterator[Part]:
        return (self.read(slice(first, first + size)) for first in range(0, len(self), size))


class RowsOnDisk(Rows):
    """Samples in a file without a name, which is gone when the process is.

    Parameters
    ----------
    sizes
        Numbers d, k and q of inputs, targets and columns of a sample.
    """

    def __init__(self, sizes: tuple[int, int, int], device: torch.device) -> None:
        self.sizes, self._device, self._n = sizes, device, 0
        self._file = tempfile.TemporaryFile(prefix="gnvpro-")  # noqa: SIM115  open as long as this is used
        self._reader = ThreadPoolExecutor(1, "gnvpro-reader")
        self._next: tuple[Tensor, Future[Tensor]] | None = None
        self._pool: tuple[Tensor, Tensor] | None = None

    @property
    def _length(self) -> int:
        return sum(self.sizes) + 3

    @override
    def __len__(self) -> int:
        return self._n

    def append(self, part: Part) -> None:
        """Write some more, in float64."""
        columns = (c.reshape(len(part.inputs), -1).double().cpu() for c in part)
        self._file.write(torch.cat(list(columns), 1).numpy().tobytes())
        self._n += len(part.inputs)

    def finish(self) -> None:
        """Nothing more will be written."""
        self._file.flush()

    @override
    def read(self, rows: slice) -> Part:
        return self._part(self._table(rows.start, min(rows.stop, self._n)))

    @override
    def ahead(self, size: int) -> Iterator[Part]:
        ends = [*range(0, self._n, size), self._n]
        coming = self._reader.submit(self._table, *ends[:2])
        for begin, end in zip(ends[1:], [*ends[2:], None], strict=False):
            table = coming.result()
            if end is not None:
                coming = self._reader.submit(self._table, begin, end)
            yield self._part(table)

    @override
    def will_need(self, index: Tensor) -> None:
        wanted = index.unique().cpu()
        if self._next is None:
            self._next = wanted, self._reader.submit(self._gathered, wanted)
            return
        numbers, reading = self._next
        self._pool = numbers, reading.result()
        self._next = wanted, self._reader.submit(self._gathered, wanted)

    @override
    def at(self, index: Tensor) -> Part:
        index = index.cpu()
        for found in self._held():
            numbers, table = found
            places = torch.searchsorted(numbers, index).clamp(max=max(len(numbers) - 1, 0))
            if len(numbers) and torch.equal(numbers[places], index):
                return self._part(table[places])
        return self._part(self._gathered(index))

    def _held(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._pool is not None:
            yield self._pool
        if self._next is not None:
            numbers, reading = self._next
            yield numbers, reading.result()

    def _gathered(self, index: Tensor) -> Tensor:
        """Numbers (m, length) of these samples; neighbours are read at once."""
        table = torch.empty(len(index), self._length, dtype=torch.float64)
        if not len(index):
            return table
        numbers = index.numpy()
        breaks = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
        for begin, end in itertools.pairwise(breaks):
            self._fill(table[begin:end], int(numbers[begin]))
        return table

    def _table(self, begin: int, end: int) -> Tensor:
        table = torch.empty(end - begin, self._length, dtype=torch.float64)
        self._fill(table, begin)
        return table

    def _fill(self, table: Tensor, first: int) -> None:
        place, buffer = first * self._length * 8, memoryview(table.numpy()).cast("B")
        while len(buffer):
            done = os.preadv(self._file.fileno(), [buffer], place)
            if not done:
                raise OSError("the file of samples that training works from ended early; is the disk full?")
            place, buffer = place + done, buffer[done:]

    def _part(self, table: Tensor) -> Part:
        d, k, q = self.sizes
        inputs, targets, columns, scale, dropped, norms = table.to(self._device).split([d, k, q, 1, 1, 1], 1)
        return Part(inputs, targets, columns, scale, dropped[:, 0], norms[:, 0])


class ScaledInputs(Rows):
    """Other samples' rows, their inputs (x - shift) * scale in the precision of the network's passes."""

    def __init__(self, rows: Rows, shift: Tensor, scale: Tensor, dtype: torch.dtype) -> None:
        self._rows, self._shift, self._scale, self._dtype = rows, shift, scale, dtype

    @override
    def __len__(self) -> int:
        return len(self._rows)

    @override
    def read(self, rows: slice) -> Part:
        return self._scaled(self._rows.read(rows))

    @override
    def at(self, index: Tensor) -> Part:
        return self._scaled(self._rows.at(index))

    @override
    def will_need(self, index: Tensor) -> None:
        self._rows.will_need(index)

    @override
    def ahead(self, size: int) -> Iterator[Part]:
        return map(self._scaled, self._rows.ahead(size))

    def _scaled(self, part: Part) -> Part:
        inputs = part.inputs
        return part._replace(inputs=((inputs - self._shift.to(inputs)) * self._scale.to(inputs)).to(self._dtype))
