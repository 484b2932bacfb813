"""Parameters for a model from a file: data set, NumPy, MATLAB or CSV; columns by name where they have names."""

from __future__ import annotations

import os
from pathlib import Path

from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.pde_data.storage.files import find_names, listed, load_arrays, pick, read_table
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# Names under which files hold parameters; Y is that of the method's papers.
NAMES = ("parameters", "Y", "y")


def read_parameters(path: str | os.PathLike[str], transpose: bool = False, names: tuple[str, ...] = ()) -> Array:
    """Parameters (n, n_in) of a .npz, .npy, .csv or .mat file, or of a data set.

    Parameters
    ----------
    transpose
        Of a `.mat` whose rows are samples, or an `.npz` whose columns are.
    names
        Of the parameters, in order: the columns of a .csv whose header has them are put into it.

    Raises
    ------
    UsageError
        Another format, a header with some of the names and not all, or no table of numbers in it.
    FileNotFoundError
        Nothing there.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no parameters at {path}; check the name")
    suffix = path.suffix.lower()
    if transpose and suffix not in (".mat", ".npz"):
        raise UsageError(f"{path}: transpose=True is for .mat and .npz; samples are rows here")
    if suffix == ".csv":
        return _read_csv(path, names)
    if suffix in (".npy", ".npz", ".mat"):
        arrays = load_arrays(path)
        name = pick(path, arrays, NAMES)
        values = numbers(arrays[name], name or "it", where=path)
        return values.T if transpose != (suffix == ".mat") else values
    return read_samples(path, allow_partial=True).parameters


def _read_csv(path: Path, names: tuple[str, ...]) -> Array:
    table = read_table(path, names)
    places = find_names(names, table.header, str(path))
    if all(place is None for place in places):  # no header, or one in words of its own: the order of the columns counts
        return table.numbers()
    if None in places or len(table.header) != len(names):
        raise UsageError(f"{path}: expected columns {listed(names)}, got {listed(table.header)}")
    return table.numbers([place for place in places if place is not None])
