"""Parameters for a model from a file: data set, NumPy, MATLAB or CSV; columns by name where they have names."""

from __future__ import annotations

import csv
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from scipy.io import loadmat

from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.spaces import Array

# Names under which files hold parameters; Y is that of the method's papers.
NAMES = ("parameters", "Y", "y")


def read_parameters(path: Path, transpose: bool = False, names: tuple[str, ...] = ()) -> Array:
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
    if not path.exists():
        raise FileNotFoundError(f"no parameters at {path}; check the name")
    suffix = path.suffix.lower()
    if transpose and suffix not in (".mat", ".npz"):
        raise ValueError(f"{path}: --transpose is for .mat and .npz; samples are rows here")
    try:
        if suffix == ".csv":
            return _read_csv(path, names)
        if suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False), float)
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                values = np.asarray(stored[_name(path, stored.files)], float)
                return values.T if transpose else values
        if suffix == ".mat":
            stored = loadmat(path)
            values = np.asarray(stored[_name(path, [n for n in stored if not n.startswith("__")])], float)
            return values if transpose else values.T
    except NotImplementedError as error:
        raise ValueError(f"{path} is a MATLAB 7.3 file; save it with -v7") from error
    except (BadZipFile, EOFError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}); is it complete?") from error
    return read_samples(path, allow_partial=True).parameters


def _name(path: Path, there: list[str]) -> str:
    found = [name for name in NAMES if name in there] or (there if len(there) == 1 else [])
    if not found:
        raise ValueError(f"{path}: expected an array named {' or '.join(NAMES)}, got {', '.join(there) or 'none'}")
    return found[0]


def _read_csv(path: Path, names: tuple[str, ...]) -> Array:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except csv.Error as error:
        raise ValueError(f"{path}: expected a table of numbers, one sample a line ({error})") from None
    header = bool(lines) and not _is_number(lines[0][0])
    try:
        table = np.array(lines[header:], dtype=float)
    except ValueError as error:
        raise ValueError(f"{path}: expected a table of numbers, one sample a line ({error})") from None
    columns = [text.strip() for text in lines[0]] if header else []
    if not set(columns) & set(names):  # no header, or one in words of its own: the order of the columns counts
        return table
    if sorted(columns) != sorted(names):
        raise ValueError(f"{path}: expected columns {', '.join(names)}, got {', '.join(columns)}")
    return table[:, [columns.index(name) for name in names]]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
