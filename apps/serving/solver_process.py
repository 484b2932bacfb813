"""A PDE solver in a process of its own.

Solvers hold Python's lock for seconds, would keep the server from answering, and may crash: here that costs the requests
of one batch, and the next batch gets a new process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from gnvpro.apps.serving.batching import Rows
from gnvpro.apps.serving.request_log import RequestLog, everything_in
from gnvpro.apps.serving.served import ModelFailed
from gnvpro.pde_data.problems.contract import Problem, SolveStatus
from gnvpro.pde_data.problems.solving import derivative_block, solve_block
from gnvpro.surrogate.spaces import Array

# Rows, and for each the reason why it could not be computed, or nothing.
type Computed = tuple[Array, tuple[str, ...]]


class SolverProcess:
    """The problem as a forward model whose calls block until the process has answered.

    The problem is made in that process, by its only thread, which alone calls it: objects of FEniCSx belong to the thread
    that made them. Rows that could not be computed are NaN, of derivatives too. Calls come from one thread at a time; they
    raise `ModelFailed` with the reason where nothing could be computed: a single row, the process has died, or a library is
    missing.

    Attributes
    ----------
    operations
        Those of the protocol, as `Batcher` has them: with the reason in place of a row that could not be computed.
    """

    def __init__(self, problem: Problem):
        self.parameters, self.observables = problem.parameters, problem.observables
        self._problem = problem
        self._pool: ProcessPoolExecutor | None = None
        # Closed from another thread than the one that calls.
        self._lock, self._closed = threading.Lock(), False
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
        self._call("warming up")

    def _array(self, operation: str, *arguments: Array) -> Array:
        values, reasons = self._call(operation, *arguments)
        if len(reasons) == 1 and reasons[0]:
            raise ModelFailed(reasons[0])
        return values

    def _rows(self, operation: str, *arguments: Array) -> list[Array | Exception]:
        values, reasons = self._call(operation, *arguments)
        return [ModelFailed(reason) if reason else row for row, reason in zip(values, reasons, strict=True)]

    def close(self) -> None:
        """End the process for good; a solve under way is not waited for, and no later call starts another."""
        with self._lock:
            self._closed, pool, self._pool = True, self._pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):  # None once it has broken
                process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)

    def _call(self, operation: str, *arguments: Array) -> Computed:
        try:
            with self._lock:
                if self._closed:
                    raise ModelFailed("the server stops, and solves nothing more")
                if self._pool is None:
                    spawn = multiprocessing.get_context("spawn")
                    self._pool = ProcessPoolExecutor(1, spawn, _begin, (self._problem,))
                solving = self._pool.submit(_compute, operation, *arguments)
            return solving.result()
        except ModelFailed:
            raise
        except BrokenProcessPool:
            with self._lock:
                self._pool = None
            raise ModelFailed("the process that solves the PDE has ended; ask again, and another is started") from None
        except Exception as error:
            raise ModelFailed(f"{operation} failed ({type(error).__name__}: {error})") from error


_problem: Problem | None = None
_log = ExitStack()


def _begin(problem: Problem) -> None:
    """In the new process: Ctrl-C is the server's to handle, and without a server there is nothing to do."""
    global _problem
    _problem = problem
    _log.enter_context(everything_in(RequestLog()))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _compute(operation: str, *arguments: Array) -> Computed:
    problem = _problem
    assert problem is not None
    with threadpool_limits(limits=1):
        if operation == "warming up":
            problem.solve(np.empty((0, problem.parameters.size)))
            return np.empty((0, 0)), ()
        if operation == "evaluate":
            solved = solve_block(problem, arguments[0])
            return solved.observables, tuple(map(_reason, solved.status, solved.messages))
        space = problem.observables if operation == "jvp" else problem.parameters
        failures: list[str] = []
        derivatives = derivative_block(getattr(problem, operation), arguments, space.size, failures.append)
        why = "; ".join(dict.fromkeys(failures)) or "it is not finite"
        finite = np.isfinite(derivatives).all(axis=1)
        return derivatives, tuple("" if row else f"no derivative at this point ({why})" for row in finite)


def _reason(status: int, message: str) -> str:
    if status == SolveStatus.OK:
        return ""
    return f"the PDE was not solved at this point ({message or SolveStatus(status).in_words})"
