"""Damage in a data set: chunks that fail their checksum or are gone, found, named and given up for solving anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.storage import layout, store
from gnvpro.pde_data.storage.schema import reading_metadata
from gnvpro.surrogate.errors import UsageError
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
    """Every chunk of the data set at `path` that is not what was written; reads all of it.

    Data sets of schema 1 have no checksums: only chunks that cannot be read at all, or are gone, are found.

    Raises UsageError: a whole variable is gone: that is not made good block by block.
    """
    with reading_metadata(path):
        group = store.open_group(path, "r")
        for name in _NEEDED:
            store.variable(group, name)  # raises where it is gone
        status = read_sound(path, "status", SolveStatus.PENDING)
        of_samples = list(store.arrays_of_samples(group))
        damage = [chunk for array in of_samples for chunk in _of_samples(path, array, status)]
        per_sample = {array.name for array in of_samples}
        for _, array in group.arrays():
            if array.name not in per_sample and (reason := _why_unreadable(array, slice(None))):
                damage.append(Damage(array.basename, reason))
        return damage


def require_sound(path: Path) -> None:
    """Raise where there is damage.

    Raises UsageError: names the variable and the samples of the first, how many there are, and the remedy.
    """
    if damage := find_damage(path):
        more = f", and {len(damage) - 1} more chunks" if len(damage) > 1 else ""
        raise UsageError(
            f"{path} is damaged: {damage[0]}{more}; `describe` lists them, `generate` with repair=True makes them again"
        )


def read_sound(path: Path, name: str, fill: Any) -> NDArray[Any]:
    """A variable, with `fill` in the chunks that are damaged."""
    with reading_metadata(path):
        array = store.variable(store.open_group(path, "r"), name)
        return _sound(array, fill)


def _sound(array: zarr.Array, fill: Any) -> NDArray[Any]:
    try:
        return np.asarray(array[:])
    except (ValueError, OSError, RuntimeError):
        pieces = ((rows, _why_unreadable(array, rows)) for _, rows in _blocks(array))
        return np.concatenate(
            [
                np.full(np.empty(array.shape)[rows].shape, fill) if bad else np.asarray(array[rows])
                for rows, bad in pieces
            ]
        )


def give_up(path: Path, damage: list[Damage], background: Array | None) -> None:
    """Make the samples of damaged blocks pending again, and write damaged constants anew.

    A kill in between loses nothing: what is pending is solved by the next run.
    """
    status = store.variable(store.open_group(path, "r"), "status")
    for block in {chunk.block for chunk in damage if chunk.block is not None}:
        _chunk(path, status, block).unlink(missing_ok=True)  # a status that is not there is a pending one
    names = {chunk.variable for chunk in damage if chunk.block is None}
    if names:
        for constant in layout.constants(store.recipe_in(path), background):
            if constant.name in names:
                layout.write_constant(store.open_group(path, "r+"), constant)
        layout.consolidate(path)


def _of_samples(path: Path, array: zarr.Array, status: NDArray[np.int8]) -> Iterator[Damage]:
    blocks = list(_blocks(array))
    for begin in range(0, len(blocks), _TOGETHER):
        some = blocks[begin : begin + _TOGETHER]
        suspects = some if _why_unreadable(array, slice(some[0][1].start, some[-1][1].stop)) else []
        unreadable = {block: _why_unreadable(array, rows) for block, rows in suspects}
        for block, rows in some:
            reason = unreadable.get(block)
            if not reason and _must_be_there(array, status[rows]) and not _chunk(path, array, block).exists():
                reason = "is gone"
            if reason:
                yield Damage(array.basename, reason, block, rows.start, rows.stop - 1)


def _must_be_there(array: zarr.Array, status: NDArray[np.int8]) -> bool:
    if array.basename == "status" or (status == SolveStatus.PENDING).all():
        return False
    if any(isinstance(codec, zarr.codecs.Crc32cCodec) for codec in array.metadata.codecs):  # pyright: ignore[reportAttributeAccessIssue]
        return True
    # Schema 1 wrote no chunk of fill values alone: no messages, observables of failed samples only.
    return array.basename != "failure" and bool((status == SolveStatus.OK).any())


def _why_unreadable(array: zarr.Array, rows: slice) -> str | None:
    try:
        array[rows]
    except (ValueError, OSError, RuntimeError) as error:  # a checksum, the disk, the decompressor
        return "fails its checksum" if "checksum" in str(error) else f"cannot be read ({error})"
    return None


def _blocks(array: zarr.Array) -> Iterator[tuple[int, slice]]:
    size = array.chunks[0]
    for block, first in enumerate(range(0, array.shape[0], size)):
        yield block, slice(first, min(first + size, array.shape[0]))


def _chunk(path: Path, array: zarr.Array, block: int) -> Path:
    key = array.metadata.encode_chunk_key((block, *[0] * (array.ndim - 1)))  # pyright: ignore[reportAttributeAccessIssue]
    return path / array.basename / key
