"""Fields as files for ParaView and pyvista, by meshio: `.vtu` for one state of everything, `.xdmf` for a series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.extras import require
from gnvpro.surrogate.mesh import Mesh
from gnvpro.surrogate.spaces import Array, Space
from gnvpro.surrogate.writing import whole_file

FORMATS = (".vtu", ".xdmf")


def require_field(space: Space, path: Path) -> Mesh:
    """The mesh of the observables that a file of fields is to be of.

    Raises
    ------
    UsageError
        Observables on no mesh, or a file of another format.
    ImportError
        meshio is not installed; says what to install.
    """
    if path.suffix not in FORMATS:
        raise UsageError(f"expected a file of fields that ends in {' or '.join(FORMATS)}, got {path}")
    if space.mesh is None:
        raise UsageError(f"{path.suffix} is for fields, and these observables are on no mesh; write .npz or .csv")
    require("meshio", "it writes files for ParaView")
    return space.mesh


def write_fields(
    path: Path, space: Space, fields: Mapping[str, Array], samples: Sequence[str | int] | None = None
) -> None:
    """Write fields (n, n_out) by name; raises as `require_field`. `samples` (n,) says what each is called; its number else.

    `.vtu`: every sample and every label of the axes beside the mesh is an array of its own, named `prediction, sample 0,
    time 0.5`. `.xdmf`: the first of these, samples where there are several, is the series.
    """
    import meshio

    mesh = require_field(space, path)
    points = np.pad(mesh.points, ((0, 0), (0, 3 - mesh.dimension)))
    cells: list[Any] = [(mesh.cell_type, mesh.cells)]
    n = len(next(iter(fields.values())))
    axes, arrays = _axes(space, samples or range(n)), {}
    for name, values in fields.items():
        place = next(i for i, axis in enumerate(space.axes) if axis.mesh is not None)
        by_axis = np.moveaxis(values.reshape(len(values), *space.shape), place + 1, -1)
        arrays[name] = by_axis if len(values) > 1 else by_axis[0]
    with whole_file(path) as file:
        if path.suffix == ".vtu":
            meshio.write(file, meshio.Mesh(points, cells, **_data(mesh, axes, arrays)), file_format="vtu")
            return
        # Data inside the one file: HDF5 would be another beside it.
        with meshio.xdmf.TimeSeriesWriter(file, data_format="XML") as series:
            series.write_points_cells(points, cells)
            for i, label in enumerate(axes[0][1] if axes else [0.0]):
                step = {name: values[i] if axes else values for name, values in arrays.items()}
                time = float(i) if isinstance(label, str) else float(label)
                series.write_data(time, **_data(mesh, axes[1:], step))


def _axes(space: Space, samples: Sequence[str | int]) -> list[tuple[str, Any]]:
    """Name and labels of what there are several fields of."""
    several = [("sample", samples)] if len(samples) > 1 else []
    return [*several, *((axis.name, axis.labels) for axis in space.axes if axis.mesh is None)]


def _data(mesh: Mesh, axes: list[tuple[str, Any]], arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Arrays at the points or cells, each with a name that says which it is."""
    named = {}
    for name, values in arrays.items():
        for place in product(*(range(len(labels)) for _, labels in axes)):
            which = [f"{axis} {labels[i]}" for (axis, labels), i in zip(axes, place, strict=True)]
            named[", ".join([name, *which])] = np.ascontiguousarray(values[place])
    if mesh.at == "points":
        return {"point_data": named}
    return {"cell_data": {name: [values] for name, values in named.items()}}
