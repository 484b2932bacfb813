"""Damage in a data set: chunks and metadata that are not what was written, found, named and made good."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import SolveStatus, has_observables
from gnvpro.pde_data.storage import layout, metadata, store
from gnvpro.pde_data.storage.provenance import GIVEN, OF_DERIVATIVES
from gnvpro.pde_data.storage.schema import reading_metadata
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.mesh import Mesh
from gnvpro.surrogate.spaces import Array

# Chunks checked with one read; only a read that fails is looked at chunk by chunk.
_TOGETHER = 64


@dataclass(frozen=True)
class Damage:
    """One chunk that cannot be trusted.

    `block`, `first`, `last`: which block, and its first and last sample; None for a variable that no sample changes.
    """

    variable: str
    reason: str
    block: int | None = None
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        where = "" if self.block is None else f" of samples {self.first} to {self.last} (block {self.block})"
        return f"{self.variable}{where} {self.reason}"


_NEEDED = ("parameters", "observables", "status", "failure", "wall_time")


def find_damage(path: Path) -> list[Damage]:
    """Every chunk of the data set at `path` that is not what was written, and metadata; reads all of it.

    Data sets of schema 1 have no checksums: only chunks that cannot be read at all, or are gone, are found. A `status`
    that is gone is that of a block to be solved, unless the parameters were given: then it was there.

    Raises UsageError: a whole variable is gone: that is not made good block by block.
    """
    with reading_metadata(path):
        given = metadata.read_attributes(path)["design"] == GIVEN
        group = _group(path)
        damage = [Damage(name, "has damaged metadata") for name in metadata.damaged_variables(path)]
        status = read_sound(path, "status", SolveStatus.PENDING)
        for array in store.arrays_of_samples(group):
            damage += _of_samples(path, array, status, list(_blocks(array)), given)
        return damage + damaged_constants(path)


def damage_of_block(path: Path, block: int) -> list[Damage]:
    """The same of the chunks of one block."""
    given = metadata.read_attributes(path)["design"] == GIVEN
    group = _group(path)
    stored = store.variable(group, "status")
    rows = _rows(stored, block)
    status = np.full(rows.stop, SolveStatus.PENDING, dtype=np.int8)
    status[rows] = _sound_block(stored, rows, SolveStatus.PENDING)
    arrays = store.arrays_of_samples(group)
    return [damage for array in arrays for damage in _of_samples(path, array, status, [(block, rows)], given)]


def damaged_constants(path: Path) -> list[Damage]:
    """Variables that no sample changes whose values are not what was written."""
    attributes, damage = metadata.read_attributes(path), []
    for name, array in store.open_group(path, "r").arrays():
        if "sample" not in (getattr(array.metadata, "dimension_names", None) or ()):
            reason = _why_unreadable(array, slice(None))
            if not reason and attributes["schema_version"] >= 3 and not _chunk(path, array, 0).exists():
                reason = "is gone"
            if reason:
                damage.append(Damage(name, reason))
    return damage


def require_sound(path: Path) -> None:
    """Raise where there is damage.

    Raises UsageError: names the variable and the samples of the first, how many there are, and the remedy.
    """
    raise_damage(path, find_damage(path))


def raise_damage(path: Path, damage: list[Damage]) -> None:
    """Raise for damage that was found, if any; see `require_sound`."""
    if damage:
        more = f", and {len(damage) - 1} more chunks" if len(damage) > 1 else ""
        raise UsageError(
            f"{path} is damaged: {damage[0]}{more}; `describe` lists them, `generate` with repair=True makes them again"
        )


def require_metadata(path: Path) -> None:
    """Raise where metadata of a variable are damaged: what is written by them would be too.

    Raises UsageError: names the variable and the remedy.
    """
    _group(path)
    raise_damage(path, [Damage(name, "has damaged metadata") for name in metadata.damaged_variables(path)])


def _group(path: Path) -> zarr.Group:
    """The data set, with all the variables it needs."""
    of_derivatives = OF_DERIVATIVES if store.recipe_in(path).n_directions else ()
    metadata.require_variables(path, (*_NEEDED, *of_derivatives))
    return store.open_group(path, "r")


def read_sound(path: Path, name: str, fill: Any, block: int | None = None) -> NDArray[Any]:
    """A variable, or one block of it, with `fill` in the chunks that are damaged."""
    with reading_metadata(path):
        array = store.variable(store.open_group(path, "r"), name)
        return _sound(array, fill) if block is None else _sound_block(array, _rows(array, block), fill)


def _sound(array: zarr.Array, fill: Any) -> NDArray[Any]:
    try:
        return np.asarray(array[:])
    except (ValueError, OSError, RuntimeError):
        return np.concatenate([_sound_block(array, rows, fill) for _, rows in _blocks(array)])


def _sound_block(array: zarr.Array, rows: slice, fill: Any) -> NDArray[Any]:
    if _why_unreadable(array, rows):
        return np.full((rows.stop - rows.start, *array.shape[1:]), fill)
    return np.asarray(array[rows])


def give_up(path: Path, damage: list[Damage], background: Array | None, mesh: Mesh | None = None) -> None:
    """Make the samples of damaged blocks pending again, and write damaged metadata and constants anew.

    A kill in between loses nothing: what is pending is solved by the next run.
    """
    metadata.restore(path, metadata.damaged_variables(path))
    status = store.variable(store.open_group(path, "r"), "status")
    for block in {chunk.block for chunk in damage if chunk.block is not None}:
        _chunk(path, status, block).unlink(missing_ok=True)  # a status that is not there is a pending one
    names = {chunk.variable for chunk in damage if chunk.block is None}
    for constant in layout.constants(store.recipe_in(path), background, mesh):
        if constant.name in names:
            layout.fill_constant(store.variable(store.open_group(path, "r+"), constant.name), constant)


def _of_samples(
    path: Path, array: zarr.Array, status: NDArray[np.int8], blocks: list[tuple[int, slice]], given: bool
) -> Iterator[Damage]:
    for begin in range(0, len(blocks), _TOGETHER):
        some = blocks[begin : begin + _TOGETHER]
        suspects = some if _why_unreadable(array, slice(some[0][1].start, some[-1][1].stop)) else []
        unreadable = {block: _why_unreadable(array, rows) for block, rows in suspects}
        for block, rows in some:
            reason = unreadable.get(block)
            there = given or _must_be_there(array, status[rows])
            if not reason and there and not _chunk(path, array, block).exists():
                reason = "is gone"
            if reason:
                yield Damage(array.basename, reason, block, rows.start, rows.stop - 1)


def _must_be_there(array: zarr.Array, status: NDArray[np.int8]) -> bool:
    if array.basename == "status" or (status == SolveStatus.PENDING).all():
        return False
    if any(isinstance(codec, zarr.codecs.Crc32cCodec) for codec in array.metadata.codecs):  # pyright: ignore[reportAttributeAccessIssue]
        return True
    # Schema 1 wrote no chunk of fill values alone: no messages, observables of failed samples only.
    return array.basename != "failure" and bool(has_observables(status).any())


def _why_unreadable(array: zarr.Array, rows: slice) -> str | None:
    try:
        array[rows]
    except (ValueError, OSError, RuntimeError) as error:  # a checksum, the disk, the decompressor
        return "fails its checksum" if "checksum" in str(error) else f"cannot be read ({error})"
    return None


def _blocks(array: zarr.Array) -> Iterator[tuple[int, slice]]:
    for block in range(-(-array.shape[0] // array.chunks[0])):
        yield block, _rows(array, block)


def _rows(array: zarr.Array, block: int) -> slice:
    first = block * array.chunks[0]
    return slice(first, min(first + array.chunks[0], array.shape[0]))


def _chunk(path: Path, array: zarr.Array, block: int) -> Path:
    key = array.metadata.encode_chunk_key((block, *[0] * (array.ndim - 1)))  # pyright: ignore[reportAttributeAccessIssue]
    return path / array.basename / key
