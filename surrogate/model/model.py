"""What surrogates and classifiers have in common: how they were trained, and what they say of themselves."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from gnvpro.surrogate.formatting import listed, seconds
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.spaces import Space

Rows = list[tuple[str, str]]


class Model(Result):
    """A trained network between two spaces; printed, it shows errors, spaces, network and training in a few rows."""

    kind: ClassVar[str]
    network: FeatureNetwork
    theta: Tensor
    parameters: Space
    observables: Space
    training: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def dtype(self) -> str:
        """Precision of the feature network: `float64` or `float32`."""
        return str(self.theta.dtype).removeprefix("torch.")

    @property
    def title(self) -> str:
        """What kind of model it is."""
        return self.kind.capitalize()

    @property
    def method_in_words(self) -> str:
        """The method of training; a polynomial alone has nothing to iterate."""
        return self.training["method"] if self.network.width else "linear least squares (polynomial only)"

    def rows(self) -> Rows:
        """What a person wants to know first."""
        training = self.training
        rows = [
            *self._first_rows(),
            ("network", listed(self.network.to_dict()) if self.network.width else "none"),
            *self._further_rows(),
        ]
        if {"method", "work_units", "cpu_seconds"} <= training.keys():
            rows += [
                ("trained by", f"{self.method_in_words}, {training['work_units']:.0f} work units, {self.dtype}"),
                ("trained in", f"{seconds(training['cpu_seconds'])} of CPU"),
            ]
        return rows

    def numbers(self) -> dict[str, Any]:
        """All that is stored but the weights, JSON-able."""
        return {
            "kind": self.kind,
            **self._own_numbers(),
            "dtype": self.dtype,
            "network": self.network.to_dict(),
            "training": self.training,
            "provenance": self.provenance,
        }

    def _own_numbers(self) -> dict[str, Any]:
        """What only this kind of model has."""
        raise NotImplementedError

    def _first_rows(self) -> Rows:
        """Errors and spaces."""
        raise NotImplementedError

    def _further_rows(self) -> Rows:
        """What comes after the network."""
        return []
