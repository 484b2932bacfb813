"""A model behind a UM-Bridge server as a forward model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import umbridge

from gnvpro.apps.inversion.posterior.solves import difference_jacobian
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Space


class RemoteModel:
    """A `ForwardModel` that calls a UM-Bridge server; rows that it cannot compute are NaN.

    Where the server gives no derivatives they are differences, of two evaluations a parameter.
    """

    def __init__(self, address: str, parameters: Space | None = None, observables: Space | None = None) -> None:
        """Connect to http://HOST:PORT/NAME; without spaces, which the protocol does not tell, vectors have no bounds.

        Raises
        ------
        UsageError
            No server there, no such model, one that cannot be evaluated, several vectors in or out, or vectors of other
            lengths than the spaces.
        """
        url, _, name = address.rstrip("/").rpartition("/")
        try:
            names = umbridge.supported_models(url)
        except Exception as error:
            raise UsageError(f"no UM-Bridge server answers at {url} ({type(error).__name__}); is it running?") from None
        if name not in names:
            raise UsageError(f"the server at {url} has no model {name!r}; it has {', '.join(names)}")
        self._model = umbridge.HTTPModel(url, name)
        sizes = self._model.get_input_sizes(), self._model.get_output_sizes()
        if any(len(size) != 1 for size in sizes) or not self._model.supports_evaluate():
            raise UsageError(f"expected a model of one vector in and one out that evaluates; {address} has {sizes}")
        (n_in,), (n_out,) = sizes
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
        return _by_row(self.observables.size, lambda at: self._model([at])[0], self.parameters.rows(y))

    def jvp(self, y: Array, dy: Array) -> Array:
        """Derivative along `dy`, row by row: (n, n_in), (n, n_in) -> (n, n_out)."""
        points, directions = self.parameters.rows(y), self.parameters.rows(dy)
        if not self._model.supports_apply_jacobian():
            return np.einsum("noi,ni->no", self.jacobian(y), directions)
        product = partial(self._model.apply_jacobian, 0, 0)
        return _by_row(self.observables.size, lambda at, along: product([at], along), points, directions)

    def vjp(self, y: Array, dc: Array) -> Array:
        """Gradient of <dc, observables>, row by row: (n, n_in), (n, n_out) -> (n, n_in)."""
        points, weights = self.parameters.rows(y), self.observables.rows(dc)
        if not self._model.supports_gradient():
            return np.einsum("noi,no->ni", self.jacobian(y), weights)
        product = partial(self._model.gradient, 0, 0)
        return _by_row(self.parameters.size, lambda at, along: product([at], along), points, weights)

    def jacobian(self, y: Array) -> Array:
        """Derivatives (n, n_out, n_in), by the server or by differences."""
        n, n_in = y.shape
        if self._model.supports_apply_jacobian():
            columns = self.jvp(np.repeat(y, n_in, axis=0), np.tile(np.eye(n_in), (n, 1)))
            return columns.reshape(n, n_in, -1).transpose(0, 2, 1)
        return difference_jacobian(self.evaluate, self.parameters, y)


def _by_row(size: int, request: Callable[..., list[float]], *columns: Array) -> Array:
    """What the server computes of every row, (n, size): NaN where the model fails; a lost connection is raised."""
    rows: list[list[float]] = []
    for arguments in zip(*(column.tolist() for column in columns), strict=True):
        try:
            rows.append(request(*arguments))
        except OSError as error:
            raise UsageError(f"the UM-Bridge server does not answer any more ({type(error).__name__})") from error
        except Exception as error:
            if "Model returned error" not in str(error):
                raise
            rows.append([np.nan] * size)
    return numbers(rows, "what the server returns").reshape(-1, size)
