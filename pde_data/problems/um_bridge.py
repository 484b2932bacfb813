"""A model behind a UM-Bridge server as a problem: cheaper versions by its `config`, derivatives by its own.

    gnvpro generate http://localhost:4242/forward --set lower="[0, 0]" --set upper="[1, 2]" \\
        --set levels='[{"fidelity": 2}, {"fidelity": 1}]' --samples 100 --out fine.zarr
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import PickledWithoutCaches, SolveFailed, checked_directions
from gnvpro.pde_data.problems.options import make, options_of
from gnvpro.pde_data.problems.row_by_row import block_size_for, each, piece_size_for, solve_rows
from gnvpro.pde_data.problems.um_bridge_client import Server, ServerModel
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Space

# An answer may take no time at all, and a block takes some to be written.
_LEAST_BLOCK = 32
# What the numbers do not depend on: the same model may answer at another address tomorrow.
_NOT_DEFINING = ("url", "time_limit", "at_once")


@dataclass(frozen=True)
class UMBridge(PickledWithoutCaches):
    """The model of a server, sample by sample; a request that fails is a sample that failed.

    Attributes
    ----------
    url, model
        Server, such as http://localhost:4242, and name of the model; the only one without.
    lower, upper
        Bounds of the parameters, which the protocol does not tell: they are drawn uniformly. Or `laws`.
    names, outputs
        Of parameters and observables; numbered where there are none.
    levels
        The `config` of this model, then those of cheaper versions of it, the cheapest last: `coarser` takes the next.
    laws
        In place of bounds and names: the law of each parameter, by name.
    units, output_unit
        Of parameters by name, and of the observables.
    time_limit
        Seconds for an answer.
    at_once
        Requests at a time, where the address is a load balancer's.

    Raises UsageError: bounds or names of different numbers, both bounds and laws or neither, or no level.
    """

    url: str
    model: str = ""
    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    levels: tuple[dict[str, Any], ...] = ({},)
    laws: dict[str, Any] | None = None
    units: dict[str, str] = field(default_factory=dict)
    output_unit: str = "unknown"
    time_limit: Annotated[float, Gt(0)] | None = None
    at_once: Annotated[int, Ge(1)] = 1

    def __post_init__(self) -> None:
        n = len(self.lower)
        if len(self.upper) != n or len(self.names) not in (0, n):
            raise UsageError(
                f"expected as many lower bounds, upper bounds and names, got {n}, {len(self.upper)} and {len(self.names)}"
            )
        if bool(n) == bool(self.laws):
            raise UsageError(
                "a UM-Bridge server does not say where its parameters are: expected the options lower and upper, or "
                f"laws, got {'both' if n else 'neither'}; docs/programs.md has examples"
            )
        if not self.levels:
            raise UsageError("expected the config of the model in levels, {} for none; got no level")

    @classmethod
    def at(cls, address: str, options: dict[str, Any] | None = None) -> UMBridge:
        """The model at http://HOST:PORT/NAME, or the only one at http://HOST:PORT.

        `options` are the attributes; a server and a model that they name (those of a saved model do) do not count.
        """
        scheme, _, rest = address.rstrip("/").partition("://")
        host, _, name = rest.partition("/")
        # A server may be behind a path of a proxy: the name of the model is the last part.
        path, _, name = name.rpartition("/")
        url = f"{scheme}://{host}{'/' if path else ''}{path}"
        options = {option: value for option, value in (options or {}).items() if option != "url"}
        return make(cls, options | {"url": url} | ({"model": name} if name else {}))

    @property
    def name(self) -> str:
        """That of the model; a name out of a file connects to no server."""
        return f"UM-Bridge model {self.model}".strip()

    @cached_property
    def parameters(self) -> Space:
        """By the laws, or uniform within the bounds."""
        names = self.names or tuple(f"parameter_{j}" for j in range(len(self.lower)))
        space = Space.of_laws(self.laws or dict(zip(names, zip(self.lower, self.upper, strict=True), strict=True)))
        units = tuple(self.units.get(name, "unknown") for name in space.names) if self.units else ("unknown",)
        return replace(space, units=units)

    @cached_property
    def observables(self) -> Space:
        """By `outputs`, or as many as the server says."""
        names = self.outputs or self._numbered_outputs()
        return Space.vector(names, axis="observable", units=(self.output_unit,))

    @cached_property
    def definition(self) -> dict[str, Any]:
        """JSON-able. What the server computes is not known to it, nor where it is."""
        options = {name: value for name, value in options_of(self).items() if name not in _NOT_DEFINING}
        return dict(problem=self.name, route="a model of a UM-Bridge server", options=options)

    @property
    def block_size(self) -> int:
        """Samples of a block."""
        return max(_LEAST_BLOCK, block_size_for(self.at_once))

    @property
    def piece_size(self) -> int:
        """Samples that are solved together, and lost together to an interrupt."""
        return piece_size_for(self.at_once)

    @cached_property
    def _model(self) -> ServerModel:
        model = ServerModel.of(Server.at(self.url, self.at_once, self.time_limit), self.model, self.levels[0])
        expected = self.parameters.size, len(self.outputs) or model.n_out
        if expected != (model.n_in, model.n_out):
            raise UsageError(
                f"{model.address} maps {model.n_in} parameters to {model.n_out} observables, expected "
                f"{expected[0]} and {expected[1]}"
            )
        return model

    def _numbered_outputs(self) -> list[str]:
        sizes = self._model.output_sizes
        if len(sizes) == 1:
            return [f"observable_{j}" for j in range(sizes[0])]
        return [f"output_{o}_{j}" for o, size in enumerate(sizes) for j in range(size)]

    def with_time_limit(self, seconds: float) -> UMBridge:
        """The same with so many seconds for an answer."""
        return replace(self, time_limit=seconds)

    def coarser(self) -> UMBridge | None:
        """With the `config` of the next level; None at the last."""
        return replace(self, levels=self.levels[1:]) if len(self.levels) > 1 else None

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out), one request each; raises SolveFailed where the model fails."""
        return self._by_row(self._model.evaluate, self._model.n_out, self.parameters.rows(y))

    def solve(self, y: Array) -> tuple[Array, NDArray[np.int8], list[str]]:
        """Observables, status and messages of the server."""
        y = self.parameters.rows(y)
        return solve_rows(self._model.evaluate, y, self.parameters.contains(y), self._model.n_out, self.at_once)

    @property
    def tangents(self) -> Callable[[Array, Array], tuple[Array, Array]]:
        """Observables (n, n_out) and derivatives (n, r, n_out) along directions (n, r, n_in), one request for each.

        NaN where a request fails. Not there, as `jvp` and `vjp`, where the model has no such operation.
        """
        self._require("ApplyJacobian", "tangents")
        return self._tangents

    @property
    def jvp(self) -> Callable[[Array, Array], Array]:
        """Derivative along `dy`, row by row: (n, n_in), (n, n_in) -> (n, n_out)."""
        self._require("ApplyJacobian", "jvp")
        return lambda y, dy: self._by_row(self._model.apply_jacobian, self._model.n_out, y, dy)

    @property
    def vjp(self) -> Callable[[Array, Array], Array]:
        """Gradient of <dc, observables>, row by row: (n, n_in), (n, n_out) -> (n, n_in)."""
        self._require("Gradient", "vjp")
        return lambda y, dc: self._by_row(self._model.gradient, self._model.n_in, y, dc)

    def _require(self, operation: str, attribute: str) -> None:
        if operation not in self._model.operations:
            raise AttributeError(f"{self._model.address} gives no {attribute}")

    def _tangents(self, y: Array, directions: Array) -> tuple[Array, Array]:
        y, model = self.parameters.rows(y), self._model
        directions = checked_directions(directions, *y.shape)
        observables = np.full((len(y), model.n_out), np.nan)
        derivatives = np.full((*directions.shape[:2], model.n_out), np.nan)

        def request(i: int) -> None:
            try:
                observables[i] = model.evaluate(y[i])
                for derivative, direction in zip(derivatives[i], directions[i], strict=True):
                    derivative[:] = model.apply_jacobian(y[i], direction)
            except SolveFailed:
                return

        each(request, [(int(i),) for i in np.flatnonzero(self.parameters.contains(y))], self.at_once)
        return observables, derivatives

    def _by_row(self, request: Callable[..., Array], size: int, *columns: Array) -> Array:
        rows = each(request, list(zip(*columns, strict=True)), self.at_once)
        return np.array(rows).reshape(len(columns[0]), size)
