"""The layout of a data set: an empty one, every sample pending, with names, units and positions beside it."""

from __future__ import annotations

import glob
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.storage import metadata
from gnvpro.pde_data.storage.provenance import (
    Recipe,
    definition_hash,
    git_revision,
    in_words,
    library_versions,
    mesh_variables,
    origin_in_words,
)
from gnvpro.pde_data.storage.schema import DERIVATIVES_VERSION, PLAIN_VERSION, SCHEMA_VERSION
from gnvpro.surrogate.mesh import Mesh
from gnvpro.surrogate.spaces import Array, Axis, Space

_LONG_NAMES = {
    "parameters": "parameters of each sample",
    "observables": "observables of each sample",
    "anomalous": "observables less the background",
}
# The checksum last, over the bytes as they lie on the disk.
_COMPRESSORS = [ZstdCodec(), Crc32cCodec()]


def create(
    path: Path,
    recipe: Recipe,
    background: Array | None = None,
    fill: Callable[[Path], None] = lambda unfinished: None,
    alone: bool = True,
    mesh: Mesh | None = None,
    about: Mapping[str, str] | None = None,
) -> None:
    """A data set, every sample pending; it appears under its name complete or not at all.

    Parameters
    ----------
    background : (n_out,)
        Observables without what the parameters describe; the data set then holds `anomalous` beside `observables`.
    fill
        Writes into it before it appears.
    mesh
        Of the observables, where these are a field.
    alone
        No other process makes the same: what a killed one left unfinished is removed.
    about
        Attributes that the problem gives, such as `title`, `institution` and `references`.

    Raises OSError: something is there already, ENOTEMPTY where another process was faster.
    """
    path = path.resolve()
    if alone:
        for left in path.parent.glob(f".{glob.escape(path.name)}.unfinished*"):
            shutil.rmtree(left)
    unfinished = path.parent / f".{path.name}.unfinished-{uuid.uuid4().hex}"
    try:
        _write_empty(unfinished, recipe, background, mesh, about or {})
        fill(unfinished)
        os.rename(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class Constant:
    """A variable that no sample changes: labels, positions, units, the background."""

    name: str
    values: NDArray[Any]
    dimensions: tuple[str, ...]
    attributes: dict[str, Any]


def constants(recipe: Recipe, background: Array | None, mesh: Mesh | None = None) -> Iterator[Constant]:
    """Everything in a data set that belongs to its axes and not to its samples.

    Parameters
    ----------
    background, mesh
        Of the observables; the recipe has only the description of the mesh.
    """
    for what in ("parameter", "observable"):
        yield from _of_axes(what, _space(recipe, what, mesh))
    if background is not None:
        space = _space(recipe, "observable")
        about = {"long_name": "observables without what the parameters describe", **_one_unit(space)}
        yield Constant("background", background.reshape(space.shape), tuple(a.name for a in space.axes), about)


def fill_constant(array: zarr.Array, constant: Constant) -> None:
    """Write its values, over what is there."""
    # A chunk that is not there is a chunk that was lost, also one of zeros. An array keeps what was set when it was opened.
    with zarr.config.set({"array.write_empty_chunks": True}):
        zarr.open_array(array.store_path, mode="r+")[:] = constant.values


def _write_empty(
    path: Path, recipe: Recipe, background: Array | None, mesh: Mesh | None, given: Mapping[str, str]
) -> None:
    group = zarr.open_group(path, mode="w-", zarr_format=3)
    parameters, observables = (_space(recipe, what, mesh) for what in ("parameter", "observable"))

    def variable(name: str, dtype: str, fill: Any, axes: tuple[Axis, ...] = (), **attributes: Any) -> None:
        shape = tuple(len(axis.labels) for axis in axes)
        group.create_array(
            name,
            shape=(recipe.n_samples, *shape),
            chunks=(recipe.block_size, *shape),  # the first may exceed the shape: the data set may grow
            dtype=dtype,
            fill_value=fill,
            dimension_names=("sample", *(axis.name for axis in axes)),
            attributes=attributes,
            compressors=_COMPRESSORS,
        )

    spaces = {"parameters": parameters, "observables": observables}
    if background is not None:
        spaces["anomalous"] = observables
    for name, space in spaces.items():
        beside = " ".join(_beside("parameter" if name == "parameters" else "observable", space))
        attributes = {"long_name": _LONG_NAMES[name], **_one_unit(space)}
        variable(name, "f8", np.nan, space.axes, **attributes, **({"coordinates": beside} if beside else {}))
    if recipe.n_directions:
        along = Axis("along", tuple(map(str, range(recipe.n_directions))))
        about = "changes of the parameters that derivatives are taken along"
        variable("direction", "f8", np.nan, (along, *parameters.axes), **_one_unit(parameters), long_name=about)
        about = "derivatives of the observables along each direction"
        variable("derivative", "f8", np.nan, (along, *observables.axes), **_one_unit(observables), long_name=about)
        about = "wall time of all derivatives of a sample; not a number where it is in wall_time"
        variable("derivative_wall_time", "f8", np.nan, units="s", long_name=about)
    meanings = {int(s): s.name.lower() for s in SolveStatus}
    variable(
        "status",
        "i1",
        int(SolveStatus.PENDING),
        long_name="how the solve of a sample ended",
        standard_name="status_flag",
        flag_values=list(meanings),
        flag_meanings=" ".join(meanings.values()),
    )
    variable("failure", "str", "", long_name="message of the solver, where it gave one")
    variable(
        "wall_time", "f8", np.nan, units="s", long_name="wall time of a solve divided by the samples solved at once"
    )
    for constant in constants(recipe, background, mesh):
        array = group.create_array(
            constant.name,
            shape=constant.values.shape,
            dtype=_stored_as(constant.values),
            dimension_names=constant.dimensions,
            attributes=constant.attributes,
            compressors=_COMPRESSORS,
        )
        fill_constant(array, constant)
    attributes = {
        "Conventions": "CF-1.11",
        **origin_in_words(recipe),
        **given,
        "schema_version": lowest_version(recipe),
        **recipe.attributes,
        "definition_hash": definition_hash(recipe.definition),
        "law": recipe.parameter_space["law"],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": library_versions(),
        "git": git_revision(),
    }
    metadata.write(path, attributes)


def _space(recipe: Recipe, what: str, mesh: Mesh | None = None) -> Space:
    if what == "parameter":
        return Space.from_dict(recipe.parameter_space)
    space = Space.from_dict(recipe.observable_space)
    return space if mesh is None else space.with_mesh(mesh)


def lowest_version(recipe: Recipe) -> int:
    """The first schema that knows all that is in the data set, so that older versions read what they can."""
    if "laws" in recipe.parameter_space or any("mesh" in axis for axis in recipe.observable_space["axes"]):
        return SCHEMA_VERSION
    return DERIVATIVES_VERSION if recipe.n_directions or recipe.placement else PLAIN_VERSION


def _stored_as(values: NDArray[Any]) -> str:
    """Texts as such; the corners of cells, which are of 32 bits, as they are; labels and positions as floats."""
    return "str" if values.dtype.kind == "U" else "i4" if values.dtype == np.int32 else "f8"


def _one_unit(space: Space) -> dict[str, str]:
    return {"units": space.units[0]} if len(space.units) == 1 else {}


def _of_axes(what: str, space: Space) -> Iterator[Constant]:
    """Labels and coordinates of every axis, points and cells of a mesh, units that differ by component."""
    for axis in space.axes:
        if (mesh := axis.mesh) is not None:
            points, cells = mesh_variables(axis.name)
            at_points, at_cells = (
                axis.name if mesh.at == at else f"{axis.name}_{at[:-1]}" for at in ("points", "cells")
            )
            of_points = {"long_name": "points of the mesh", "units": axis.unit}
            of_cells = {"long_name": "corners of each cell, numbers of points", "cell_type": mesh.cell_type}
            yield Constant(points, mesh.points, (at_points, f"{axis.name}_dimension"), of_points)
            yield Constant(cells, mesh.cells, (at_cells, f"{axis.name}_corner"), of_cells)
            continue
        labels = np.asarray(axis.labels)
        said = {"long_name": in_words(axis.name), **({} if labels.dtype.kind == "U" else {"units": axis.unit})}
        yield Constant(axis.name, labels, (axis.name,), said)
        for coordinate in axis.coordinates:
            said = {"long_name": in_words(coordinate.name), "units": coordinate.unit}
            yield Constant(coordinate.name, np.asarray(coordinate.values), (axis.name,), said)
    if len(space.units) > 1:
        units, said = np.asarray(space.units).reshape(space.shape), {"long_name": f"unit of each {what}"}
        yield Constant(f"{what}_units", units, tuple(axis.name for axis in space.axes), said)


def _beside(what: str, space: Space) -> list[str]:
    """Coordinates that xarray cannot guess from the names of the dimensions."""
    dimensions = {axis.name for axis in space.axes}
    return [constant.name for constant in _of_axes(what, space) if constant.name not in dimensions]
