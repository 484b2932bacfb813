"""A forward model with a name, as the protocol sees it: operations on single vectors, computed in batches.

`"config": {"trust": LEVEL}` in a request to Evaluate asks how far the result can be trusted. What is answered where there is
nothing to compute, at the edge of the domain or where a PDE fails, is the model's `Otherwise`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gnvpro.apps.serving import um_bridge
from gnvpro.apps.serving.about import about_model
from gnvpro.apps.serving.batching import Batcher, QueueFull, Rows
from gnvpro.apps.serving.bounds import Bounds, shortened_list
from gnvpro.surrogate.admissible import admissible_points
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array, shortened

TRUST = "trust"
# A batch of so many rows that takes longer is no work for the event loop, which answers nobody meanwhile.
_WARM_ROWS, _MOST_SECONDS = 64, 0.02


# What a point outside of where a model answers gets: an error, NaN (of a log density -inf), or the nearest answer.
type Policy = Literal["refuse", "nan", "clip"]
# Keys beside `output` that say why it is not what was computed at this point.
OUTSIDE, UNSOLVED = "outside", "unsolved"


@dataclass(frozen=True)
class Otherwise:
    """What is answered where there is nothing to compute.

    Attributes
    ----------
    policy
        With `nan`, a point that cannot be solved gets the same answer as one outside.
    value, slope
        Components of that answer, and of derivatives there.
    """

    policy: Policy = "refuse"
    value: float = np.nan
    slope: float = np.nan

    @classmethod
    def of_density(cls, policy: Policy = "nan") -> Otherwise:
        """Of a log density: nothing is possible there, and it is flat."""
        return cls(policy, -np.inf, 0.0)


class ModelFailed(RuntimeError):
    """A model that could not compute at all; the message is for whoever asked."""


class NotSolved(ModelFailed):
    """A model that could not compute at this point."""


class ServedModel:
    """One model of a server.

    Parameters
    ----------
    model
        Operations that it lacks (`jvp`, `vjp`) are not offered.
    bounds
        Where it answers; anywhere without.
    otherwise
        What it answers elsewhere.
    hessian
        Second derivatives, (y, dc, dy) -> gradient of <dc, observables> differentiated along dy, row by row.
    executor
        Where it computes; in the event loop without, for models of microseconds.
    operations
        What is computed for the operations of the protocol, as `Batcher` has it; without, what the model offers.
    close
        Called when the server has stopped.

    Attributes
    ----------
    about
        What clients are told beside what the protocol has; JSON-able.
    """

    def __init__(
        self,
        name: str,
        model: ForwardModel,
        *,
        bounds: Bounds | None = None,
        otherwise: Otherwise | None = None,
        hessian: Callable[[Array, Array, Array], Array] | None = None,
        executor: Executor | None = None,
        operations: Mapping[str, Callable[..., Rows]] | None = None,
        close: Callable[[], None] = lambda: None,
        most_waiting: int = 4096,
    ):
        self.name, self.model, self.bounds, self.executor, self.close = name, model, bounds, executor, close
        self.otherwise = otherwise or Otherwise()
        self.n_in, self.n_out = model.parameters.size, model.observables.size
        if operations is None:
            offered = {
                "Evaluate": model.evaluate,
                "Gradient": getattr(model, "vjp", None),
                "ApplyJacobian": getattr(model, "jvp", None),
                "ApplyHessian": hessian,
            }
            operations = {operation: call for operation, call in offered.items() if call is not None}
        self.operations = operations
        self.about = about_model(model)
        self.support = {operation: operation in operations for operation in um_bridge.OPERATIONS}
        self.batcher = Batcher(operations, executor, most_waiting=most_waiting)

    def warm_up(self) -> None:
        """Compute everything once, since the first time imports and sets up for seconds in which nobody is answered.

        What takes long for a batch, too, is computed in a thread from then on.
        """
        y = admissible_points(self.model.parameters, _WARM_ROWS, 0)
        dc, dy = np.ones((_WARM_ROWS, self.n_out)), np.ones((_WARM_ROWS, self.n_in))
        arguments = {"Evaluate": (y,), "Gradient": (y, dc), "ApplyJacobian": (y, dy), "ApplyHessian": (y, dc, dy)}
        for operation, compute in self.operations.items():
            compute(*arguments[operation])
            began = time.perf_counter()
            compute(*arguments[operation])
            if time.perf_counter() - began > _MOST_SECONDS:
                self.batcher.in_thread.add(operation)

    async def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """The protocol's answer to a request that names this model; with `OUTSIDE` or `UNSOLVED`, why it is another one.

        Raises
        ------
        ProtocolError
            The request is not understood, the point lies outside, or there is no finite result.
        """
        if not self.support[operation]:
            raise um_bridge.UnsupportedFeature(f"{operation} is not supported by model {self.name!r}")
        y, *others = self._rows(operation, request)
        violations = [] if self.bounds is None else self.bounds.violations(y)
        outside = "; ".join(shortened_list(violations, 1))
        if outside and self.otherwise.policy == "refuse":
            raise um_bridge.InvalidInput(f"the point is outside of what model {self.name!r} answers for: {outside}")
        # Before anything is computed: a solve may take seconds.
        level = requested_level(self.name, self.model, request.get("config")) if operation == "Evaluate" else None
        if outside and self.otherwise.policy == "nan":
            return self._instead(operation, OUTSIDE, outside)
        nearest = self.bounds.nearest(y) if outside and self.bounds is not None else None
        if nearest is not None:
            y = nearest.point
            if operation in ("ApplyJacobian", "ApplyHessian"):
                others[-1] = nearest.along(others[-1])
        try:
            result = self._usable(operation, await self._computed(operation, y, *others))
        except NotSolved as failure:
            if self.otherwise.policy != "nan":
                raise um_bridge.InvalidOutput(f"model {self.name!r}: {failure}") from failure
            return self._instead(operation, UNSOLVED, str(failure))
        if nearest is not None and operation in ("Gradient", "ApplyHessian"):
            result = nearest.along(result)
        answer: dict[str, Any] = {"output": [result] if operation == "Evaluate" else result}
        if outside:
            answer[OUTSIDE] = outside
        if level is not None:
            answer[TRUST] = reliability(self.model, y, level)
        return answer

    async def _computed(self, operation: str, *rows: Array) -> Array:
        try:
            return await self.batcher(operation, *rows)
        except QueueFull as full:
            raise um_bridge.InvalidOutput(f"model {self.name!r} is busy: {full}; try again later", 503) from None
        except NotSolved:
            raise
        except ModelFailed as failure:
            raise um_bridge.InvalidOutput(f"model {self.name!r}: {failure}") from failure

    def _instead(self, operation: str, key: str, why: str) -> dict[str, Any]:
        """The answer in place of a result, and why."""
        value = self.otherwise.value if operation == "Evaluate" else self.otherwise.slope
        result = um_bridge.not_finite(np.full(self._size(operation), value))
        return {"output": [result] if operation == "Evaluate" else result, key: why}

    def _size(self, operation: str) -> int:
        return self.n_out if operation in ("Evaluate", "ApplyJacobian") else self.n_in

    def _usable(self, operation: str, result: Array) -> Array:
        result, size = np.asarray(result), self._size(operation)
        if result.shape != (size,) or result.dtype.kind not in "fiu":
            got = f"{result.shape} of {result.dtype}"
            raise um_bridge.InvalidOutput(f"model {self.name!r}: expected {size} real numbers, got {got}")
        if not np.isfinite(result).all():
            if self.otherwise.policy == "nan":
                raise NotSolved("there is no finite result at this point")
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
