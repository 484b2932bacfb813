"""Files and folders that are written whole or not at all, and whether they can be, asked before the work."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of linux/fcntl.h and linux/fs.h


def require_new_folder(out: Path | None, what: str) -> None:
    """A folder may be written at `out`: nothing stands there but perhaps an empty one; None asks for no output.

    Raises
    ------
    OSError
        Something is there, or the place cannot be written.
    """
    if out is None:
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists already; choose another place for the {what}")
    require_writable(out)


def require_writable(path: Path) -> None:
    """A file or folder can be written at `path`, in folders that are there or can be made.

    Raises
    ------
    OSError
        A file stands above it, a folder that this user cannot write, or it is a folder that cannot be replaced.
    """
    place = _followed(path)
    if place.is_symlink():
        raise FileExistsError(f"{path} is a link that leads to itself; choose another place")
    if os.path.ismount(place) or place == Path.cwd():
        raise FileExistsError(f"{path} is a folder that cannot be replaced by another; choose a new one inside it")
    above = place.parent
    while not os.path.lexists(above):
        above = above.parent
    if not above.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {above} is a file; choose another place")
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: {above} may not be written to; choose another place")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write a file, hidden beside `path`, to which it moves at the end: it is there whole or not at all.

    A link is followed, also one to where nothing is yet; a file that stands there is replaced. A process that is killed
    leaves a hidden folder `.gnvpro-…` at most.

    Raises
    ------
    OSError
        What cannot be written: no space, no permission.
    """
    with _beside(path) as (new, place):
        yield new
        _to_disk(new)
        os.replace(new, place)


@contextmanager
def whole_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """The same for a folder: an empty one to fill. One that is not empty is replaced only to `overwrite` it."""
    with _beside(path) as (new, place):
        new.mkdir()
        yield new
        for file in filter(Path.is_file, new.rglob("*")):
            _to_disk(file)
        if overwrite and place.is_dir():
            _exchange(new, place)  # the old one is deleted with the hidden folder
        else:
            os.replace(new, place)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """An OSError inside names the path where it names none: a disk that is full does not say what was written."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def _beside(path: Path) -> Iterator[tuple[Path, Path]]:
    """A path in a hidden folder, and the place it is to move to."""
    place = _followed(path)
    with named(path):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".gnvpro-", ignore_cleanup_errors=True) as hidden:
            new = Path(hidden) / "new"
            new.mkdir()
            yield new / place.name, place  # its own name: what writes it may go by the suffix


def _followed(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _to_disk(file: Path) -> None:
    """The content is on disk before it has its name: a machine that stops leaves no empty file in its place."""
    with file.open("rb") as content:
        os.fsync(content.fileno())


def _exchange(new: Path, old: Path) -> None:
    """Two folders change places, in one step where the system knows how (Linux, local disks): one is there at all times."""
    if sys.platform == "linux":
        rename = getattr(ctypes.CDLL(None), "renameat2", None)
        if rename and rename(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE) == 0:
            return
    aside = new.parent.with_name("old")
    os.replace(old, aside)
    os.replace(new, old)
