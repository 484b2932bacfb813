"""The trained classifier: class probabilities of raw spectra, a forward model that is saved and loaded like a surrogate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.derivatives import directional
from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.errors import SavedModelError, UsageError
from gnvpro.surrogate.formatting import listed, percent
from gnvpro.surrogate.model import folder as model_folder
from gnvpro.surrogate.model.model import Model, Rows, differentiable, tensor_of
from gnvpro.surrogate.model.spectra import SpectralFeatures
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.networks.registry import network_of
from gnvpro.surrogate.spaces import Array, Space

_CHUNK = 4096
_TENSORS = ("theta", "weights")


@dataclass(frozen=True, eq=False, repr=False)
class Classifier(ComparedByValue, Model):
    """softmax(W [F(features(y); theta), 1]).

    Attributes
    ----------
    theta : (n_theta,)
        Weights of the feature network, in the dtype it was trained in.
    weights : (K, width + 1)
        Last layer, bias last; float64.
    features
        What the network sees of the raw inputs.
    parameters, observables
        Spaces of the raw inputs (bands), and of the probabilities, whose names are those of the classes.
    accuracy
        Share classified rightly of `train`, `validation` and `test`.
    training, provenance
        How it was trained, and on what; JSON-able.
    """

    network: FeatureNetwork
    theta: Tensor
    weights: Tensor
    features: SpectralFeatures
    parameters: Space
    observables: Space
    accuracy: dict[str, float] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        return self.observables.names

    kind: ClassVar = "classifier"

    def _own_numbers(self) -> dict[str, Any]:
        features = {name: value for name, value in self.features.to_dict().items() if isinstance(value, bool | int)}
        return {"accuracy": self.accuracy, "classes": list(self.class_names), "features": features}

    def _first_rows(self) -> Rows:
        return [
            ("accuracy", listed(self.accuracy, percent)),
            ("maps", f"{self.parameters.in_words()} → {len(self.class_names)} classes"),
            ("classes", ", ".join(self.class_names)),
        ]

    def evaluate(self, y: Array) -> Array:
        """Probabilities (n, K) of raw inputs (n, n_bands); rows that are not finite give NaN."""
        y = self.parameters.rows(y)
        with torch.inference_mode():
            parts = [self._map(tensor_of(y[i : i + _CHUNK])) for i in range(0, len(y), _CHUNK)]
            found = torch.cat(parts).numpy() if parts else np.zeros((0, self.observables.size))
        found[~np.isfinite(y).all(axis=1)] = np.nan  # tanh of an infinite band would be a number
        return found

    def labels(self, y: Array) -> NDArray[np.intp]:
        """The most probable class of each row, from 0; -1 for rows that are not finite."""
        probabilities = self.evaluate(y)
        known = np.isfinite(probabilities).all(axis=1)
        return np.where(known, np.where(known[:, None], probabilities, 0).argmax(axis=1), -1)

    def inside(self, y: Array) -> NDArray[np.bool_]:
        """Which rows lie in the range of the training spectra: (n, n_bands) -> (n,)."""
        return self.parameters.contains(y)

    def jvp(self, y: Array, dy: Array) -> Array:
        """Derivative of the probabilities along `dy`, row by row: (n, n_bands), (n, n_bands) -> (n, K)."""
        at, along = (tensor_of(self.parameters.rows(values)) for values in (y, dy))
        _require_pairs(at, along)
        with differentiable():
            return directional(self._map, at, along).detach().numpy()

    def vjp(self, y: Array, dc: Array) -> Array:
        """Gradient of <dc, probabilities>, row by row: (n, n_bands), (n, K) -> (n, n_bands)."""
        at, seed = tensor_of(self.parameters.rows(y)), tensor_of(self.observables.rows(dc))
        _require_pairs(at, seed)
        with differentiable():
            return torch.func.vjp(self._map, at)[1](seed)[0].detach().numpy()

    @cached_property
    def _map(self) -> Callable[[Tensor], Tensor]:
        with differentiable():  # whichever call is first: tensors made in inference mode could never be differentiated
            features, network = self.features.bind(torch.device("cpu")), self.network.bind(self.theta)
        weights, bias, dtype = self.weights[:, :-1].t(), self.weights[:, -1], self.theta.dtype

        def probabilities(y: Tensor) -> Tensor:
            hidden = network(features(y).to(dtype)).to(torch.float64)
            return torch.softmax(torch.addmm(bias, hidden, weights), 1)

        return probabilities

    def save(self, path: str | Path, *, overwrite: bool = False, extra: dict[str, Any] | None = None) -> None:
        """Write the model folder, all of it or nothing; see `gnvpro.surrogate.model.surrogate.Surrogate.save`."""
        model_folder.require_place(path_of(path, "the folder of a model"), overwrite)
        description: dict[str, Any] = {
            "kind": self.kind,
            "network": self.network.to_dict(),
            "dtype": self.dtype,
            "features": self.features.to_dict(),
            "parameters": self.parameters.to_dict(),
            "observables": self.observables.to_dict(),
            "accuracy": self.accuracy,
            "training": self.training,
            "provenance": self.provenance,
        }
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        model_folder.write(path_of(path), description, tensors, extra or {})

    @classmethod
    def load(cls, path: str | Path, module: nn.Module | None = None) -> Classifier:
        """Read a model folder; runs no code from it. Raises as `gnvpro.surrogate.model.surrogate.Surrogate.load` does."""
        description, tensors = model_folder.read(path_of(path, "the folder of a model"), kind="classifier")
        with model_folder.complaining_of(path_of(path)):
            features = SpectralFeatures.from_dict(description["features"])
            n_bands = len(description["parameters"]["axes"][0]["labels"])
            if features.n_bands != n_bands:
                raise SavedModelError(f"the classifier's data have {n_bands} bands, its features {features.n_bands}")
            model = cls(
                network=network_of(description["network"], features.n_features, module),
                features=features,
                parameters=model_folder.space_of(description["parameters"], n_bands),
                observables=model_folder.space_of(description["observables"], len(tensors["weights"])),
                **{name: tensors[name] for name in _TENSORS},
                **{name: description[name] for name in ("accuracy", "training", "provenance")},
            )
            model._check(description["dtype"])
        return model

    def _check(self, dtype: str) -> None:
        expected = {
            "theta": ((self.network.n_theta,), dtype),
            "weights": ((self.observables.size, self.network.width + 1), "float64"),
        }
        model_folder.require_tensors({name: getattr(self, name) for name in _TENSORS}, expected)


def _require_pairs(at: Tensor, other: Tensor) -> None:
    if len(at) != len(other):
        raise UsageError(f"expected one direction per point, got {len(other)} for {len(at)} points")
