"""Data that are not a plain file or folder of this machine: behind a URL, or packed as a zip; copied to be read.

A copy, and not a store that is read in place: checksums, damage and repair then mean the same everywhere, and passes over the
data do not wait for the network.
"""

from __future__ import annotations

import atexit
import math
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from zipfile import ZipFile

import numpy as np

from gnvpro.pde_data.files import reading, require_plausible
from gnvpro.pde_data.storage import metadata
from gnvpro.surrogate.checks import address_in, path_of, shown, without_secrets
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.extras import MissingLibrary, how_to_get

if TYPE_CHECKING:
    import zarr

# What is one file; all else behind a URL is a zarr folder.
_FILES = (".zip", ".nc", ".nc4", ".netcdf", ".mat", ".npz", ".npy", ".csv")
# Metadata of zarr, format 3 and 2, of a group and of an array.
_OF_A_GROUP = ("zarr.json", ".zgroup", ".zattrs", ".zmetadata")
_OF_AN_ARRAY = ("zarr.json", ".zarray", ".zattrs")
_TOGETHER = 256
# Of a variable; more is a slip, or somebody's joke.
_MOST_CHUNKS = 10_000_000

_until_exit = ExitStack()
atexit.register(_until_exit.close)


@contextmanager
def at_hand(source: str | os.PathLike[str]) -> Iterator[Path]:
    """A file or folder of this machine with what is at `source`: itself, or a copy that is removed at the end.

    Raises
    ------
    UsageError
        A zip without a zarr folder, a store without consolidated metadata, an address of an unknown kind; and what the
        body raises, with the address in place of that of the copy.
    FileNotFoundError, OSError
        Nothing is there; it cannot be reached, or may not be read.
    MissingLibrary
        What reads such an address is not installed; says what to install.
    """
    address = address_in(source)
    path = path_of(source) if address is None else None
    if path is not None and not _is_packed(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="gnvpro-") as folder:
        place = Path(folder) / name_of(source)
        said = shown(source)
        try:
            if address is not None:
                place = _copied(address, place)
            if (path or place).suffix.lower() == ".zip":
                place = _unpacked(path or place, Path(folder) / "unpacked")
            yield place
        except (UsageError, FileNotFoundError) as error:
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else UsageError
            raise kind(str(error).replace(str(place), said).replace(folder, said)) from error


def kept_at_hand(source: str | os.PathLike[str]) -> Path:
    """The same for what is read later: a copy stays until this process ends."""
    return _until_exit.enter_context(at_hand(source)) if is_elsewhere(source) else path_of(source)


def is_elsewhere(source: str | os.PathLike[str]) -> bool:
    """Whether it is an address, or a zip, of which a copy is read."""
    return address_in(source) is not None or _is_packed(path_of(source))


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".zip" and path.is_file()


def name_of(source: str | os.PathLike[str]) -> str:
    """The last part of a path or address, without what a query adds to that."""
    address = address_in(source)
    if address is None:
        name = Path(source).name
    else:
        path = re.split("[?#]", address, maxsplit=1)[0].partition("://")[2].partition("/")[2]
        name = unquote(PurePosixPath(path).name)
    return name.replace("/", "") if name not in ("", ".", "..") else "data"


def suffix_of(source: str | os.PathLike[str]) -> str:
    """The suffix of that in small letters, of a packed one without `.zip`."""
    return Path(name_of(source).lower().removesuffix(".zip")).suffix


def _copied(address: str, place: Path) -> Path:
    """What is behind an address, written to `place`."""
    with _reaching(address):
        files, root = _file_system(address)
    if place.suffix.lower() in _FILES:
        with _reaching(address):
            files.get_file(root, str(place))
        return place
    _fetch(files, address, root, place, _OF_A_GROUP)
    if not any((place / name).is_file() for name in ("zarr.json", ".zgroup")):
        expected = f"a zarr folder or a file that ends in {', '.join(_FILES)}"
        raise FileNotFoundError(f"no data set at {without_secrets(address)}: expected {expected}; check the address")
    names = metadata.names_in_copies(place)
    if not names:
        raise UsageError(
            f"{without_secrets(address)}: expected consolidated metadata, without which nobody says what is in a folder that "
            "cannot be listed; write them with zarr.consolidate_metadata, or copy the folder to this machine"
        )
    for name in names:
        _fetch(files, address, root, place, [f"{name}/{file}" for file in _OF_AN_ARRAY])
    import zarr

    with reading(place, "a zarr folder", "is it complete?"):
        group = zarr.open_group(place, mode="r", use_consolidated=False)
        keys = [key for name, array in group.arrays() for key in _chunks(name, array)]
    _fetch(files, address, root, place, keys)
    return place


