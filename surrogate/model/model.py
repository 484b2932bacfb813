"""What surrogates and classifiers have in common: how they were trained, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from gnvpro.surrogate.checks import contiguous
from gnvpro.surrogate.formatting import seconds
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.networks.summary import about, in_words
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.spaces import Array, Space

Rows = list[tuple[str, str]]


# What an error is stated of: samples that neither trained nor chose, or that models like this one did not see.
_HELD_OUT = ("test", "cross-validated", "validation")


def held_out(errors: Mapping[str, float]) -> str | None:
    """The most honest kind of these errors; None where all of them are of samples that were fitted."""
    return next((kind for kind in _HELD_OUT if kind in errors), None)


def tensor_of(array: Array) -> Tensor:
    """The array as a tensor, which shares its memory where that is possible."""
    return torch.from_numpy(contiguous(array))


@contextmanager
def differentiable() -> Iterator[None]:
    """Derivatives are taken whatever the caller is in: `torch.no_grad` and `torch.inference_mode` are about his own."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


class Model(Result):
    """A trained network between two spaces; printed, it shows errors, spaces, network and training in a few rows."""

    kind: ClassVar[str]
    network: FeatureNetwork
    theta: Tensor
    parameters: Space
    observables: Space
    training: dict[str, Any]
    provenance: dict[str, Any]

    def __getstate__(self) -> dict[str, Any]:
        """Without what evaluations keep: it is made again where the copy is used, which may be another process."""
        return {field.name: getattr(self, field.name) for field in fields(cast(Any, self))}

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
            ("network", in_words(self.network)),
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
            "network": about(self.network),
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
