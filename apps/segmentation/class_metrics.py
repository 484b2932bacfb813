"""How well classes are told apart: confusion, overall and average accuracy, kappa."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True, eq=False)
class ClassMetrics:
    """Counts of true (rows) against predicted classes (columns), and what follows from them."""

    confusion: NDArray[np.intp]

    @classmethod
    def of(cls, labels: ArrayLike, predicted: ArrayLike, n_classes: int) -> ClassMetrics:
        """Compare labels with predictions, both (n,) and from 0 to `n_classes` − 1."""
        from sklearn.metrics import confusion_matrix

        labels, predicted = np.asarray(labels), np.asarray(predicted)
        if labels.shape != predicted.shape or labels.ndim != 1:
            raise UsageError(
                f"expected as many labels as predictions, got {labels.shape} and {predicted.shape}; "
                "take both of the same samples"
            )
        for name, given in (("labels", labels), ("predictions", predicted)):
            if given.size and not 0 <= given.min() <= given.max() < n_classes:
                raise UsageError(
                    f"expected {name} from 0 to {n_classes - 1}, got {given.min()} to {given.max()}; "
                    "leave out samples without a class"
                )
        if not labels.size:
            return cls(np.zeros((n_classes, n_classes), dtype=np.intp))
        return cls(confusion_matrix(labels, predicted, labels=np.arange(n_classes)))

    @property
    def overall_accuracy(self) -> float:
        """Share of samples classified rightly; NaN without samples."""
        n = self.confusion.sum()
        return float(np.trace(self.confusion) / n) if n else math.nan

    @property
    def per_class(self) -> Array:
        """Share of each class classified rightly (recall), (n_classes,); NaN where a class has no samples."""
        return np.diag(self.normalised)

    @property
    def average_accuracy(self) -> float:
        """Mean of `per_class` over the classes that have samples."""
        known = self.per_class[np.isfinite(self.per_class)]
        return float(known.mean()) if known.size else math.nan

    @property
    def kappa(self) -> float:
        """Agreement beyond chance (Cohen 1960); NaN where chance alone agrees always."""
        counts, n = self.confusion.astype(float), float(self.confusion.sum())
        if not n:
            return math.nan
        chance = float(counts.sum(0) @ counts.sum(1)) / n**2
        return (self.overall_accuracy - chance) / (1 - chance) if chance < 1 else math.nan

    @property
    def normalised(self) -> Array:
        """The confusion with every row summing to one; NaN rows for classes without samples."""
        n = self.confusion.sum(axis=1, keepdims=True)
        return np.divide(self.confusion, n, out=np.full(self.confusion.shape, np.nan), where=n > 0)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able numbers; NaN where a class has no samples."""
        return {
            "overall_accuracy": self.overall_accuracy,
            "average_accuracy": self.average_accuracy,
            "kappa": self.kappa,
            "per_class": self.per_class.tolist(),
            "confusion": self.confusion.tolist(),
        }
