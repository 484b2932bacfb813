"""The other side of `processes`: a process that makes a problem, and answers calls of it until its driver is gone."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import scipy.linalg  # noqa: F401  loads scipy's own BLAS, so that the limit of threads reaches it
from threadpoolctl import threadpool_limits

from gnvpro.pde_data.problems.contract import Problem, SolveFailed, SolveStatus, coarser_version
from gnvpro.pde_data.problems.fenicsx import fenicsx
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.pde_data.problems.pickled import PickledProblem
from gnvpro.pde_data.problems.solving import cpu_seconds, message_of, on_copies
from gnvpro.surrogate.errors import UsageError

# Beside the names of a model's own functions: nothing is solved, so that the solver is made ready.
WARM_UP = "warm up"


@dataclass(frozen=True)
class ProblemOnRanks:
    """What every rank makes the problem of: its factory, called with the communicator of all of them as `comm`."""

    factory: str
    options: dict[str, Any]
    level: int

    def unpack(self) -> Problem:
        """The problem of this rank."""
        return coarser_version(load_problem(self.factory, self.options, fenicsx().MPI.COMM_WORLD), self.level)


@dataclass(frozen=True)
class Task:
    """What processes are started for: the problem, threads of each, their number, and what they call before all else."""

    problem: PickledProblem | ProblemOnRanks
    threads: int = 1
    ranks: int = 1
    first: Callable[[], object] | None = None


@dataclass(frozen=True)
class Answer:
    """What came of a call: the result, or the error to raise where there is none; and the CPU seconds it took."""

    result: Any = None
    error: str | None = None
    kind: type[Exception] = SolveFailed
    status: SolveStatus = SolveStatus.EXCEPTION
    cpu_seconds: float = 0.0

    @classmethod
    def failed(cls, error: BaseException) -> Answer:
        """Of what was raised: an error that no sample is at fault for stays what it is."""
        for kind in (ImportError, NotImplementedError, UsageError):
            if isinstance(error, kind):
                return cls(error=message_of(error).removeprefix(f"{type(error).__name__}: "), kind=kind)
        return cls(error=message_of(error), status=getattr(error, "status", SolveStatus.EXCEPTION))

    def unpack(self) -> Any:
        """The result; raises the error."""
        if self.error is None:
            return self.result
        raise SolveFailed(self.error, self.status) if self.kind is SolveFailed else self.kind(self.error)


def answer_calls(address: str) -> None:
    """Answer one call after the other; returns when the driver is gone.

    The driver is connected to twice: what it asks comes by the first line, and when the second is closed the kernel ends
    this process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    os.dup2(2, 1)  # what is printed here is no result of the driver; and mpiexec prints advice of its own
    line, lifeline = _connected(address), _connected(address)
    line.send(os.getpid())
    lifeline.send(os.getpid())
    _end_with(lifeline)
    try:
        task: Task = line.recv()
        rank = fenicsx().MPI.COMM_WORLD.rank if task.ranks > 1 else 0
        with threadpool_limits(limits=task.threads):
            problem = _begun(task, line, rank)
            while problem is not None:
                operation, arguments = line.recv()
                answer = _answer(problem, operation, arguments)
                _send(line, replace(answer, result=None) if rank else answer)
    except (EOFError, ConnectionError):
        pass


def _begun(task: Task, line: Connection, rank: int) -> Problem | None:
    """The problem, once the driver was told how making it went, and which rank this is."""
    problem = None
    try:
        if task.first is not None:
            task.first()
        problem = task.problem.unpack()
        line.send(Answer(rank))
    except (Exception, SystemExit) as error:
        line.send(replace(Answer.failed(error), result=rank))
    return problem


def _answer(problem: Problem, operation: str, arguments: tuple[Any, ...]) -> Answer:
    began = cpu_seconds()
    try:
        if operation == WARM_UP:
            result = on_copies(problem.solve)(np.empty((0, problem.parameters.size))) and None
        elif operation == "references":
            name, y = arguments
            result = problem.references()[name](y)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            result = on_copies(getattr(problem, operation))(*arguments)
        answer = Answer(result)
    except (Exception, SystemExit) as error:
        answer = Answer.failed(error)
    return replace(answer, cpu_seconds=cpu_seconds() - began)


def _send(line: Connection, answer: Answer) -> None:
    try:
        line.send(answer)
    except (EOFError, OSError):
        raise
    except Exception as error:  # a result that cannot be pickled
        line.send(Answer.failed(error))


def _connected(address: str) -> Connection:
    line = socket.socket(socket.AF_UNIX)
    line.connect(address)
    return Connection(line.detach())


def _end_with(lifeline: Connection) -> None:
    """Let the kernel kill this process when the other end is closed, even in a solver that holds Python's lock."""
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        if lifeline.poll():
            sys.exit(1)  # it was closed before

    def wait() -> None:  # systems other than Linux
        lifeline.poll(None)
        os._exit(1)

    if not hasattr(fcntl, "F_SETSIG"):
        threading.Thread(target=wait, daemon=True).start()
