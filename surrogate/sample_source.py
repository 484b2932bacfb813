"""Samples that are read some at a time, wherever they are."""

from __future__ import annotations

from typing import Protocol, override

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.samples import Samples


class SampleSource(Protocol):
    """The solved samples of a data set, numbered from zero."""

    @property
    def bytes_per_sample(self) -> int:
        """Of its parameters and observables in memory."""
        ...

    def __len__(self) -> int: ...

    def read(self, numbers: NDArray[np.intp]) -> Samples:
        """Those of these numbers, which ascend; values alone, without derivatives."""
        ...


class SamplesInMemory(SampleSource):
    """Samples that are there."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples.without_derivatives

    @property
    @override
    def bytes_per_sample(self) -> int:
        return 8 * (self._samples.parameters.shape[1] + self._samples.observables.shape[1])

    @override
    def __len__(self) -> int:
        return len(self._samples)

    @override
    def read(self, numbers: NDArray[np.intp]) -> Samples:
        return self._samples.subset(numbers)
