"""The zarr store behind a data set: its recipe, blocks committed one at a time, and its growth.

One block of samples is one chunk of every variable, so writers of different blocks never touch the same file, and
zarr puts every file in place at once. `status` is written last: a block counts as done when none of its samples is
pending.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.solving import SolvedBlock
from gnvpro.pde_data.storage import metadata
from gnvpro.pde_data.storage.provenance import GIVEN, OF_DERIVATIVES, Recipe, with_history
from gnvpro.pde_data.storage.schema import DERIVATIVES_VERSION, OF_THE_WHOLE, lacks_derivatives
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True, eq=False)
class Block:
    """Everything a data set holds of the samples of one block.

    Attributes
    ----------
    wall_time : (n,)
        Seconds per sample.
    directions, derivatives : (n, r, n_in), (n, r, n_out)
        Derivatives, NaN where one could not be made, and what they are taken along.
    derivative_wall_time : (n,)
        Seconds per sample of all its derivatives; NaN where `wall_time` has them.
    """

    parameters: Array
    solved: SolvedBlock
    wall_time: Array
    directions: Array
    derivatives: Array
    derivative_wall_time: Array

    @classmethod
    def of_values(cls, parameters: Array, solved: SolvedBlock, wall_time: Array) -> Block:
        """Without derivatives."""
        n, n_in, n_out = *parameters.shape, solved.observables.shape[1]
        return cls(parameters, solved, wall_time, np.empty((n, 0, n_in)), np.empty((n, 0, n_out)), np.full(n, np.nan))


def recipe_in(path: Path) -> Recipe:
    """The recipe of the data set at `path`.

    Raises UsageError: not a data set, or one with a newer schema.
    """
    attributes = metadata.read_attributes(path)
    return Recipe(**{field.name: attributes[field.name] for field in fields(Recipe) if field.name in attributes})


def read_status(path: Path, rows: slice = slice(None)) -> NDArray[np.int8]:
    """Status (n_samples,) of every sample, or of some rows."""
    return np.asarray(variable(open_group(path, "r"), "status")[rows], dtype=np.int8)


def read_failures(path: Path) -> NDArray[np.bool_]:
    """Which samples (n_samples,) have failed, or a derivative of theirs has."""
    status = read_status(path)
    return (status > SolveStatus.OK) | lacks_derivatives(status, variable(open_group(path, "r"), "failure")[:])


def read_rows(path: Path, name: str, index: NDArray[np.intp]) -> Array:
    """Parameters or observables (len(index), size) of the samples at `index`."""
    values = variable(open_group(path, "r"), name)
    return np.stack([np.asarray(values[int(i)], dtype=np.float64).ravel() for i in index])


def read_background(path: Path) -> Array | None:
    """Background (n_out,); None where the data set has none."""
    group = open_group(path, "r")
    return np.asarray(variable(group, "background")[:]).reshape(-1) if "background" in group else None


def read_block(path: Path, first: int, n: int) -> Block:
    """The n samples from number `first` on."""
    group, rows = open_group(path, "r"), slice(first, first + n)
    parameters, observables, status, messages, wall_time = (
        np.asarray(variable(group, name)[rows])
        for name in ("parameters", "observables", "status", "failure", "wall_time")
    )
    solved = SolvedBlock(observables.reshape(n, -1), status.astype(np.int8), tuple(map(str, messages)))
    block = Block.of_values(parameters.reshape(n, -1), solved, wall_time)
    if "derivative" not in group:
        return block
    directions, derivatives, seconds = (np.asarray(variable(group, name)[rows]) for name in OF_DERIVATIVES)
    r = directions.shape[1]
    return replace(
        block,
        directions=directions.reshape(n, r, -1),
        derivatives=derivatives.reshape(n, r, -1),
        derivative_wall_time=seconds,
    )


def write_block(path: Path, first: int, n_samples: int, block: Block) -> None:
    """Commit the block of samples that begins at number `first` of the `n_samples` there are.

    Raises UsageError: the data set has another size by now: a worker that outlived its run would cut short a block that
    has grown.
    """
    with zarr.config.set({"array.write_empty_chunks": True}):  # a chunk that is not there is a chunk that was lost
        group = open_group(path, "r+")
        if (size := variable(group, "status").shape[0]) != n_samples:
            raise UsageError(f"{path} has {size} samples by now and not {n_samples}; this run has been overtaken")
        rows = slice(first, first + len(block.parameters))
        background = read_background(path) if "anomalous" in group else None
        values = {"parameters": block.parameters, "observables": block.solved.observables}
        if background is not None:
            values["anomalous"] = block.solved.observables - background
        if "derivative" in group:
            of_derivatives = block.directions, block.derivatives, block.derivative_wall_time
            values |= dict(zip(OF_DERIVATIVES, of_derivatives, strict=True))
        for name, value in values.items():
            array = variable(group, name)
            array[rows] = value.reshape(-1, *array.shape[1:])
        variable(group, "failure")[rows] = np.array(block.solved.messages, dtype=object)
        variable(group, "wall_time")[rows] = block.wall_time
        variable(group, "status")[rows] = block.solved.status  # last: it commits the block


def begin_solving(path: Path, n_samples: int) -> None:
    """Say in the `history` that so many samples are about to be solved, and nothing of all samples together any more."""
    kept = _of_every_sample(metadata.read_attributes(path))
    metadata.write(path, with_history(kept, f"{n_samples} of {kept['n_samples']} samples to solve"))


def write_attribute(path: Path, name: str, value: Any) -> None:
    """Add one attribute to the data set at `path`."""
    metadata.write(path, {**metadata.read_attributes(path), name: value})


def has_size(path: Path, n_samples: int) -> bool:
    """Whether every variable and every copy of the metadata says so; a growth that was killed leaves them in dispute."""
    return metadata.sizes(path) == {n_samples}


def resize(
    path: Path, n_samples: int, fill: Callable[[], None] = lambda: None, placement: dict[str, Any] | None = None
) -> None:
    """Grow the data set, or take back a growth that was killed; new samples are pending.

    What readers go by changes last, in one step, after `fill` has written new samples: a run that is killed before
    leaves the data set as it was, and the next one does all of this again.
    """
    variables = metadata.resize(path, n_samples)
    fill()
    attributes = _of_every_sample(metadata.read_attributes(path))
    if placement is not None:
        version = max(attributes["schema_version"], DERIVATIVES_VERSION)
        attributes |= {"placement": placement, "schema_version": version}
    if (before := attributes["n_samples"]) != n_samples:
        once = "samples appended" if attributes["design"] == GIVEN else None
        event = f"{once or 'extended'}, from {before} to {n_samples} samples"
        attributes = with_history(attributes, event, once=once)
    metadata.write(path, {**attributes, "n_samples": n_samples}, variables)


def _of_every_sample(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in OF_THE_WHOLE}


def arrays_of_samples(group: zarr.Group) -> Iterator[zarr.Array]:
    """The variables that have a row for every sample; `status` last."""
    for name, array in group.arrays():
        dimensions = getattr(array.metadata, "dimension_names", None) or ()
        if name != "status" and "sample" in dimensions:
            yield array
    yield variable(group, "status")


def open_group(path: Path, mode: Literal["r", "r+"]) -> zarr.Group:
    """The data set at `path` as zarr sees it: to read, as it was committed."""
    # Every block opens the group again: parsing all consolidated metadata would double the cost of a write.
    return zarr.open_group(path, mode=mode, use_consolidated=None if mode == "r" else False)


def variable(group: zarr.Group, name: str) -> zarr.Array:
    """One variable of it.

    Raises UsageError: it is gone, or there is a group in its place.
    """
    path = str(group.store_path).removeprefix("file://")
    try:
        array = group[name]
    except KeyError as error:
        raise UsageError(
            f"{path} is damaged: its variable {name!r} is gone; make the data set again in another place"
        ) from error
    if not isinstance(array, zarr.Array):
        raise UsageError(f"{path}: expected {name!r} to be an array; the data set is damaged")
    return array
