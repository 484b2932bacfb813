"""One writer at a time for a data set."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnvpro.surrogate.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the lock file `.NAME.lock` beside `path`; it says which process on which machine holds it.

    The lock is the kernel's (flock), so that of a killed run is free again at once and never stale. Where there is none
    (Windows) nothing is held.

    Raises
    ------
    ValueError
        Another process holds it.
    OSError
        The folder cannot be written.
    """
    if fcntl is None:
        yield
        return
    lock = path.parent / f".{path.name}.lock"
    descriptor = _acquire(lock, path)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        lock.unlink(missing_ok=True)  # while still held, so that nobody locks a file about to vanish
        os.close(descriptor)


def _acquire(lock: Path, path: Path) -> int:
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OSError(f"cannot write {path} ({error.strerror}); choose a folder you may write in") from error
        try:
            assert fcntl is not None
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                holder = os.read(descriptor, 200).decode(errors="replace") or "another process"
                os.close(descriptor)
                raise UsageError(f"{path} is being written by {holder}; wait for it, or choose another place") from None
            # A file system without locks. Blocks are the same whoever solves them: two runs would only waste time.
        if _is_same_file(descriptor, lock):
            return descriptor
        os.close(descriptor)  # the holder before us removed the file between our open and our lock


def _is_same_file(descriptor: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(lock))
    except FileNotFoundError:
        return False
