"""A PDE solver in a process of its own.

Solvers hold Python's lock for seconds, would keep the server from answering, and may crash: here that costs the requests
of one batch, and the next batch gets a new process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
from threadpoolctl import threadpool_limits

from gnvpro.apps.serving.served import ModelFailed
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.solving import derivative_block, solve_block
from gnvpro.surrogate.spaces import Array


class SolverProcess:
    """The problem as a forward model whose calls block until the process has answered.

    Rows that could not be computed are NaN, of derivatives too. Calls come from one thread at a time; they raise
    `ModelFailed` where nothing could be computed: the process has died, or a library is missing.
    """

    def __init__(self, problem: Problem):
        self.parameters, self.observables = problem.parameters, problem.observables
        self._problem = problem
        self._pool: ProcessPoolExecutor | None = None
        # Closed from another thread than the one that calls.
        self._lock, self._closed = threading.Lock(), False
        # As attributes, so that what the problem lacks is missing here too.
        if hasattr(problem, "jvp"):
            self.jvp = lambda y, dy: self._call("jvp", y, dy)
        if hasattr(problem, "vjp"):
            self.vjp = lambda y, dc: self._call("vjp", y, dc)

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out) at parameters (n, n_in)."""
        return self._call("evaluate", y)

    def warm_up(self) -> None:
        """Start the process and let it make its solver, which takes seconds the first time."""
        self.evaluate(np.empty((0, self.parameters.size)))

    def close(self) -> None:
        """End the process for good; a solve under way is not waited for, and no later call starts another."""
        with self._lock:
            self._closed, pool, self._pool = True, self._pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):  # None once it has broken
                process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)

    def _call(self, operation: str, *arguments: Array) -> Array:
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


def _begin(problem: Problem) -> None:
    """In the new process: Ctrl-C is the server's to handle, and without a server there is nothing to do."""
    global _problem
    _problem = problem
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _compute(operation: str, *arguments: Array) -> Array:
    assert _problem is not None
    with threadpool_limits(limits=1):
        if operation == "evaluate":
            return solve_block(_problem, arguments[0]).observables
        space = _problem.observables if operation == "jvp" else _problem.parameters
        return derivative_block(getattr(_problem, operation), arguments, space.size)
