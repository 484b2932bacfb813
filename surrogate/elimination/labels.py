"""Class labels as targets of cross-entropy: rows of probabilities, and weights by class."""

from __future__ import annotations

import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError


def one_hot(labels: Tensor, n_classes: int, smoothing: float = 0.0) -> Tensor:
    """Targets (n, n_classes), float64: 1 - smoothing on the label, and smoothing shared by all classes alike.

    Parameters
    ----------
    labels : (n,)
        Integers 0, ..., n_classes - 1; a class may be absent.

    Raises
    ------
    UsageError
        Labels outside of this range or of another kind, or smoothing outside of [0, 1).
    """
    _require_labels(labels, n_classes)
    if not 0 <= smoothing < 1:
        raise UsageError(f"expected label smoothing in [0, 1), got {smoothing}")
    targets = labels.new_full((len(labels), n_classes), smoothing / n_classes, dtype=torch.float64)
    targets[torch.arange(len(labels), device=labels.device), labels.long()] += 1 - smoothing
    return targets


def class_weights(labels: Tensor, n_classes: int, power: float = 0.5) -> Tensor:
    """Weights (n,) proportional to n_c^-power, n_c the number of samples of a sample's class; their mean is one.

    Power 0 counts samples alike, 1 counts classes alike.
    """
    _require_labels(labels, n_classes)
    if not len(labels):
        raise UsageError("expected at least one label, got none")
    counts = torch.bincount(labels.long(), minlength=n_classes).double()
    weights = counts[labels.long()] ** -power
    return weights / weights.mean()


def _require_labels(labels: Tensor, n_classes: int) -> None:
    if n_classes < 2:
        raise UsageError(f"expected at least two classes, got {n_classes}")
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise UsageError(f"expected integer labels (n,), got {labels.dtype} of shape {tuple(labels.shape)}")
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < n_classes):
        raise UsageError(
            f"expected labels 0 to {n_classes - 1}, got {int(labels.min())} to {int(labels.max())}; number them from 0"
        )
