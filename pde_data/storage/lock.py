"""One writer at a time: a lock of the kernel on a file beside the data set."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnvpro.surrogate.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_HELD = (errno.EACCES, errno.EAGAIN)
_POLL_SECONDS = 0.02


@contextmanager
def sole_writer(path: Path, wait: float = 0.0, required: bool = False) -> Iterator[bool]:
    """Hold the lock file `.NAME.lock` beside `path`; it says which process on which machine holds it.

    NAME is that of the data set itself, whatever links lead to it. The lock is the kernel's (flock), so that of a killed
    run is free again at once and never stale. Gives whether there is one: some file systems have none, nor has Windows.

    Parameters
    ----------
    wait
        Seconds to wait for another process.
    required
        Raise where there are no locks.

    Raises
    ------
    UsageError
        Another process holds it.
    OSError
        The folder cannot be written, or it has no locks and one is required.
    """
    place = path.resolve()
    lock = place.parent / f".{place.name}.lock"
    descriptor = None if fcntl is None else _acquire(lock, path, time.monotonic() + wait)
    if descriptor is None and required:
        raise OSError(
            f"the file system of {path} has no locks, so that two processes might overwrite each other's samples; "
            "choose a place on another one"
        )
    try:
        if descriptor is not None:
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield descriptor is not None
    finally:
        if descriptor is not None:
            lock.unlink(missing_ok=True)  # while still held, so that nobody locks a file about to vanish
            os.close(descriptor)


def _acquire(lock: Path, path: Path, until: float) -> int | None:
    """The descriptor that holds the lock; None where the file system has no locks."""
    assert fcntl is not None
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OSError(f"cannot write {path} ({error.strerror}); choose a folder you may write in") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 200).decode(errors="replace") or "another process"
            os.close(descriptor)
            if error.errno not in _HELD:
                lock.unlink(missing_ok=True)
                return None
            if time.monotonic() > until:
                raise UsageError(f"{path} is being written by {holder}; wait for it, or choose another place") from None
            time.sleep(_POLL_SECONDS)
            continue
        if _is_same_file(descriptor, lock):
            return descriptor
        os.close(descriptor)  # the holder before us removed the file between our open and our lock


def _is_same_file(descriptor: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(lock))
    except FileNotFoundError:
        return False
