"""Data sets as they are read: zarr and NetCDF through xarray, `.mat` and `.npz` as bare arrays.

Reading needs neither FEniCSx nor torch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.storage.files import read_pairs
from gnvpro.pde_data.storage.schema import SENSELESS, count_by_status, decode_attributes, making_sense_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array, Space

if TYPE_CHECKING:
    import xarray as xr

_BARE = (".mat", ".npz")
_NETCDF = (".nc", ".nc4", ".netcdf")


def open_dataset(path: str | os.PathLike[str]) -> xr.Dataset:
    """The data set in a zarr folder or NetCDF file, as xarray shows it; values are read when used.

    Raises
    ------
    ValueError
        Not a data set, another format, or a newer schema.
    ImportError
        xarray is not installed; says what to install.
    """
    path = _existing(path)
    try:
        import xarray as xr
        import zarr  # noqa: F401  xarray's message for its absence does not say what to install
    except ImportError as error:
        raise ImportError('zarr and NetCDF data sets need xarray: pip install "gnvpro[data]"') from error
    try:
        if path.is_dir():
            opened = xr.open_zarr(path, decode_times=False, consolidated=False, chunks=None)
        elif path.suffix.lower() in _NETCDF:
            opened = xr.open_dataset(path, engine="h5netcdf", decode_times=False)
        else:
            raise UsageError("it is neither a zarr folder nor a .nc file")
    except (OSError, ValueError, *SENSELESS) as error:
        disputed = "conflicting sizes" in str(error)
        remedy = "; a run that extended it was killed: repeat that run" if disputed else ""
        raise UsageError(f"{path} cannot be opened as a data set: {error}{remedy}") from error
    missing = [name for name in ("parameters", "observables") if name not in opened]
    if missing:
        raise UsageError(f"{path}: expected variables parameters and observables, got {', '.join(map(str, opened))}")
    return opened


def read_samples(path: str | os.PathLike[str], transpose: bool = False, *, allow_partial: bool = False) -> Samples:
    """The solved samples of a zarr folder, `.nc`, `.mat` or `.npz` file.

    Parameters
    ----------
    transpose
        Of a `.mat` whose rows are samples, or an `.npz` whose columns are.
    allow_partial
        Take what is there of a data set that is not finished.

    Returns
    -------
    Samples
        Samples whose solve failed are left out and counted in `n_failed`.

    Raises
    ------
    ValueError
        What cannot be read, is not finished, damaged (the variable and the samples are named), or holds no solved
        sample; numbers that are not finite.
    """
    path = _existing(path)
    if path.suffix.lower() in _BARE and path.is_file():
        return _without_metadata(*read_pairs(path, transpose), provenance={"file": path.name, "sha256": _sha256(path)})
    if transpose:
        raise UsageError(f"{path}: a zarr or NetCDF data set names its dimensions; leave out transpose=True")
    with open_dataset(path) as dataset, _naming_damage(path):
        parameters, observables = (_rows(dataset, name) for name in ("parameters", "observables"))
        status, attributes = _status(dataset, len(parameters)), _attributes(dataset, path)
        background = np.asarray(dataset["background"].values).reshape(-1) if "background" in dataset else None
    if (pending := int((status == SolveStatus.PENDING).sum())) and not allow_partial:
        raise UsageError(
            f"{path}: {pending} of {len(status)} samples are still pending; finish it by generating it again"
        )
    ok = status == SolveStatus.OK
    if not ok.any():
        raise UsageError(f"{path}: none of its {len(status)} samples is solved; `describe` lists the reasons")
    parameters, observables = parameters[ok], observables[ok]
    if _is_own(path, attributes) and not (np.isfinite(parameters).all() and np.isfinite(observables).all()):
        _require_sound(path)  # a chunk that is gone reads as NaN
    n_failed = int((status > SolveStatus.OK).sum())
    if "parameter_space" not in attributes:
        return _without_metadata(parameters, observables, provenance={"file": path.name}, n_failed=n_failed)
    try:
        spaces = [Space.from_dict(attributes.pop(name)) for name in ("parameter_space", "observable_space")]
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: the attributes are damaged ({error!r}); generate the data set again") from error
    provenance = {"file": path.name, **attributes}
    return Samples(parameters, observables, *spaces, provenance=provenance, n_failed=n_failed, background=background)


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a data set says of itself; JSON-able.

    Counts by status, every failure with its reason, the spaces, the size on disk, and what the data set says
    of its origin (definition, seed, versions, estimated error); for files without metadata the last is absent.
    A zarr data set is read through and compared with its checksums: `damaged` lists the chunks that are not what
    was written, and samples whose status is among them count as pending.
    """
    path = _existing(path)
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    about: dict[str, Any] = {"path": str(path), "size_bytes": sum(file.stat().st_size for file in files)}
    if path.suffix.lower() in _BARE and path.is_file():
        samples = read_samples(path)
        spaces = {
            "parameter_space": samples.parameter_space.to_dict(),
            "observable_space": samples.observable_space.to_dict(),
        }
        return {**about, "n_samples": len(samples), "counts": {"ok": len(samples)}, "failures": [], **spaces}
    with open_dataset(path) as dataset, making_sense_of(path):
        attributes = _attributes(dataset, path)
        if _is_own(path, attributes):
            status, messages, damaged = _checked(path)
            attributes = {"damaged": damaged, **attributes}
        else:
            status = _status(dataset, len(_rows(dataset, "parameters")))
            messages = dataset["failure"].values if "failure" in dataset else np.full(len(status), "")
    failures = [
        {"sample": int(i), "reason": SolveStatus(int(status[i])).name.lower(), "message": str(messages[i])}
        for i in np.flatnonzero(status > SolveStatus.OK)
    ]
    return {
        **about,
        "n_samples": len(status),
        "counts": count_by_status(status),
        "failures": failures,
        **attributes,
    }


