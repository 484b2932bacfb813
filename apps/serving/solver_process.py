"""A PDE solver in a process of its own.

Solvers hold Python's lock for seconds, would keep the server from answering, and may crash: here that costs the requests
that it was solving, and the next gets a new process.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, cast

import numpy as np

from gnvpro.apps.serving.batching import Rows
from gnvpro.apps.serving.request_log import RequestLog, everything_in
from gnvpro.apps.serving.served import ModelFailed, NotSolved
from gnvpro.pde_data.problems.contract import Problem, SolveFailed, SolveStatus
from gnvpro.pde_data.problems.limited import LimitedProblem
from gnvpro.pde_data.problems.solving import derivative_block, solve_block
from gnvpro.surrogate.spaces import Array

# Rows, and for each the reason why it could not be computed, or nothing.
type Computed = tuple[Array, tuple[str, ...]]


class SolverProcess:
    """The problem as a forward model whose calls block until the process has answered.

    The problem is made in that process, by its only thread, which alone calls it: objects of FEniCSx belong to the thread
    that made them. Rows that could not be computed are NaN, of derivatives too. Calls come from one thread at a time; they
    raise `ModelFailed` with the reason where nothing could be computed: a single row, or a library is missing.

    Attributes
    ----------
    operations
        Those of the protocol, as `Batcher` has them: with the reason in place of a row that could not be computed.
    """

    def __init__(self, problem: Problem, time_limit: float | None = None, ranks: int = 1, threads: int = 1):
        """`time_limit`, in seconds of a row, `ranks` and `threads`: see `gnvpro.pde_data.problems.limited`."""
        self.parameters, self.observables = problem.parameters, problem.observables
        if time_limit is not None and hasattr(problem, "with_time_limit"):
            problem, time_limit = problem.with_time_limit(time_limit), None  # pyright: ignore[reportAttributeAccessIssue]
        self._process, self._closed = LimitedProblem(problem, time_limit, ranks, threads, _log_everything), False
        # As attributes, so that what the problem lacks is missing here too.
        self.operations: dict[str, Callable[..., Rows]] = {"Evaluate": partial(self._rows, "evaluate")}
        if hasattr(problem, "jvp"):
            self.jvp = lambda y, dy: self._array("jvp", y, dy)
            self.operations["ApplyJacobian"] = partial(self._rows, "jvp")
        if hasattr(problem, "vjp"):
            self.vjp = lambda y, dc: self._array("vjp", y, dc)
            self.operations["Gradient"] = partial(self._rows, "vjp")

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out) at parameters (n, n_in)."""
        return self._array("evaluate", y)

    def warm_up(self) -> None:
        """Start the process and let it make its solver, which takes seconds the first time; raises ModelFailed."""
        self._telling("warming up", self._process.warm_up)

    def close(self) -> None:
        """End the process for good; a solve under way is not waited for, and no later call starts another."""
        self._closed = True
        self._process.close(for_good=True)

    def _array(self, operation: str, *arguments: Array) -> Array:
        values, reasons = self._computed(operation, *arguments)
        if len(reasons) == 1 and reasons[0]:
            raise ModelFailed(reasons[0])
        return values

    def _rows(self, operation: str, *arguments: Array) -> list[Array | Exception]:
        values, reasons = self._computed(operation, *arguments)
        failed = ModelFailed if self._closed else NotSolved  # then no point is at fault
        return [failed(reason) if reason else row for row, reason in zip(values, reasons, strict=True)]

    def _computed(self, operation: str, *arguments: Array) -> Computed:
        compute = self._solved if operation == "evaluate" else partial(self._derived, operation)
        return self._telling(operation, compute, *arguments)

    def _telling(self, operation: str, compute: Callable[..., Any], *arguments: Array) -> Any:
        try:
            if not self._closed:
                return compute(*arguments)
        except SolveFailed as failure:
            raise ModelFailed(str(failure)) from failure
        except Exception as error:
            raise ModelFailed(f"{operation} failed ({type(error).__name__}: {error})") from error
        raise ModelFailed("the server stops, and solves nothing more")

    def _solved(self, y: Array) -> Computed:
        solved = solve_block(cast(Problem, self._process), y)
        return solved.observables, tuple(map(_reason, solved.status, solved.messages))

    def _derived(self, operation: str, *arguments: Array) -> Computed:
        space = self.observables if operation == "jvp" else self.parameters
        failures: list[str] = []
        derivatives = derivative_block(getattr(self._process, operation), arguments, space.size, failures.append)
        why = "; ".join(dict.fromkeys(failures)) or "it is not finite"
        finite = np.isfinite(derivatives).all(axis=1)
        return derivatives, tuple("" if row else f"no derivative at this point ({why})" for row in finite)


_log = ExitStack()


def _log_everything() -> None:
    """In the new process: what is logged becomes lines of the server's log."""
    _log.enter_context(everything_in(RequestLog()))


def _reason(status: int, message: str) -> str:
    if status == SolveStatus.OK:
        return ""
    return f"the PDE was not solved at this point ({message or SolveStatus(status).in_words})"
