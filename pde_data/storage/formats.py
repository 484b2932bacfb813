"""Paired parameters and observables out of files without metadata: MATLAB `.mat` and NumPy `.npz`."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# Names of parameters and observables, most telling first; Y and C are those of the method's papers.
NAMES = (("parameters", "observables"), ("Y", "C"))


def read_arrays(path: Path, transpose: bool = False) -> tuple[Array, Array]:
    """Parameters (n, n_in) and observables (n, n_out), samples as rows.

    Parameters
    ----------
    transpose
        The file holds samples the other way round than usual: as rows in a `.mat`, as columns in an `.npz`.

    Raises
    ------
    ValueError
        A file that cannot be read, without the variables, or whose variables disagree on the samples.
    """
    is_mat = path.suffix.lower() == ".mat"
    found = _variables(path, load_mat(path) if is_mat else load_npz(path))
    samples_are_columns = is_mat != transpose
    axis = 1 if samples_are_columns else 0
    parameters, observables = found
    if parameters.shape[axis] != observables.shape[axis]:
        fits_transposed = parameters.shape[1 - axis] == observables.shape[1 - axis]
        remedy = f"{'leave out' if transpose else 'add'} transpose=True" if fits_transposed else "check the file"
        raise UsageError(
            f"{path}: expected as many {'columns' if axis else 'rows'} (samples) of parameters and observables, "
            f"got shapes {parameters.shape} and {observables.shape}; {remedy}"
        )
    return (parameters.T.copy(), observables.T.copy()) if samples_are_columns else (parameters, observables)


def load_mat(path: Path) -> Mapping[str, Any]:
    """All variables of a MATLAB file before v7.3."""
    try:
        return loadmat(path)
    except NotImplementedError as error:
        raise UsageError(f"{path} is a MATLAB v7.3 file; save it in MATLAB with: save(..., '-v7')") from error
    except (MatReadError, ValueError, TypeError, OSError, IndexError, EOFError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise UsageError(f"{path} cannot be read as a MATLAB file ({error}); is it complete?") from error


def load_npy(path: Path) -> Array:
    """The array of an .npy file."""
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UsageError(f"{path} cannot be read as an array of numbers ({error}); write it with numpy.save") from error


def load_npz(path: Path) -> Mapping[str, Any]:
    """All arrays of an .npz file."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise UsageError(f"{path} cannot be read as arrays of numbers ({error}); write it with numpy.savez") from error


def _variables(path: Path, stored: Mapping[str, Any]) -> tuple[Array, Array]:
    for names in NAMES:
        if all(name in stored for name in names):
            parameters, observables = (_matrix(path, name, stored[name]) for name in names)
            return parameters, observables
    expected = " or ".join(" and ".join(names) for names in NAMES)
    there = ", ".join(name for name in stored if not name.startswith("__")) or "none"
    raise UsageError(f"{path}: expected variables {expected}, got {there}")


def _matrix(path: Path, name: str, value: Any) -> Array:
    value = np.asarray(value)
    if value.ndim != 2 or value.dtype.kind not in "fiub":
        raise UsageError(
            f"{path}: expected {name} to be a matrix of real numbers, got {value.dtype} of shape {value.shape}"
        )
    return value.astype(np.float64)
