"""A data set as one NetCDF file that follows the CF conventions, for tools that read those and not zarr."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gnvpro.pde_data.storage.dataset import open_dataset
from gnvpro.pde_data.storage.provenance import in_words
from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.extras import import_h5py
from gnvpro.surrogate.writing import whole_file

if TYPE_CHECKING:
    import xarray as xr

# Seconds since a start of their own, which CF does not call time: that has a date.
_ELAPSED = {"time": "elapsed_time"}


def write_netcdf(
    data: str | os.PathLike[str] | xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a data set as a NetCDF-4 file by the CF conventions 1.11; returns its place.

    Everything is in it, and `read_samples` reads the same samples from it. Labels that are texts are auxiliary coordinates
    named `AXIS_name`, as CF has them, and an axis `time` that counts from no date is `elapsed_time`.

    Parameters
    ----------
    data
        What `open_dataset` opens, or a Dataset that it gave, some of its samples for example.
    overwrite
        Replace a file that stands there.

    Raises
    ------
    UsageError
        Not a data set; another suffix than .nc; a file that stands there.
    ImportError
        xarray or h5netcdf is not installed.
    """
    path = path_of(path, "a .nc file")
    if path.suffix.lower() != ".nc":
        raise UsageError(f"expected a file that ends in .nc, got {path}")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already; choose another name, or overwrite=True to replace it")
    dataset = open_dataset(data) if isinstance(data, str | os.PathLike) else data
    import_h5py()
    with whole_file(path) as file:
        by_conventions(dataset).to_netcdf(file, engine="h5netcdf")
    return path


def by_conventions(dataset: xr.Dataset) -> xr.Dataset:
    """A data set in memory with names and types as CF wants them in NetCDF."""
    dataset = dataset.copy()
    for name, elapsed in _ELAPSED.items():
        if name in dataset.dims and " since " not in str(dataset[name].attrs.get("units", "")):
            dataset = dataset.rename({name: elapsed})
    texts = {name: f"{name}_name" for name in map(str, dataset.indexes) if dataset[name].dtype.kind in "OUT"}
    dataset = dataset.drop_indexes(texts).rename_vars(texts)
    # An auxiliary coordinate has dimensions of what it belongs to: points and cells of a mesh have others.
    axes = {name for variable in dataset.data_vars.values() for name in variable.dims}
    dataset = dataset.reset_coords(
        [name for name, values in dataset.coords.items() if not axes.issuperset(values.dims)]
    )
    for variable in dataset.variables.values():
        variable.encoding.pop("coordinates", None)  # xarray names those that belong to each
        if "sample" not in variable.dims:  # of a coordinate nothing is missing
            variable.encoding["_FillValue"] = None
        variable.attrs.setdefault("long_name", "")
    for name, variable in dataset.variables.items():
        if not variable.attrs["long_name"]:
            variable.attrs["long_name"] = in_words(str(name))
        _type_flags(variable)
    return dataset


def _type_flags(variable: Any) -> None:
    """`flag_values` of the variable's own type, which JSON has none of."""
    if "flag_values" in variable.attrs:
        variable.attrs["flag_values"] = np.asarray(variable.attrs["flag_values"], dtype=variable.dtype)
