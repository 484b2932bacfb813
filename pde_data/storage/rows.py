"""The samples of a data set that is larger than memory, read some at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import override

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.storage.dataset import open_dataset, read_samples
from gnvpro.pde_data.storage.derivatives import TIMES
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.sample_source import SampleSource
from gnvpro.surrogate.samples import Samples

# Of a sample beside parameters, observables and status: what is not read.
_OTHERS = ("failure", "directions", "derivative", *TIMES)


class DataSetRows(SampleSource):
    """The solved samples of a zarr folder or NetCDF file.

    Raises UsageError: what cannot be opened, holds samples that are still pending or none that is solved, or a field, whose
    modes take all samples. `parameters` names those of a data set of somebody else.
    """

    def __init__(self, path: str | os.PathLike[str], parameters: Sequence[str] | None = None) -> None:
        opened = open_dataset(path, parameters)
        self._path = os.fspath(path)
        self._dataset = opened.drop_vars([name for name in _OTHERS if name in opened])
        self._dimension = str(self._dataset["parameters"].dims[0])
        n = self._dataset.sizes[self._dimension]
        status = np.asarray(opened["status"].values) if "status" in opened else np.zeros(n)
        if pending := int((status == SolveStatus.PENDING).sum()):
            raise UsageError(f"{path}: {pending} of {n} samples are still pending; finish it by generating it again")
        self._solved = np.flatnonzero(status == SolveStatus.OK)
        if not len(self._solved):
            raise UsageError(f"{path}: none of its {n} samples is solved; `describe` lists the reasons")
        sizes = [int(np.prod(self._dataset[name].shape[1:])) for name in ("parameters", "observables")]
        self._bytes = 8 * sum(sizes)
        if self.read(np.arange(1)).observable_space.mesh is not None:
            raise UsageError(
                f"{path}: fields are trained on by their modes; train without a limit of memory, in one process"
            )

    @property
    @override
    def bytes_per_sample(self) -> int:
        return self._bytes

    @override
    def __len__(self) -> int:
        return len(self._solved)

    @override
    def read(self, numbers: NDArray[np.intp]) -> Samples:
        samples = self._read(numbers)
        samples.require_complete("training on samples that are read in parts")
        return samples

    def _read(self, numbers: NDArray[np.intp]) -> Samples:
        rows = self._solved[numbers]
        # Neighbours are read as one piece, which is many times as fast.
        together = len(rows) and rows[-1] - rows[0] < 2 * len(rows)
        if not together:
            return read_samples(self._dataset.isel({self._dimension: rows}))
        piece = self._dataset.isel({self._dimension: slice(int(rows[0]), int(rows[-1]) + 1)})
        return read_samples(
            piece if len(rows) == rows[-1] - rows[0] + 1 else piece.isel({self._dimension: rows - rows[0]})
        )