def _is_own(path: Path, attributes: dict[str, Any]) -> bool:
    """Whether it is a zarr folder that `generate` made."""
    return path.is_dir() and "schema_version" in attributes


def _checked(path: Path) -> tuple[NDArray[np.int8], NDArray[Any], list[dict[str, Any]]]:
    from gnvpro.pde_data.storage.integrity import find_damage, read_sound  # zarr: not needed for .mat and .npz

    status, messages = read_sound(path, "status", SolveStatus.PENDING), read_sound(path, "failure", "")
    return status.astype(np.int8), messages, [damage.to_dict() for damage in find_damage(path)]


def _require_sound(path: Path) -> None:
    from gnvpro.pde_data.storage.integrity import require_sound  # zarr: not needed for .mat and .npz

    require_sound(path)


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    """An error while values are read is told as the damage it comes from."""
    try:
        with making_sense_of(path):
            yield
    except (ValueError, OSError, RuntimeError):
        if path.is_dir():
            _require_sound(path)
        raise


def _without_metadata(parameters: Array, observables: Array, provenance: dict[str, Any], n_failed: int = 0) -> Samples:
    if not len(parameters):
        raise UsageError(f"{provenance['file']} holds no samples")
    spaces = Space.observed(parameters, "parameter"), Space.observed(observables, "observable")
    return Samples(parameters, observables, *spaces, provenance=provenance, n_failed=n_failed)


def _rows(dataset: xr.Dataset, name: str) -> Array:
    """A variable as (n, size), whichever dimension the file has first."""
    variable = dataset[name]
    if "sample" in variable.dims:
        variable = variable.transpose("sample", ...)
    values = np.asarray(variable.values, dtype=np.float64)
    return values.reshape(len(values), int(np.prod(values.shape[1:])))


def _status(dataset: xr.Dataset, n_samples: int) -> NDArray[np.int8]:
    """Status of every sample; a file that says nothing of it vouches for all."""
    if "status" not in dataset:
        if "schema_version" in dataset.attrs:
            raise UsageError(
                "the data set is damaged: its variable 'status' is gone; generate it again in another place"
            )
        return np.zeros(n_samples, dtype=np.int8)
    return np.asarray(dataset["status"].values, dtype=np.int8)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no data set at {path}; `generate` makes one, or check the name")
    return path


def _attributes(dataset: xr.Dataset, path: Path) -> dict[str, Any]:
    """Decoded attributes; none for a file that somebody else wrote."""
    attributes = {str(name): value for name, value in dataset.attrs.items()}
    return decode_attributes(attributes, path) if "schema_version" in attributes else {}
