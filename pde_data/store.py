"""The zarr store behind a data set: its layout, its creation, and blocks committed one at a time.

One block of samples is one chunk of every variable, so writers of different blocks never touch the same file.
`status` is written last: a block counts as done when none of its samples is pending.
"""

from __future__ import annotations

import os
import shutil
import warnings
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from pde_data.problem import SolvedBlock, SolveStatus
from pde_data.provenance import definition_hash, git_revision, library_versions
from pde_data.recipe import Recipe
from pde_data.schema import SCHEMA_VERSION, decode_attributes, encode_attributes
from surrogate.forward_model import Array, Axis, Space


def create(path: Path, recipe: Recipe) -> None:
    """An empty data set, every sample pending; it appears under its name complete or not at all."""
    unfinished = path.parent / f".{path.name}.unfinished"
    if unfinished.exists():
        shutil.rmtree(unfinished)
    try:
        _write_empty(unfinished, recipe)
        os.rename(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def recipe_in(path: Path) -> Recipe:
    """The recipe of the data set at `path`.

    Raises
    ------
    ValueError
        Not a data set, or one with a newer schema.
    """
    attributes = read_attributes(path)
    return Recipe(**{name: attributes[name] for name in Recipe.__dataclass_fields__})


def read_attributes(path: Path) -> dict[str, Any]:
    """Attributes of the data set at `path`, decoded.

    Raises
    ------
    ValueError
        Not a data set, or one with a newer schema.
    """
    try:
        attributes = dict(_open(path, "r").attrs)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is there, but is not a data set; choose another place") from error
    return decode_attributes(attributes, path)


def read_status(path: Path) -> NDArray[np.int8]:
    """Status (n_samples,) of every sample."""
    return np.asarray(_array(_open(path, "r"), "status")[:], dtype=np.int8)


def pending_blocks(status: NDArray[np.int8], block_size: int) -> list[int]:
    """Numbers of the blocks that hold a pending sample."""
    starts = range(0, len(status), block_size)
    return [b for b, i in enumerate(starts) if (status[i : i + block_size] == SolveStatus.PENDING).any()]


def read_parameters(path: Path, index: NDArray[np.intp]) -> Array:
    """Parameters (len(index), n_in) of the samples at `index`."""
    return _rows(path, "parameters", index)


def read_observables(path: Path, index: NDArray[np.intp]) -> Array:
    """Observables (len(index), n_out) of the samples at `index`."""
    return _rows(path, "observables", index)


def _rows(path: Path, name: str, index: NDArray[np.intp]) -> Array:
    values = _array(_open(path, "r"), name)
    return np.stack([np.asarray(values[int(i)], dtype=np.float64).ravel() for i in index])


def write_block(path: Path, first: int, parameters: Array, solved: SolvedBlock, wall_time: float) -> None:
    """Commit the block of samples that begins at number `first`; `wall_time` is in seconds per sample."""
    group = _open(path, "r+")
    rows = slice(first, first + len(parameters))
    for name, values in (("parameters", parameters), ("observables", solved.observables)):
        array = _array(group, name)
        array[rows] = values.reshape(-1, *array.shape[1:])
    _array(group, "failure")[rows] = np.array(solved.messages, dtype=object)
    _array(group, "wall_time")[rows] = np.full(len(parameters), wall_time)
    _array(group, "status")[rows] = solved.status  # last: it commits the block


def write_attribute(path: Path, name: str, value: Any) -> None:
    """Add one attribute to the data set at `path`."""
    # Opened with the consolidated metadata, which the update would drop otherwise.
    zarr.open_group(path, mode="r+").attrs.update(encode_attributes({name: value}))


def _write_empty(path: Path, recipe: Recipe) -> None:
    group = zarr.open_group(path, mode="w-", zarr_format=3)
    n, block = recipe.n_samples, recipe.block_size

    def variable(name: str, dtype: str, fill: Any, axes: tuple[Axis, ...] = (), **attributes: Any) -> None:
        shape = tuple(len(axis.labels) for axis in axes)
        group.create_array(
            name,
            shape=(n, *shape),
            chunks=(block, *shape),
            dtype=dtype,
            fill_value=fill,
            dimension_names=("sample", *(axis.name for axis in axes)),
            attributes=attributes,
        )

    for name, given in (("parameters", recipe.parameter_space), ("observables", recipe.observable_space)):
        space = Space.from_dict(given)
        beside = _write_coordinates(group, name, space)
        one_unit = {"units": space.units[0]} if len(space.units) == 1 else {}
        variable(name, "f8", np.nan, space.axes, **one_unit, **({"coordinates": " ".join(beside)} if beside else {}))
    meanings = {int(s): s.name.lower() for s in SolveStatus}
    variable(
        "status",
        "i1",
        int(SolveStatus.PENDING),
        standard_name="status_flag",
        flag_values=list(meanings),
        flag_meanings=" ".join(meanings.values()),
    )
    variable("failure", "str", "", long_name="message of the solver, where it gave one")
    variable("wall_time", "f8", np.nan, units="s", long_name="wall time of the block divided by its samples")
    attributes = {
        "Conventions": "CF-1.11",
        "schema_version": SCHEMA_VERSION,
        **asdict(recipe),
        "definition_hash": definition_hash(recipe.definition),
        "law": recipe.parameter_space["law"],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": library_versions(),
        "git": git_revision(),
    }
    group.attrs.update(encode_attributes(attributes))
    with warnings.catch_warnings():  # consolidated metadata are an extension of zarr 3; xarray looks for them
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(path)


def _write_coordinates(group: zarr.Group, what: str, space: Space) -> list[str]:
    """Labels and coordinates of every axis, units that differ by component; returns what xarray cannot guess."""
    beside: list[str] = []
    for axis in space.axes:
        labels = np.asarray(axis.labels)
        _write_coordinate(
            group, axis.name, labels, (axis.name,), {"units": axis.unit} if labels.dtype.kind != "U" else {}
        )
        for coordinate in axis.coordinates:
            _write_coordinate(
                group, coordinate.name, np.asarray(coordinate.values), (axis.name,), {"units": coordinate.unit}
            )
            beside.append(coordinate.name)
    if len(space.units) > 1:
        name = f"{what.removesuffix('s')}_units"
        _write_coordinate(
            group, name, np.asarray(space.units).reshape(space.shape), tuple(a.name for a in space.axes), {}
        )
        beside.append(name)
    return beside


def _write_coordinate(
    group: zarr.Group, name: str, values: NDArray[Any], dimensions: tuple[str, ...], attributes: dict[str, Any]
) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        dtype="str" if values.dtype.kind == "U" else "f8",
        dimension_names=dimensions,
        attributes=attributes,
    )
    array[:] = values


def _open(path: Path, mode: Literal["r", "r+"]) -> zarr.Group:
    # Every block opens the group again: parsing all consolidated metadata would double the cost of a write.
    return zarr.open_group(path, mode=mode, use_consolidated=False)


def _array(group: zarr.Group, name: str) -> zarr.Array:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{group.store_path}: expected {name!r} to be an array; the data set is damaged")
    return array
