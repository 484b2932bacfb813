"""Parameters for a model from a file: data set, NumPy, MATLAB or CSV; columns by name where they have names."""

from __future__ import annotations

import os
from pathlib import Path

from gnvpro.pde_data.files import load_arrays, pick, read_table
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.pde_data.storage.elsewhere import at_hand, is_elsewhere
from gnvpro.surrogate.checks import numbers, path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import order_of
from gnvpro.surrogate.spaces import Array

# Names under which files hold parameters; Y is that of the method's papers.
NAMES = ("parameters", "Y", "y")


def read_parameters(path: str | os.PathLike[str], transpose: bool = False, names: tuple[str, ...] = ()) -> Array:
    """Parameters (n, n_in) of a .npz, .npy, .csv or .mat file, or of a data set; also behind an address, as `read_samples`.

    Parameters
    ----------
    transpose
        Of a `.mat` whose rows are samples, or an `.npz` whose columns are.
    names
        Of the parameters, in order: columns with names, of a .csv or a data set, are put into it.

    Raises
    ------
    UsageError
        Another format, columns with other names, or no table of numbers in it.
    FileNotFoundError
        Nothing there.
    """
    if is_elsewhere(path):
        with at_hand(path) as copy:
            return read_parameters(copy, transpose, names)
    path = path_of(path)
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
    samples = read_samples(path, allow_partial=True)
    return samples.parameters[:, samples.parameter_space.order_of(names, str(path))] if names else samples.parameters


def _read_csv(path: Path, names: tuple[str, ...]) -> Array:
    table = read_table(path, names)
    return table.numbers(order_of(names, table.header, str(path)) if names and table.header else None)
