"""A model behind a UM-Bridge server as a forward model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import umbridge

from gnvpro.apps.inversion.posterior.failures import Failures
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import shortened
from gnvpro.surrogate.spaces import Array, Space


class RemoteModel:
    """A `ForwardModel` that calls a UM-Bridge server; rows that it cannot compute are NaN, and counted in `failures`."""

    def __init__(self, address: str, parameters: Space | None = None, observables: Space | None = None) -> None:
        """Connect to http://HOST:PORT/NAME; without spaces, which the protocol does not tell, vectors have no bounds.

        Raises
        ------
        UsageError
            No server there, no such model, one that cannot be evaluated, several vectors in or out, or vectors of other
            lengths than the spaces.
        """
        self._address, self.failures = address, Failures()
        self._url, _, name = address.rstrip("/").rpartition("/")
        try:
            names = umbridge.supported_models(self._url)
        except Exception as error:  # the client raises whatever its libraries do
            raise UsageError(f"no UM-Bridge server answers at {self._url} ({_reason(error)}); is it running?") from None
        if name not in names:
            raise UsageError(f"the server at {self._url} has no model {name!r}; it has {', '.join(names)}")
        try:
            self._model = umbridge.HTTPModel(self._url, name)
            sizes = self._model.get_input_sizes(), self._model.get_output_sizes()
        except Exception as error:  # likewise
            raise UsageError(
                f"{address} does not say what goes in and out: {_reason(error)}; mend that model"
            ) from None
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
        return self._by_row(
            self.observables.size, lambda at: next(iter(self._model([at])), []), self.parameters.rows(y)
        )

    def jvp(self, y: Array, dy: Array) -> Array:
        """Derivative along `dy`, row by row: (n, n_in), (n, n_in) -> (n, n_out); NotImplementedError where it has none."""
        points, directions = self.parameters.rows(y), self.parameters.rows(dy)
        if not self._model.supports_apply_jacobian():
            raise NotImplementedError
        product = partial(self._model.apply_jacobian, 0, 0)
        return self._by_row(self.observables.size, lambda at, along: product([at], along), points, directions)

    def vjp(self, y: Array, dc: Array) -> Array:
        """Gradient of <dc, observables>, row by row: (n, n_in), (n, n_out) -> (n, n_in); NotImplementedError likewise."""
        points, weights = self.parameters.rows(y), self.observables.rows(dc)
        if not self._model.supports_gradient():
            raise NotImplementedError
        product = partial(self._model.gradient, 0, 0)
        return self._by_row(self.parameters.size, lambda at, along: product([at], along), points, weights)

    def _by_row(self, size: int, request: Callable[..., Any], *columns: Array) -> Array:
        """What the server computes of every row, (n, size): NaN where the model fails.

        Raises UsageError: the server is gone, or gives another number of numbers.
        """
        rows = np.full((len(columns[0]), size), np.nan)
        for row, arguments in zip(rows, zip(*(column.tolist() for column in columns), strict=True), strict=True):
            try:
                answer = request(*arguments)
            except Exception as error:  # a failed model is a bare Exception, an HTTP error page or NaN no JSON
                self._require_server(error)
                self.failures.add(_reason(error))
                continue
            row[:] = self._numbers(answer, size)
            if not np.isfinite(row).all():
                self.failures.add("not finite")
        return rows

    def _require_server(self, error: Exception) -> None:
        """UsageError unless the server still answers, and so it was the model that failed."""
        if not isinstance(error, OSError):
            return
        try:
            umbridge.supported_models(self._url)
        except Exception:  # its own error tells less than that of the request
            raise UsageError(
                f"the UM-Bridge server at {self._url} does not answer any more ({type(error).__name__}); start it again"
            ) from error

    def _numbers(self, answer: Any, size: int) -> Array:
        """Of an answer, where JSON has null for what is not finite."""
        if not isinstance(answer, list) or len(answer) != size:
            got = len(answer) if isinstance(answer, list) else shortened(answer)
            raise UsageError(f"{self._address} was to give {size} numbers and gave {got}; mend the model of the server")
        return numbers([np.nan if value is None else value for value in answer], f"what {self._address} gives")


def _reason(error: Exception) -> str:
    page = getattr(error, "doc", None)  # of an answer that is no JSON, its text
    return f"{type(error).__name__}: {error}" if page is None else f"the server answered {page[:100]!r}"
