"""A forward model with a name, as the protocol sees it: operations on single vectors, computed in batches."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np

from gnvpro.apps.serving import protocol
from gnvpro.apps.serving.batching import Batcher, QueueFull
from gnvpro.apps.serving.domain import Domain
from gnvpro.apps.serving.trust_answer import KEY, trust_answer, trust_asked
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Array


class ModelFailed(RuntimeError):
    """A model that could not compute at all; the message is for whoever asked."""


class ServedModel:
    """One model of a server.

    Parameters
    ----------
    name
        What clients call it.
    model
        Operations that it lacks (`jvp`, `vjp`) are not offered.
    domain
        Points outside are refused; anywhere without.
    hessian
        Second derivatives, (y, dc, dy) -> gradient of <dc, observables> differentiated along dy, row by row.
    executor
        Where it computes; in the event loop without, for models of microseconds.
    close
        Called when the server has stopped.
    most_waiting
        Requests that may wait for it.
    """

    def __init__(
        self,
        name: str,
        model: ForwardModel,
        *,
        domain: Domain | None = None,
        hessian: Callable[[Array, Array, Array], Array] | None = None,
        executor: Executor | None = None,
        close: Callable[[], None] = lambda: None,
        most_waiting: int = 4096,
    ):
        self.name, self.model, self.domain, self.executor, self.close = name, model, domain, executor, close
        self.n_in, self.n_out = model.parameters.size, model.observables.size
        found = {
            "Evaluate": model.evaluate,
            "Gradient": getattr(model, "vjp", None),
            "ApplyJacobian": getattr(model, "jvp", None),
            "ApplyHessian": hessian,
        }
        operations = {operation: call for operation, call in found.items() if call is not None}
        self.support = {operation: operation in operations for operation in protocol.OPERATIONS}
        self.batcher = Batcher(operations, executor, most_waiting=most_waiting)

    async def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """The protocol's answer to a request that names this model.

        Raises
        ------
        ProtocolError
            The request is not understood, the point lies outside, or there is no finite result.
        """
        if not self.support[operation]:
            raise protocol.UnsupportedFeature(f"{operation} is not supported by model {self.name!r}")
        rows = self._rows(operation, request)
        if self.domain is not None and (why := self.domain.why_outside(rows[0])):
            raise protocol.InvalidInput(f"the point is outside of what model {self.name!r} answers for: {why}")
        # Before anything is computed: a solve may take seconds.
        level = trust_asked(self.name, self.model, request.get("config")) if operation == "Evaluate" else None
        try:
            result = await self.batcher(operation, *rows)
        except QueueFull as full:
            raise protocol.InvalidOutput(f"model {self.name!r} is busy: {full}; try again later", 503) from None
        except ModelFailed as failure:
            raise protocol.InvalidOutput(f"model {self.name!r}: {failure}") from failure
        if not np.isfinite(result).all():
            raise protocol.InvalidOutput(f"model {self.name!r} has no finite result at this point")
        if operation != "Evaluate":
            return {"output": result}
        answer: dict[str, Any] = {"output": [result]}
        if level is not None:
            answer[KEY] = trust_answer(self.model, rows[0], level)
        return answer

    def _rows(self, operation: str, request: dict[str, Any]) -> tuple[Array, ...]:
        """Arguments of the operation, each a vector, in the order in which it takes them."""
        y = protocol.input_vector(request, self.n_in)
        if operation == "Evaluate":
            return (y,)
        if operation == "ApplyHessian":
            protocol.require_zero(request, "outWrt", "inWrt1", "inWrt2")
            sens, along = protocol.vector(request, "sens", self.n_out), protocol.vector(request, "vec", self.n_in)
            return y, sens, along
        protocol.require_zero(request, "outWrt", "inWrt")
        key, size = ("sens", self.n_out) if operation == "Gradient" else ("vec", self.n_in)
        return y, protocol.vector(request, key, size)
