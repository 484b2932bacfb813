"""Parameters for a model from a file: data set, NumPy, MATLAB or CSV; columns by name where they have names."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.pde_data.storage.formats import load_mat, load_npy, load_npz
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
    ValueError
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
    match suffix:
        case ".csv":
            return _read_csv(path, names)
        case ".npy":
            return _numbers(path, load_npy(path))
        case ".npz":
            table = _table(path, load_npz(path))
            return table.T if transpose else table
        case ".mat":
            table = _table(path, load_mat(path))
            return table if transpose else table.T
        case _:
            return read_samples(path, allow_partial=True).parameters


def _table(path: Path, stored: Mapping[str, Any]) -> Array:
    """The array with one of the names, or the only one."""
    there = [name for name in stored if not name.startswith("__")]
    found = [name for name in NAMES if name in there] or (there if len(there) == 1 else [])
    if not found:
        raise UsageError(f"{path}: expected an array named {' or '.join(NAMES)}, got {', '.join(there) or 'none'}")
    return _numbers(path, stored[found[0]])


def _numbers(path: Path, stored: Any) -> Array:
    try:
        return np.asarray(stored, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}: expected a table of numbers ({error})") from error


def _read_csv(path: Path, names: tuple[str, ...]) -> Array:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except csv.Error as error:
        raise UsageError(f"{path}: expected a table of numbers, one sample a line ({error})") from None
    header = bool(lines) and not _is_number(lines[0][0])
    try:
        table = np.array(lines[header:], dtype=float)
    except ValueError as error:
        raise UsageError(f"{path}: expected a table of numbers, one sample a line ({error})") from None
    columns = [text.strip() for text in lines[0]] if header else []
    if not set(columns) & set(names):  # no header, or one in words of its own: the order of the columns counts
        return table
    if sorted(columns) != sorted(names):
        raise UsageError(f"{path}: expected columns {', '.join(names)}, got {', '.join(columns)}")
    return table[:, [columns.index(name) for name in names]]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
