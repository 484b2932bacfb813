"""Processes that end: in time, with everything they started, and with the process that started them, however that ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

from gnvpro.pde_data.problems.solving import count_cpu_seconds

# Between the request to end and the end.
GRACE_SECONDS = 1.0
STDOUT, STDERR = "standard-output.txt", "standard-error.txt"

# The guard: a process of its own, which is told of every group of processes and its folder when they begin (+) and when they
# are gone (-). Its input ends when this process does, killed or not: it then kills the groups that are left.
_GUARD = """
import os, shutil, signal, sys
folders = {}
for line in sys.stdin:
    group, folder = line[1:-1].split(" ", 1)
    folders.pop(group, None)
    if line[0] == "+":
        folders[group] = folder
for group, folder in folders.items():
    try:
        os.killpg(int(group), signal.SIGKILL)
    except OSError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
"""

# A program begins when the guard knows it, and not at all where this process has died before.
_BEGIN = 'read go || exit 1; exec "$@" < /dev/null'


class Processes:
    """Processes that may be ended together, from another thread."""

    def __init__(self) -> None:
        self._lock, self._groups, self._stopped = threading.Lock(), set[int](), False

    def run(self, command: list[str], folder: Path, environment: dict[str, str], seconds: float | None) -> int | None:
        """Exit code of a command in a folder, negative for a signal; None where it did not end within so many seconds.

        What it prints stands in two files there, so that nobody waits for a process of its own that keeps printing. All
        processes of its group are killed when it has ended, or when this is interrupted.

        As of a shell, 126 or 127 where it cannot be started.
        """
        with (folder / STDOUT).open("wb") as out, (folder / STDERR).open("wb") as err, self._lock:
            if self._stopped:
                raise KeyboardInterrupt
            process = subprocess.Popen(
                ["/bin/sh", "-c", _BEGIN, "sh", *command],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            self._groups.add(process.pid)
            _tell_guard("+", process.pid, folder)
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError), process.stdin as begin:  # it may have been stopped
                begin.write(b"go\n")
            ended = _ends(process, seconds)
            if not ended:
                _signal(process.pid, signal.SIGTERM)
                _ends(process, GRACE_SECONDS)
        finally:
            with self._lock:  # it is not yet waited for, and its number belongs to no other group
                _signal(process.pid, signal.SIGKILL)
                self._groups.discard(process.pid)
            code = _waited_for(process)
            _tell_guard("-", process.pid, folder)
        return code if ended else None

    def stop(self) -> None:
        """Kill all that run; none is started any more."""
        with self._lock:
            self._stopped = True
            for group in self._groups:
                _signal(group, signal.SIGKILL)


def _waited_for(process: subprocess.Popen[bytes]) -> int:
    """Its exit code, or minus the number of its signal; what it has spent counts."""
    if process.returncode is None:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        count_cpu_seconds(usage.ru_utime + usage.ru_stime)
    return process.returncode


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(OSError):  # all of it is gone
        os.killpg(group, number)


def _ends(process: subprocess.Popen[bytes], seconds: float | None) -> bool:
    """Whether it ends within so many seconds; not yet waited for then, where processes have file descriptors.

    Python's own wait with a limit looks every 50 ms.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return True
        return False
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(None if seconds is None else min(1000 * seconds, 2**31 - 1)))
    finally:
        os.close(descriptor)


@cache
def _guard() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _tell_guard(sign: str, group: int, folder: Path) -> None:
    pipe = _guard().stdin
    assert pipe is not None
    with contextlib.suppress(OSError):  # somebody killed the guard: then nothing guards, and all else goes on
        os.write(pipe.fileno(), f"{sign}{group} {folder}\n".encode())
