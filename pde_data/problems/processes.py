"""Processes that solve a problem and can be ended, whatever they do: one, or the ranks of an MPI program."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from gnvpro.pde_data.problems.contract import SolveFailed, SolveStatus
from gnvpro.pde_data.problems.worker import Answer, Task
from gnvpro.surrogate.errors import UsageError

# Between SIGTERM and SIGKILL, and until a rank that did not fail is taken for one that waits for another that did.
_GRACE_SECONDS = 1.0
# What importing the libraries and making the problem may take.
_START_SECONDS = 600.0
# What a system call can wait for at once.
_POLL = 1e6
# Variables of the launcher that may have started this process: its ranks are no part of that.
_OF_LAUNCHERS = ("PMI_", "PMIX_", "HYDI_", "HYDRA_", "MPI_LOCAL", "OMPI_", "SLURM_STEP")
_BEGIN = """import sys
sys.path[:] = {path!r}
from gnvpro.pde_data.problems.worker import answer_calls
answer_calls({address!r})"""


class ProcessEnded(SolveFailed):
    """The processes are gone: one of them ended by itself, or they were ended after their time."""


class Processes:
    """Started for a task; they have made the problem once this is constructed.

    They belong to a session of their own, which Ctrl-C does not reach, end with this process, even if it is killed, and
    write what they print to stderr.
    """

    def __init__(self, task: Task) -> None:
        """Raises what making the problem raised; `ProcessEnded`; UsageError: several ranks, and no mpiexec."""
        self._ranks = task.ranks
        self._lines: list[Connection] = []
        self._lifelines: list[Connection] = []
        with tempfile.TemporaryDirectory(prefix="gnvpro-") as folder, socket.socket(socket.AF_UNIX) as listener:
            address = str(Path(folder, "driver"))  # in a folder of this user alone
            listener.bind(address)
            listener.listen(2 * task.ranks)
            self._process = subprocess.Popen(
                [*_launcher(task.ranks), sys.executable, "-c", _BEGIN.format(path=sys.path, address=address)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=_environment(task), start_new_session=True,
            )  # fmt: skip
            self._ending = weakref.finalize(self, _end, self._process, self._lines, self._lifelines)
            try:
                self._connect(listener)
                for line in self._lines:
                    line.send(task)
                answers = self._answers(_START_SECONDS)
                for answer in answers.values():
                    answer.unpack()
            except BaseException:
                self.end()
                raise
        self._lines.sort(key=lambda line: answers[line].result)

    def ask(self, operation: str, arguments: tuple[Any, ...], seconds: float | None) -> Answer:
        """What the first rank answers to a call that all ranks make, with the CPU seconds of all.

        Where a rank fails, what the first that failed says, and the others are ended if they wait for it.

        Raises `ProcessEnded`: a process ended, or the call took longer; all have ended then.
        """
        try:
            for line in self._lines:
                line.send((operation, arguments))
            answers = self._answers(seconds)
        except OSError:
            raise self._ended() from None
        except BaseException:
            self.end()  # its answer would be taken for that of the next call
            raise
        whole = next((answer for answer in answers.values() if answer.error is not None), answers.get(self._lines[0]))
        assert whole is not None
        if len(answers) < self._ranks:
            self.end()
        return Answer(
            whole.result, whole.error, whole.kind, whole.status, sum(one.cpu_seconds for one in answers.values())
        )

    @property
    def running(self) -> bool:
        """Whether they have neither been ended nor ended by themselves."""
        return self._ending.alive and self._process.poll() is None

    def end(self) -> None:
        """End them, and what they have started: asked to at first, killed after a second."""
        self._ending()

    def _connect(self, listener: socket.socket) -> None:
        """Both lines of every rank, in whatever order they come."""
        listener.settimeout(0.2)
        lines: dict[int, Connection] = {}
        until = time.monotonic() + _START_SECONDS
        while len(self._lifelines) < self._ranks:
            try:
                line = Connection(listener.accept()[0].detach())
                process = line.recv()
            except TimeoutError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise self._ended() from None
                continue
            except (EOFError, OSError):
                raise self._ended() from None
            if process in lines:
                self._lifelines.append(line)
            else:
                lines[process] = line
                self._lines.append(line)

    def _answers(self, seconds: float | None) -> dict[Connection, Answer]:
        """Of every rank; or of some, where one of them failed and the others do not answer for a while."""
        answers: dict[Connection, Answer] = {}
        until = None if seconds is None else time.monotonic() + seconds
        while len(answers) < self._ranks:
            failed = any(answer.error is not None for answer in answers.values())
            left = None if until is None else max(until - time.monotonic(), 0.0)
            if failed:
                left = _GRACE_SECONDS
            ready = wait(
                [line for line in self._lines if line not in answers], None if left is None else min(left, _POLL)
            )
            if not ready:
                if left is not None and left > _POLL:
                    continue
                if failed:
                    break
                self.end()
                raise ProcessEnded(f"timed out: no result within {seconds:g} s", SolveStatus.TIMED_OUT)
            for line in ready:
                assert isinstance(line, Connection)
                try:
                    answers[line] = line.recv()
                except (EOFError, OSError):
                    raise self._ended() from None
        return answers

    def _ended(self) -> ProcessEnded:
        """Why: by a signal, or with an exit code. mpiexec has one number for both."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_SECONDS)
        code = self._process.returncode
        self.end()
        if code is None:
            return ProcessEnded("the process that solves it broke off the connection")
        number = -code if code < 0 else code if self._ranks > 1 and code in _FATAL else 0
        if not number:
            return ProcessEnded(f"the process that solves it ended with exit code {code}", SolveStatus.EXIT_CODE)
        memory = " (out of memory, perhaps)" if number == signal.SIGKILL else ""
        name = signal.Signals(number).name
        return ProcessEnded(f"the process that solves it was ended by {name}{memory}", SolveStatus.SIGNAL)


def _end(process: subprocess.Popen[bytes], lines: list[Connection], lifelines: list[Connection]) -> None:
    _signal_all(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
    for lifeline in lifelines:
        lifeline.close()  # ends a rank that its launcher has not ended
    _signal_all(process, signal.SIGKILL)
    process.wait()
    for line in lines:
        line.close()


def _signal_all(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


_FATAL = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM}


def _launcher(ranks: int) -> list[str]:
    """The command before the command: nothing for one process.

    Raises UsageError: several ranks, and no mpiexec.
    """
    if ranks == 1:
        return []
    beside = os.path.dirname(sys.executable)
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if mpiexec is None:
        raise UsageError(f"{ranks} ranks need mpiexec, which comes with MPI, and none was found in {beside} or on PATH")
    return [mpiexec, "-n", str(ranks)]


def _environment(task: Task) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(_OF_LAUNCHERS)}
    threads = {f"{library}_NUM_THREADS": str(task.threads) for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    # All ranks are on this machine: MPI, and its launcher, listen at no address of the network.
    local = {"UCX_TLS": "self,sm", "HYDRA_IFACE": "lo"} if task.ranks > 1 else {}
    return {"PETSC_OPTIONS": "-no_signal_handler", **local, **(own if task.ranks > 1 else dict(os.environ)), **threads}
