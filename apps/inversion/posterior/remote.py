"""A model behind a UM-Bridge server as a forward model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gnvpro.apps.inversion.posterior.failures import Failures
from gnvpro.pde_data.problems.solving import message_of
from gnvpro.pde_data.problems.um_bridge_client import Server, ServerModel
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Space


class RemoteModel:
    """A `ForwardModel` that calls a UM-Bridge server; rows that it cannot compute are NaN, and counted in `failures`."""

    def __init__(self, address: str, parameters: Space | None = None, observables: Space | None = None) -> None:
        """Connect to http://HOST:PORT/NAME; without spaces, which the protocol does not tell, vectors have no bounds.

        Raises
        ------
        UsageError
            No server there, no such model, one that cannot be evaluated, or other numbers in or out than the spaces have.
        """
        url, _, name = address.rstrip("/").rpartition("/")
        self._model, self.failures = ServerModel.of(Server.at(url), name), Failures()
        n_in, n_out = self._model.n_in, self._model.n_out
        self.parameters = parameters or Space.vector([f"parameter_{j}" for j in range(n_in)], units=("unknown",))
        names = [f"observable_{j}" for j in range(n_out)]
        self.observables = observables or Space.vector(names, axis="observable", units=("unknown",))
        expected = self.parameters.size, self.observables.size
        if expected != (n_in, n_out):
            raise UsageError(
                f"{address} maps {n_in} parameters to {n_out} observables, expected {expected[0]} and {expected[1]}"
            )

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out) at parameters (n, n_in), one request each."""
        return self._by_row(self.observables.size, self._model.evaluate, self.parameters.rows(y))

    def jvp(self, y: Array, dy: Array) -> Array:
        """Derivative along `dy`, row by row: (n, n_in), (n, n_in) -> (n, n_out); NotImplementedError where it has none."""
        points, directions = self.parameters.rows(y), self.parameters.rows(dy)
        if "ApplyJacobian" not in self._model.operations:
            raise NotImplementedError
        return self._by_row(self.observables.size, self._model.apply_jacobian, points, directions)

    def vjp(self, y: Array, dc: Array) -> Array:
        """Gradient of <dc, observables>, row by row: (n, n_in), (n, n_out) -> (n, n_in); NotImplementedError likewise."""
        points, weights = self.parameters.rows(y), self.observables.rows(dc)
        if "Gradient" not in self._model.operations:
            raise NotImplementedError
        return self._by_row(self.parameters.size, self._model.gradient, points, weights)

    def _by_row(self, size: int, request: Callable[..., Any], *columns: Array) -> Array:
        """What the server computes of every row, (n, size): NaN where the model fails.

        Raises UsageError: the server is gone, or gives another number of numbers.
        """
        rows = np.full((len(columns[0]), size), np.nan)
        for row, arguments in zip(rows, zip(*columns, strict=True), strict=True):
            try:
                row[:] = request(*arguments)
            except UsageError:
                raise
            except Exception as error:
                self.failures.add(message_of(error))
                continue
            if not np.isfinite(row).all():
                self.failures.add("not finite")
        return rows