def _file_system(address: str) -> tuple[Any, str]:
    """What of fsspec reads an address, and the path there."""
    scheme = address.partition(":")[0].lower()
    purpose = f"it reads {scheme}://"
    try:
        import fsspec
    except ImportError as error:
        raise MissingLibrary(how_to_get("fsspec", purpose, "remote"), name="fsspec") from error
    if scheme not in fsspec.available_protocols():
        raise UsageError(f"expected an address such as https:// or s3://, got {scheme}://, which fsspec does not know")
    try:
        return fsspec.core.url_to_fs(address)
    except ImportError as error:
        extra = "remote" if scheme in ("http", "https", "s3") else None
        remedy = (
            how_to_get("s3fs" if scheme == "s3" else "aiohttp", purpose, extra) if extra else f"{scheme}://: {error}"
        )
        raise MissingLibrary(remedy) from error


def _fetch(files: Any, address: str, root: str, place: Path, names: Sequence[str]) -> None:
    """Copy files of a folder, those that are there: a chunk that is not is told by who reads it."""
    # What comes after the path, such as a signature, belongs to every file.
    path, mark, query = root.partition("?") if "://" in root else (root, "", "")
    for first in range(0, len(names), _TOGETHER):
        some = {f"{path.rstrip('/')}/{name}{mark}{query}": place / name for name in names[first : first + _TOGETHER]}
        with _reaching(address):
            contents = files.cat(list(some), on_error="return")
        # Paths come back as the file system writes them, in order.
        for file, content in zip(some.values(), _in_order(contents, list(some)), strict=True):
            if isinstance(content, FileNotFoundError):
                continue
            with _reaching(address):
                if isinstance(content, BaseException):
                    raise content
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def _in_order(contents: dict[str, Any], asked: list[str]) -> list[Any]:
    found = {key.split("://", 1)[-1].lstrip("/"): content for key, content in contents.items()}
    return [found.get(key.split("://", 1)[-1].lstrip("/"), FileNotFoundError(key)) for key in asked]


def _chunks(name: str, array: zarr.Array) -> list[str]:
    """Where all chunks of an array are, below the folder."""
    size = getattr(array, "shards", None) or array.chunks
    grid = [-(-length // step) for length, step in zip(array.shape, size, strict=True)]
    if math.prod(grid) > _MOST_CHUNKS:
        raise ValueError(f"{name} has {math.prod(grid)} chunks")
    encode = array.metadata.encode_chunk_key  # pyright: ignore[reportAttributeAccessIssue]
    return [f"{name}/{encode(index)}" for index in np.ndindex(*grid)]


@contextmanager
def _reaching(address: str) -> Iterator[None]:
    """Whatever a file system raises is one sentence with the address."""
    where = without_secrets(address)
    try:
        yield
    except (UsageError, MissingLibrary):
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no data at {where}; check the address") from error
    except Exception as error:
        said = re.sub(r"\S+://\S+", where, " ".join(str(error).split())) or type(error).__name__
        full = "; set TMPDIR to a folder with more space" if getattr(error, "errno", None) == 28 else ""
        raise OSError(
            f"{where} cannot be read: {said}{full or '; check the address, the network and your rights there'}"
        ) from error


def _unpacked(file: Path, folder: Path) -> Path:
    """The zarr folder in a zip, with or without a folder around it."""
    with reading(file, "a zip of a zarr folder", "is it complete?"), ZipFile(file) as archive:
        members = archive.infolist()
        encrypted = any(member.flag_bits & 1 for member in members)
        require_plausible("what is packed", sum(member.file_size for member in members), file.stat().st_size)
        if not encrypted:
            archive.extractall(folder)
    if encrypted:
        raise UsageError(f"{file}: expected a zip that is not encrypted, got one with a password; unpack it first")
    inside = (child for child in folder.iterdir() if child.is_dir())
    found = [place for place in (folder, *inside) if any((place / name).is_file() for name in ("zarr.json", ".zgroup"))]
    if not found or (len(found) > 1 and found[0] != folder):
        raise UsageError(f"{file}: expected one zarr folder in it, got {len(found)}; pack the data set alone")
    return found[0]
