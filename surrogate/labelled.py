"""Samples with class labels, split into sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True, eq=False)
class LabelledSamples(ComparedByValue):
    """Inputs (n, d), finite, with labels (n,) from 0."""

    inputs: Array
    labels: NDArray[np.intp]

    def __post_init__(self) -> None:
        inputs, labels = np.asarray(self.inputs), np.asarray(self.labels)
        if inputs.ndim != 2 or labels.shape != inputs.shape[:1]:
            raise UsageError(
                f"expected inputs (n, d) and labels (n,), got {inputs.shape} and {labels.shape}; check the labels"
            )
        if not np.issubdtype(labels.dtype, np.integer):
            raise UsageError(f"expected integer labels, got {labels.dtype}; number the classes from 0")
        bad = np.flatnonzero(~np.isfinite(inputs).all(axis=1))
        if len(bad):
            raise UsageError(f"the inputs of sample {bad[0]} are not finite ({len(bad)} in all); leave them out first")

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class LabelledSplit:
    """Disjoint sets: fit on `train`, choose on `validation`, report on `test`; labels number `class_names`.

    Raises
    ------
    UsageError
        No training or validation samples, fewer than two classes, or labels that have no name.
    """

    train: LabelledSamples
    validation: LabelledSamples
    test: LabelledSamples
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.class_names) < 2:
            raise UsageError(f"expected at least two classes, got {len(self.class_names)}; nothing is to be told apart")
        for name, samples in (("training", self.train), ("validation", self.validation)):
            if not len(samples):
                raise UsageError(f"the {name} set is empty; label more samples or choose another split")
        for samples in (self.train, self.validation, self.test):
            if len(samples) and not 0 <= samples.labels.min() <= samples.labels.max() < len(self.class_names):
                raise UsageError(
                    f"expected labels 0 to {len(self.class_names) - 1}, got {samples.labels.min()} to "
                    f"{samples.labels.max()}; give every class a name"
                )
            if samples.inputs.shape[1] != self.train.inputs.shape[1]:
                raise UsageError("the sets disagree on the number of inputs; check the split")
