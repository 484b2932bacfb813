"""A forward model with a name, as the protocol sees it: operations on single vectors, computed in batches.

`"config": {"trust": LEVEL}` in a request to Evaluate asks how far the result can be trusted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnvpro.apps.serving import um_bridge
from gnvpro.apps.serving.batching import Batcher, QueueFull, Rows
from gnvpro.surrogate.admissible import admissible_points
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.model.inputs import training_range
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array, Space, shortened

TRUST = "trust"
# A batch of so many rows that takes longer is no work for the event loop, which answers nobody meanwhile.
_WARM_ROWS, _MOST_SECONDS = 64, 0.02


@dataclass(frozen=True, eq=False)
class Bounds:
    """Where a model answers, the same points as `Surrogate.inside` has; made once, as every request is checked.

    Attributes
    ----------
    lower, upper : (n_in,)
        Of the space; infinite where it has none.
    low, high : (n_in,)
        The same, narrowed to the range of the training samples with its margin, where that is known.
    """

    space: Space
    lower: Array
    upper: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, model: ForwardModel) -> Bounds:
        """Of any forward model; of a surrogate narrowed to its training range."""
        space = model.parameters
        lower, upper = space.lower_bounds, space.upper_bounds
        trained = training_range(
            getattr(model, "training", None) or {}, logarithmic=getattr(model, "logarithmic", None)
        )
        if trained is None:
            return cls(space, lower, upper, lower, upper)
        return cls(space, lower, upper, np.maximum(lower, trained[0]), np.minimum(upper, trained[1]))

    def violations(self, point: Array) -> list[str]:
        """What is wrong with a point (n_in,), a few words for every component; empty where nothing is."""
        off = (point < self.low) | (point > self.high)
        if off.any():
            return [self._violation(int(j), point[j]) for j in np.flatnonzero(off)]
        beyond = self.space.beyond_bounds(point)
        return [] if beyond is None else [beyond]

    def _violation(self, j: int, value: float) -> str:
        name = self.space.names[j]
        if not self.lower[j] <= value <= self.upper[j]:
            return f"{name} = {value:g}, expected {self.lower[j]:g} to {self.upper[j]:g}"
        return f"{name} = {value:g}, expected {self.low[j]:g} to {self.high[j]:g} (where it was trained)"


def shortened_list(violations: list[str], most: int) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(violations) - most
    return violations[:most] + ([f"{more} more are out of bounds"] if more > 0 else [])


class ModelFailed(RuntimeError):
    """A model that could not compute at all; the message is for whoever asked."""


class ServedModel:
    """One model of a server.

    Parameters
    ----------
    model
        Operations that it lacks (`jvp`, `vjp`) are not offered.
    bounds
        Points outside are refused; anywhere without.
    hessian
        Second derivatives, (y, dc, dy) -> gradient of <dc, observables> differentiated along dy, row by row.
    executor
        Where it computes; in the event loop without, for models of microseconds.
    operations
        What is computed for the operations of the protocol, as `Batcher` has it; without, what the model offers.
    close
        Called when the server has stopped.
    """

    def __init__(
        self,
        name: str,
        model: ForwardModel,
        *,
        bounds: Bounds | None = None,
        hessian: Callable[[Array, Array, Array], Array] | None = None,
        executor: Executor | None = None,
        operations: Mapping[str, Callable[..., Rows]] | None = None,
        close: Callable[[], None] = lambda: None,
        most_waiting: int = 4096,
    ):
        self.name, self.model, self.bounds, self.executor, self.close = name, model, bounds, executor, close
        self.n_in, self.n_out = model.parameters.size, model.observables.size
        if operations is None:
            offered = {
                "Evaluate": model.evaluate,
                "Gradient": getattr(model, "vjp", None),
                "ApplyJacobian": getattr(model, "jvp", None),
                "ApplyHessian": hessian,
            }
            operations = {operation: call for operation, call in offered.items() if call is not None}
        self._operations = operations
        self.support = {operation: operation in operations for operation in um_bridge.OPERATIONS}
        self.batcher = Batcher(operations, executor, most_waiting=most_waiting)

    def warm_up(self) -> None:
        """Compute everything once, since the first time imports and sets up for seconds in which nobody is answered.

        What takes long for a batch, too, is computed in a thread from then on.
        """
        y = admissible_points(self.model.parameters, _WARM_ROWS, 0)
        dc, dy = np.ones((_WARM_ROWS, self.n_out)), np.ones((_WARM_ROWS, self.n_in))
        arguments = {"Evaluate": (y,), "Gradient": (y, dc), "ApplyJacobian": (y, dy), "ApplyHessian": (y, dc, dy)}
        for operation, compute in self._operations.items():
            compute(*arguments[operation])
            began = time.perf_counter()
            compute(*arguments[operation])
            if time.perf_counter() - began > _MOST_SECONDS:
                self.batcher.in_thread.add(operation)

    async def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """The protocol's answer to a request that names this model.

        Raises
        ------
        ProtocolError
            The request is not understood, the point lies outside, or there is no finite result.
        """
        if not self.support[operation]:
            raise um_bridge.UnsupportedFeature(f"{operation} is not supported by model {self.name!r}")
        rows = self._rows(operation, request)
        if self.bounds is not None and (violations := self.bounds.violations(rows[0])):
            why = "; ".join(shortened_list(violations, 1))
            raise um_bridge.InvalidInput(f"the point is outside of what model {self.name!r} answers for: {why}")
        # Before anything is computed: a solve may take seconds.
        level = requested_level(self.name, self.model, request.get("config")) if operation == "Evaluate" else None
        try:
            result = await self.batcher(operation, *rows)
        except QueueFull as full:
            raise um_bridge.InvalidOutput(f"model {self.name!r} is busy: {full}; try again later", 503) from None
        except ModelFailed as failure:
            raise um_bridge.InvalidOutput(f"model {self.name!r}: {failure}") from failure
        result = self._usable(operation, result)
        if operation != "Evaluate":
            return {"output": result}
        answer: dict[str, Any] = {"output": [result]}
        if level is not None:
            answer[TRUST] = reliability(self.model, rows[0], level)
        return answer

    def _usable(self, operation: str, result: Array) -> Array:
        result, size = np.asarray(result), self.n_out if operation in ("Evaluate", "ApplyJacobian") else self.n_in
        if result.shape != (size,) or result.dtype.kind not in "fiu":
            got = f"{result.shape} of {result.dtype}"
            raise um_bridge.InvalidOutput(f"model {self.name!r}: expected {size} real numbers, got {got}")
        if not np.isfinite(result).all():
            raise um_bridge.InvalidOutput(f"model {self.name!r} has no finite result at this point")
        return result

    def _rows(self, operation: str, request: dict[str, Any]) -> tuple[Array, ...]:
        """Arguments of the operation, each a vector, in the order in which it takes them."""
        y = um_bridge.input_vector(request, self.n_in)
        if operation == "Evaluate":
            return (y,)
        if operation == "ApplyHessian":
            um_bridge.require_zero(request, "outWrt", "inWrt1", "inWrt2")
            sens, along = um_bridge.vector(request, "sens", self.n_out), um_bridge.vector(request, "vec", self.n_in)
            return y, sens, along
        um_bridge.require_zero(request, "outWrt", "inWrt")
        key, size = ("sens", self.n_out) if operation == "Gradient" else ("vec", self.n_in)
        return y, um_bridge.vector(request, key, size)


def requested_level(name: str, model: ForwardModel, config: dict[str, Any] | None) -> float | None:
    """The level that the `config` of a request asks for; None where it asks for none.

    Raises
    ------
    ProtocolError
        A model without calibration, or a level that is not stored.
    """
    if not config or TRUST not in config:
        return None
    if not isinstance(model, Surrogate) or model.trust is None:
        raise um_bridge.UnsupportedFeature(
            f"model {name!r} has no error bands: leave `trust` out of `config`, or calibrate the model"
        )
    level, bands = config[TRUST], model.trust.bands
    try:
        if type(level) not in (int, float):
            raise ValueError
        bands.half_width(level)
    except ValueError:
        known = ", ".join(f"{stored:g}" for stored in bands.levels)
        raise um_bridge.InvalidInput(f"config.trust: expected a level of {known}, got {shortened(level)}") from None
    return level


def reliability(model: ForwardModel, y: Array, level: float) -> dict[str, Any]:
    """Score, verdict and half widths of the error bands at y (n_in,), to stand beside the output.

    Widths are absolute, in the units of the observables; null in place of a band that so few calibration samples cannot give.
    """
    assert isinstance(model, Surrogate)
    assert model.trust is not None
    bands, score = model.trust.bands, model.score(y[None])
    return {
        "level": level,
        "calibrated_on": bands.source,
        "score": float(score[0]) if np.isfinite(score[0]) else None,
        "trusted": bool(model.trusted(y[None], score)[0]),
        "half_width": bands.finite_half_width(level),
        "half_width_simultaneous": bands.finite_half_width(level, simultaneous=True),
    }
