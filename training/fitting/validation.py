"""What judges the iterates of a fit: a loss and an error on samples, or the objective itself."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.elimination.losses import Loss
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.objectives.protocol import OuterLayer, Point
from gnvpro.surrogate.objectives.reduced import ReducedObjective
from gnvpro.surrogate.objectives.streamed import StreamedObjective
from gnvpro.surrogate.transfer import numbers


class Weights(Protocol):
    """What is measured: a point of an objective, or an iterate that a fit has kept."""

    @property
    def network_weights(self) -> Tensor:
        """Weights of the feature network."""
        ...

    @property
    def outer(self) -> OuterLayer:
        """The last layer."""
        ...


class Validation(Protocol):
    """Data that choose the iterate."""

    def measure(self, point: Weights) -> tuple[float, float]:
        """Loss, and the error by which iterates are chosen: smaller is better."""
        ...


class ValidationSet:
    """The relative error of samples, in the coordinates of the compressed targets.

    Inputs (n, n_inputs), targets (n, n_out) and row weights (n,) are scaled like those of the objective; `fixed` (n, q) are
    its fixed columns at these samples, where it has any; norms (n,) what errors are relative to, those of the targets where
    left out. Where the objective's samples are spread over processes, so are these. Targets may be NaN where they are
    missing: misfits are then of what there is.
    """

    def __init__(
        self,
        objective: ReducedObjective | StreamedObjective,
        inputs: Tensor,
        targets: Tensor,
        row_weights: Tensor,
        fixed: Tensor | None = None,
        norms: Tensor | None = None,
    ) -> None:
        self._fixed = fixed
        self._network, self._inputs = objective.network, inputs
        missing = torch.isnan(targets)
        # Rotated coordinates are those of whole samples alone.
        self._rotation, self._present = None, None
        if bool(missing.any()):
            self._rotation, self._present = objective.rotation, (~missing).double()
        if self._rotation is None:
            self._targets = targets @ objective.rotation.t()
            self._dropped = torch.linalg.vector_norm(targets - self._targets @ objective.rotation, dim=1)
        else:
            self._targets, self._dropped = torch.nan_to_num(targets), torch.zeros_like(targets[:, 0])
        self._norms = torch.linalg.vector_norm(targets, dim=1) if norms is None else norms
        self._row_weights, self._coupling = row_weights, objective.elimination.coupling
        self._total = self._coupling.place(len(inputs)).total

    def measure(self, point: Weights) -> tuple[float, float]:
        """Weighted mean-square loss, and mean per-sample relative L2 error."""
        with torch.no_grad():
            features = self._network.bind(point.network_weights)(self._inputs).double()
        weights, width = point.outer.compressed, features.shape[1]
        if self._rotation is not None:
            weights = weights @ self._rotation
        misfit = features @ weights[:width] + weights[-1] - self._targets
        if self._fixed is not None:
            misfit = torch.addmm(misfit, self._fixed, weights[width:-1])
        if self._present is not None:
            misfit = misfit * self._present
        squares = (misfit**2).sum(1) + self._dropped**2
        sums = torch.stack([0.5 * (self._row_weights**2 * squares).sum(), (squares.sqrt() / self._norms).sum()])
        loss, error = (self._coupling.sum(sums) / self._total).tolist()
        return loss, error


class ClassValidation:
    """The share of samples misclassified.

    Inputs (n, n_inputs) are scaled like those of the objective, labels (n,) are integers from 0; where there are none, or
    not as many of the one as of the other, a `UsageError` is raised. `offset` (K,) is added to the logits. The processes of a
    coupling have samples of their own, some maybe none.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        inputs: Tensor,
        labels: Tensor,
        offset: Tensor | float = 0.0,
        coupling: Coupling = ALONE,
    ) -> None:
        self._total = coupling.place(len(labels)).total
        if coupling.any(len(inputs) != len(labels)) or not self._total:
            raise UsageError(
                f"expected as many validation inputs as labels and at least one, got {len(inputs)} and {len(labels)}"
            )
        self._network, self._inputs, self._labels, self._offset = network, inputs, labels.long(), offset
        self._coupling = coupling

    def measure(self, point: Weights) -> tuple[float, float]:
        """Mean cross-entropy, and the share misclassified."""
        logits = predicted_logits(self._network, point.network_weights, point.outer.compressed, self._inputs)
        logits += self._offset
        loss = torch.nn.functional.cross_entropy(logits, self._labels, reduction="sum")
        right = (logits.argmax(1) == self._labels).sum()
        loss, right = numbers(*self._coupling.sum(torch.stack([loss, right.double()])))
        return loss / self._total, 1.0 - right / self._total


class WeightedLoss:
    """The weighted mean loss of samples, which is also the error that chooses.

    Inputs (n, n_inputs), targets (n, n_out) and sample weights (n,) are scaled like those of the objective, whose targets
    are not compressed.
    """

    def __init__(
        self, network: FeatureNetwork, loss: Loss, inputs: Tensor, targets: Tensor, sample_weights: Tensor
    ) -> None:
        self._network, self._loss = network, loss
        self._inputs, self._targets, self._sample_weights = inputs, targets, sample_weights

    def measure(self, point: Weights) -> tuple[float, float]:
        """The loss, twice."""
        with torch.no_grad():
            features = self._network.bind(point.network_weights)(self._inputs)
        weights = point.outer.weights
        predictions = torch.addmm(weights[:, -1], features, weights[:, :-1].t())
        loss = float((self._sample_weights * self._loss.value(predictions, self._targets)).mean())
        return loss, loss


class ObjectiveValue:
    """The objective itself, where no samples are held out: every accepted step is better."""

    def measure(self, point: Weights) -> tuple[float, float]:
        """The objective's value, twice."""
        value = cast(Point, point).value  # a fit measures points only
        return value, value


def predicted_logits(network: FeatureNetwork, theta: Tensor, outer: Tensor, inputs: Tensor) -> Tensor:
    """Logits (n, K), float64, of W (width + 1, K) on the features of these inputs."""
    with torch.no_grad():
        features = network.bind(theta)(inputs).double()
    return torch.addmm(outer[-1], features, outer[:-1])
