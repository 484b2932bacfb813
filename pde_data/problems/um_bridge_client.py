"""A model of a UM-Bridge server (protocol 1.0), called over connections that stay open.

The protocol's own client opens one for every request. See
https://um-bridge-benchmarks.readthedocs.io/en/docs/umbridge/protocol.html.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnvpro.pde_data.problems.contract import NoSampleAtFault, SolveFailed, SolveStatus
from gnvpro.pde_data.problems.solving import count_cpu_seconds
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.extras import require
from gnvpro.surrogate.names import shortened
from gnvpro.surrogate.spaces import Array

_CONNECT_SECONDS = 10


class ServerGone(SolveFailed):
    """The server does not answer, or stops in the midst of its answer."""


@dataclass(frozen=True)
class Server:
    """A server at http://HOST:PORT; what fails here failed once or, where nobody listened, three times.

    Attributes
    ----------
    at_once
        Connections that stay open: one for each thread that asks.
    time_limit
        Seconds for an answer.
    """

    pool: Any
    url: str
    time_limit: float | None

    @classmethod
    def at(cls, url: str, at_once: int = 1, time_limit: float | None = None) -> Server:
        """Without a request yet."""
        require("urllib3", "it calls models of UM-Bridge servers")
        import urllib3

        # An answer that does not come is the model's, and is not asked for again; a server may be about to start.
        retries = urllib3.Retry(connect=2, read=False, other=0, redirect=3, backoff_factor=0.2, allowed_methods=None)
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=time_limit)
        return cls(urllib3.PoolManager(maxsize=at_once, retries=retries, timeout=timeout), url.rstrip("/"), time_limit)

    def ask(self, path: str, content: dict[str, Any] | None = None) -> Any:
        """The JSON that it answers, by GET without content.

        Raises ServerGone; SolveFailed: an error of the protocol, no answer in time, or an answer that is no JSON.
        """
        import urllib3

        try:
            body = None if content is None else json.dumps(content, allow_nan=False).encode()
            headers = {"Content-Type": "application/json"}
            answer = self.pool.request(
                "GET" if body is None else "POST", f"{self.url}/{path}", body=body, headers=headers
            )
        except (urllib3.exceptions.ReadTimeoutError, TimeoutError):
            raise SolveFailed(f"no answer within {self.time_limit:g} s", SolveStatus.TIMED_OUT) from None
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise ServerGone(f"{type(reason).__name__}: {str(reason).rpartition(': ')[2]}") from None
        try:
            received = json.loads(answer.data)
        except ValueError:
            page = answer.data.decode(errors="replace")[:100]
            raise SolveFailed(f"the server answered {page!r}") from None
        if isinstance(received, dict) and isinstance(failed := received.get("error"), dict):
            raise SolveFailed(f"{failed.get('type', 'error')}: {failed.get('message', 'no message')}")
        return received

    def models(self) -> list[str]:
        """Names of its models; raises UsageError: it is no UM-Bridge server."""
        try:
            names = self.ask("Info")["models"]
            return [str(name) for name in names]
        except (SolveFailed, KeyError, TypeError) as error:
            raise UsageError(f"no UM-Bridge server answers at {self.url} ({error}); is it running?") from None

    def answers(self) -> bool:
        """Whether it is there."""
        try:
            return bool(self.models())
        except UsageError:
            return False


@dataclass(frozen=True)
class ServerModel:
    """A model of a server: the numbers of all its input vectors in a row, and those of its output vectors.

    Attributes
    ----------
    input_sizes, output_sizes
        Numbers of each vector.
    operations
        Those of the protocol that it has, such as `ApplyJacobian`.
    """

    server: Server
    name: str
    config: dict[str, Any]
    input_sizes: tuple[int, ...]
    output_sizes: tuple[int, ...]
    operations: frozenset[str]

    @classmethod
    def of(cls, server: Server, name: str = "", config: dict[str, Any] | None = None) -> ServerModel:
        """The model of this name, or the only one.

        Raises UsageError: no server, no such model, several where none is named, or one that cannot be evaluated.
        """
        names, config = server.models(), config or {}
        if not name and len(names) != 1:
            raise UsageError(f"the server at {server.url} has {', '.join(names)}; choose one: {server.url}/NAME")
        name = name or names[0]
        if name not in names:
            raise UsageError(f"the server at {server.url} has no model {name!r}; it has {', '.join(names)}")
        address, about = f"{server.url}/{name}", {"name": name, "config": config}
        try:
            sizes = server.ask("InputSizes", about)["inputSizes"], server.ask("OutputSizes", about)["outputSizes"]
            support = server.ask("ModelInfo", {"name": name})["support"]
            input_sizes, output_sizes = (tuple(map(int, of)) for of in sizes)
            operations = frozenset(operation for operation, has in support.items() if has)
        except (SolveFailed, LookupError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"{address} does not say what goes in and out ({error}); mend that model") from None
        if "Evaluate" not in operations:
            raise UsageError(
                f"expected a model that evaluates; {address} does {', '.join(sorted(operations)) or 'nothing'}"
            )
        return cls(server, name, config, input_sizes, output_sizes, operations)

    @property
    def address(self) -> str:
        """http://HOST:PORT/NAME."""
        return f"{self.server.url}/{self.name}"

    @property
    def n_in(self) -> int:
        """Numbers that go in."""
        return sum(self.input_sizes)

    @property
    def n_out(self) -> int:
        """Numbers that come out."""
        return sum(self.output_sizes)

    def evaluate(self, row: Array) -> Array:
        """Observables (n_out,), NaN where the model gives null; SolveFailed where it fails."""
        return self._vectors(self._ask("Evaluate", row))

    def apply_jacobian(self, row: Array, direction: Array) -> Array:
        """Derivative (n_out,) along a direction, one request for each output and each input that it moves."""
        derivative = [np.zeros(size) for size in self.output_sizes]
        for i, along in enumerate(_split(direction, self.input_sizes)):
            for o, size in enumerate(self.output_sizes if any(along) else ()):
                derivative[o] += self._vector(self._ask("ApplyJacobian", row, outWrt=o, inWrt=i, vec=along), size)
        return np.concatenate(derivative)

    def gradient(self, row: Array, weights: Array) -> Array:
        """Gradient (n_in,) of <weights, observables>, one request for each input and each output that has weights."""
        gradient = [np.zeros(size) for size in self.input_sizes]
        for o, sens in enumerate(_split(weights, self.output_sizes)):
            for i, size in enumerate(self.input_sizes if any(sens) else ()):
                gradient[i] += self._vector(self._ask("Gradient", row, outWrt=o, inWrt=i, sens=sens), size)
        return np.concatenate(gradient)

    def _ask(self, operation: str, row: Array, **more: Any) -> Any:
        content = {"name": self.name, "input": _split(row, self.input_sizes), "config": self.config, **more}
        began = time.monotonic()
        try:
            answer = self.server.ask(operation, content)
        except ServerGone as gone:
            if self.server.answers():
                raise
            raise NoSampleAtFault(
                f"the UM-Bridge server at {self.server.url} does not answer any more ({gone}); start it again"
            ) from gone
        finally:
            count_cpu_seconds(time.monotonic() - began)  # in place of what the server has spent, which it does not tell
        if not isinstance(answer, dict) or "output" not in answer:
            raise UsageError(f"{self.address} was to give an output and gave {shortened(answer)}; mend the server")
        return answer["output"]

    def _vectors(self, output: Any) -> Array:
        if not isinstance(output, list) or len(output) != len(self.output_sizes):
            got = len(output) if isinstance(output, list) else shortened(output)
            raise UsageError(
                f"{self.address} was to give {len(self.output_sizes)} vectors and gave {got}; mend the model"
            )
        return np.concatenate([self._vector(*of) for of in zip(output, self.output_sizes, strict=True)])

    def _vector(self, answer: Any, size: int) -> Array:
        """Raises UsageError: another number of numbers, or something else."""
        if not isinstance(answer, list) or len(answer) != size:
            got = len(answer) if isinstance(answer, list) else shortened(answer)
            raise UsageError(f"{self.address} was to give {size} numbers and gave {got}; mend the model of the server")
        return numbers([np.nan if value is None else value for value in answer], f"what {self.address} gives")


def _split(row: Array, sizes: Sequence[int]) -> list[list[float]]:
    """One list for each vector."""
    return [part.tolist() for part in np.split(np.asarray(row, dtype=np.float64), np.cumsum(sizes)[:-1])]
