"""A model behind a UM-Bridge server as a problem: cheaper versions by its `config`, tangents by its ApplyJacobian.

    gnvpro generate gnvpro.pde_data.problems.um_bridge:UMBridge --set url=http://localhost:4242 --set model=forward \\
        --set lower="[0, 0]" --set upper="[1, 2]" --set levels='[{"fidelity": 2}, {"fidelity": 1}]' --out fine.zarr
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import PickledWithoutCaches, SolveStatus, checked_directions
from gnvpro.pde_data.problems.options import options_of
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.extras import require
from gnvpro.surrogate.names import shortened
from gnvpro.surrogate.spaces import Array, Space


@dataclass(frozen=True)
class Connection:
    """A model of a server that has one vector in and one out; requests are made row by row."""

    model: Any
    address: str
    n_in: int
    n_out: int
    config: dict[str, Any]

    @classmethod
    def to(cls, url: str, name: str, config: dict[str, Any] | None = None) -> Connection:
        """Connect to the model of this name at http://HOST:PORT.

        Raises UsageError: no server there, no such model, one that cannot be evaluated, or several vectors in or out.
        """
        require("umbridge", "it calls models of UM-Bridge servers")
        import umbridge

        config, address = config or {}, f"{url.rstrip('/')}/{name}"
        try:
            names = umbridge.supported_models(url.rstrip("/"))
        except Exception as error:  # the client raises whatever its libraries do
            raise UsageError(f"no UM-Bridge server answers at {url} ({reason_of(error)}); is it running?") from None
        if name not in names:
            raise UsageError(f"the server at {url} has no model {name!r}; it has {', '.join(names)}")
        try:
            model = umbridge.HTTPModel(url.rstrip("/"), name)
            sizes = model.get_input_sizes(config), model.get_output_sizes(config)
        except Exception as error:  # likewise
            raise UsageError(
                f"{address} does not say what goes in and out: {reason_of(error)}; mend that model"
            ) from None
        if any(len(size) != 1 for size in sizes) or not model.supports_evaluate():
            raise UsageError(f"expected a model of one vector in and one out that evaluates; {address} has {sizes}")
        (n_in,), (n_out,) = sizes
        return cls(model, address, n_in, n_out, config)

    def evaluate(self, row: list[float]) -> Array:
        """Observables (n_out,), NaN where the model gives null; raises whatever the client does where the model fails."""
        return self._numbers(next(iter(self.model([row], self.config)), []), self.n_out)

    def apply_jacobian(self, row: list[float], direction: list[float]) -> Array:
        """Derivative (n_out,) along a direction; raises likewise."""
        return self._numbers(self.model.apply_jacobian(0, 0, [row], direction, self.config), self.n_out)

    def gradient(self, row: list[float], weights: list[float]) -> Array:
        """Gradient (n_in,) of <weights, observables>; raises likewise."""
        return self._numbers(self.model.gradient(0, 0, [row], weights, self.config), self.n_in)

    def _numbers(self, answer: Any, size: int) -> Array:
        """Raises UsageError: another number of numbers, or something else."""
        if not isinstance(answer, list) or len(answer) != size:
            got = len(answer) if isinstance(answer, list) else shortened(answer)
            raise UsageError(f"{self.address} was to give {size} numbers and gave {got}; mend the model of the server")
        return numbers([np.nan if value is None else value for value in answer], f"what {self.address} gives")


def reason_of(error: Exception) -> str:
    """Why a request failed; of an answer that is no JSON, its text."""
    page = getattr(error, "doc", None)
    return f"{type(error).__name__}: {error}" if page is None else f"the server answered {page[:100]!r}"


@dataclass(frozen=True)
class UMBridge(PickledWithoutCaches):
    """The model of a server, sample by sample; a request that fails is a sample that failed.

    Attributes
    ----------
    url, model
        Server, such as http://localhost:4242, and name of the model.
    lower, upper
        Bounds of the parameters, which the protocol does not tell; they are drawn uniformly.
    names, outputs
        Of parameters and observables; numbered where there are none.
    levels
        The `config` of this model, then those of cheaper versions of it, the cheapest last: `coarser` takes the next.

    Raises UsageError: bounds or names of different numbers, or no level.
    """

    url: str
    model: str
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    names: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    levels: tuple[dict[str, Any], ...] = ({},)

    def __post_init__(self) -> None:
        n = len(self.lower)
        if len(self.upper) != n or len(self.names) not in (0, n):
            raise UsageError(
                f"expected as many lower bounds, upper bounds and names, got {n}, {len(self.upper)} and {len(self.names)}"
            )
        if not self.levels:
            raise UsageError("expected the config of the model in levels, {} for none; got no level")

    @property
    def name(self) -> str:
        """What it is called on the command line; a name out of a file connects to no server."""
        return f"{type(self).__module__}:{type(self).__qualname__}"

    @cached_property
    def parameters(self) -> Space:
        """Uniform within their bounds."""
        names = self.names or [f"parameter_{j}" for j in range(len(self.lower))]
        return Space.vector(names, units=("unknown",), lower=self.lower, upper=self.upper, law="uniform")

    @cached_property
    def observables(self) -> Space:
        """As many as the model gives."""
        names = self.outputs or [f"observable_{j}" for j in range(self._connection.n_out)]
        return Space.vector(names, axis="observable", units=("unknown",))

    @cached_property
    def definition(self) -> dict[str, Any]:
        """JSON-able. What the server computes is not known to it."""
        return dict(problem=self.name, route="a model of a UM-Bridge server", options=options_of(self))

    @cached_property
    def _connection(self) -> Connection:
        connection = Connection.to(self.url, self.model, self.levels[0])
        expected = len(self.lower), len(self.outputs) or connection.n_out
        if expected != (connection.n_in, connection.n_out):
            raise UsageError(
                f"{connection.address} maps {connection.n_in} parameters to {connection.n_out} observables, expected "
                f"{expected[0]} and {expected[1]}"
            )
        return connection

    def coarser(self) -> UMBridge | None:
        """With the `config` of the next level; None at the last."""
        return replace(self, levels=self.levels[1:]) if len(self.levels) > 1 else None

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out), one request each; raises whatever the client does where the model fails."""
        return self._by_row(self._connection.evaluate, self._connection.n_out, self.parameters.rows(y))

    def solve(self, y: Array) -> tuple[Array, NDArray[np.int8]]:
        """`evaluate` within the bounds, and a status per sample."""
        y = self.parameters.rows(y)
        inside = self.parameters.contains(y)
        observables = np.full((len(y), self.observables.size), np.nan)
        observables[inside] = self.evaluate(y[inside])
        return observables, np.where(inside, SolveStatus.OK, SolveStatus.OUTSIDE_PARAMETER_SPACE).astype(np.int8)

    @property
    def tangents(self) -> Callable[[Array, Array], tuple[Array, Array]]:
        """Observables (n, n_out) and derivatives (n, r, n_out) along directions (n, r, n_in), one request for each.

        NaN where a request fails. Not there, as `jvp` and `vjp`, where the model has no such operation.
        """
        self._require("supports_apply_jacobian", "tangents")
        return self._tangents

    @property
    def jvp(self) -> Callable[[Array, Array], Array]:
        """Derivative along `dy`, row by row: (n, n_in), (n, n_in) -> (n, n_out)."""
        self._require("supports_apply_jacobian", "jvp")
        connection = self._connection
        return lambda y, dy: self._by_row(connection.apply_jacobian, connection.n_out, y, dy)

    @property
    def vjp(self) -> Callable[[Array, Array], Array]:
        """Gradient of <dc, observables>, row by row: (n, n_in), (n, n_out) -> (n, n_in)."""
        self._require("supports_gradient", "vjp")
        connection = self._connection
        return lambda y, dc: self._by_row(connection.gradient, connection.n_in, y, dc)

    def _require(self, supports: str, attribute: str) -> None:
        if not getattr(self._connection.model, supports)():
            raise AttributeError(f"{self._connection.address} gives no {attribute}")

    def _tangents(self, y: Array, directions: Array) -> tuple[Array, Array]:
        y = self.parameters.rows(y)
        directions, size = checked_directions(directions, *y.shape), self._connection.n_out
        observables, derivatives = np.full((len(y), size), np.nan), np.full((*directions.shape[:2], size), np.nan)
        for i in np.flatnonzero(self.parameters.contains(y)):
            row = y[i].tolist()
            try:
                observables[i] = self._connection.evaluate(row)
                for derivative, direction in zip(derivatives[i], directions[i], strict=True):
                    derivative[:] = self._connection.apply_jacobian(row, direction.tolist())
            except UsageError:
                raise
            except Exception:  # a failed model is a bare Exception of the client
                continue
        return observables, derivatives

    @staticmethod
    def _by_row(request: Callable[..., Array], size: int, *columns: Array) -> Array:
        rows = [request(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
        return np.array(rows).reshape(len(columns[0]), size)
