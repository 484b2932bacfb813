"""The contract of PDE and surrogate alike: parameters to observables, with derivatives where there are any.

A PDE solver, a trained surrogate and a remote model all satisfy `ForwardModel`, so comparing, serving and inverting are
written once.
"""

from __future__ import annotations

import inspect
from typing import Any, Protocol, runtime_checkable

from gnvpro.surrogate.spaces import Array, Space


@runtime_checkable
class ForwardModel(Protocol):
    """A differentiable map from parameters to observables."""

    @property
    def parameters(self) -> Space:
        """What goes in."""
        ...

    @property
    def observables(self) -> Space:
        """What comes out."""
        ...

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out) at parameters (n, n_in); NaN in the rows that could not be computed."""
        ...

    def jvp(self, y: Array, dy: Array) -> Array:
        """Derivative of the observables at `y` along `dy`, row by row: (n, n_in), (n, n_in) -> (n, n_out)."""
        ...

    def vjp(self, y: Array, dc: Array) -> Array:
        """Gradient of <dc, observables> at `y`, row by row: (n, n_in), (n, n_out) -> (n, n_in)."""
        ...


def offers(model: Any, method: str) -> bool:
    """Whether a model has such a method, which is not the empty one it may have inherited from `ForwardModel`."""
    own, empty = getattr(model, method, None), getattr(ForwardModel, method, None)
    return callable(own) and (empty is None or getattr(inspect.unwrap(own), "__func__", None) is not empty)
