"""Validation data of a classification: the share misclassified chooses the iterate."""

from __future__ import annotations

import torch
from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.objectives.protocol import Point


def predicted_logits(network: FeatureNetwork, theta: Tensor, outer: Tensor, inputs: Tensor) -> Tensor:
    """Logits (n, K), float64, of W (width + 1, K) on the features of these inputs."""
    with torch.no_grad():
        features = network.bind(theta)(inputs).double()
    return torch.addmm(outer[-1], features, outer[:-1])


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of the samples whose largest logit is their label's."""
    return float((logits.argmax(1) == labels).double().mean())


def average_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Mean over the classes present of their accuracy: every class counts alike."""
    right = (logits.argmax(1) == labels).double()
    counts = torch.bincount(labels, minlength=logits.shape[1]).double()
    hits = torch.bincount(labels, right, minlength=logits.shape[1])
    return float((hits / counts)[counts > 0].mean())


class ClassValidation:
    """A `gnvpro.training.fitting.fit.Validation` for classes.

    Parameters
    ----------
    inputs : (n, n_inputs)
        Scaled like those of the objective.
    labels : (n,)
        Integers from 0.

    Raises
    ------
    ValueError
        No samples, or inputs and labels that disagree on them.
    """

    def __init__(self, network: FeatureNetwork, inputs: Tensor, labels: Tensor) -> None:
        if len(inputs) != len(labels) or not len(labels):
            raise UsageError(
                f"expected as many validation inputs as labels and at least one, got {len(inputs)} and {len(labels)}"
            )
        self._network, self._inputs, self._labels = network, inputs, labels.long()

    def measure(self, point: Point) -> tuple[float, float]:
        """Mean cross-entropy, and the share misclassified."""
        logits = predicted_logits(self._network, point.network_weights, point.outer.compressed, self._inputs)
        loss = torch.nn.functional.cross_entropy(logits, self._labels)
        return float(loss), 1.0 - accuracy(logits, self._labels)
