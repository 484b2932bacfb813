"""Data sets as they are read: zarr and NetCDF through xarray, `.mat` and `.npz` as bare arrays.

Reading needs neither FEniCSx nor torch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.files import read_pairs, read_table, require_plausible
from gnvpro.pde_data.problems.contract import SolveStatus, has_failed, has_observables
from gnvpro.pde_data.storage import metadata
from gnvpro.pde_data.storage.derivatives import (
    TIMES,
    Derivatives,
    count_directions,
    in_arrays,
    in_dataset,
    mean_cost,
    with_derivatives,
)
from gnvpro.pde_data.storage.elsewhere import at_hand, is_elsewhere, kept_at_hand, name_of
from gnvpro.pde_data.storage.provenance import GIVEN, mesh_variables
from gnvpro.pde_data.storage.schema import (
    MALFORMED,
    count_by_status,
    decode_attributes,
    lacks_derivatives,
    reading_metadata,
)
from gnvpro.surrogate.checks import numbers, path_of, shown
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.extras import import_h5py
from gnvpro.surrogate.mesh import Mesh
from gnvpro.surrogate.missing import Lacking, lacking
from gnvpro.surrogate.modes import Modes, is_field
from gnvpro.surrogate.names import find_names, listed
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array, Axis, Space

if TYPE_CHECKING:
    import xarray as xr

_BARE = (".mat", ".npz")
_NETCDF = (".nc", ".nc4", ".netcdf")
# Samples of a field that are read at once where the file has no chunks.
_ROWS = 32


def open_dataset(path: str | os.PathLike[str], parameters: Sequence[str] | None = None) -> xr.Dataset:
    """The data set in a zarr folder or NetCDF file, as xarray shows it; values are read when used.

    Of an address (`https://…`, `s3://…`) or a zip a copy is made, which stays until this process ends.
    `parameters` names those of a data set of somebody else, see `read_samples`.

    Raises
    ------
    UsageError
        Not a data set, another format, or a newer schema.
    ImportError
        xarray is not installed, or what reads the address; says what to install.
    """
    return _opened(_existing(kept_at_hand(path)), parameters)


def _opened(path: Path, parameters: Sequence[str] | None = None) -> xr.Dataset:
    """The data set at a place on this machine; `parameters` names those of a foreign one, which gets names of ours."""
    try:
        import xarray as xr
        import zarr  # noqa: F401  xarray's message for its absence does not say what to install
    except ImportError as error:
        raise ImportError('zarr and NetCDF data sets need xarray: pip install "gnvpro[data]"') from error
    try:
        if path.name == "model.json" or (path / "model.json").is_file():
            raise UsageError("this is a saved model, not data; expected a zarr folder, .nc, .npz or .mat")
        if path.is_dir():
            # As it was committed; of a growth that was killed the variables' own metadata say something else.
            committed = metadata.is_own(path) and metadata.has_copies(path)
            opened = xr.open_zarr(path, decode_times=False, consolidated=committed, chunks=None)
        elif path.suffix.lower() in _NETCDF:
            engine = _engine(path)
            if engine == "h5netcdf":
                import_h5py()
            opened = xr.open_dataset(path, engine=engine, decode_times=False)
        else:
            raise UsageError("it is neither a zarr folder nor a .nc file (samples may also be .npz, .mat or .csv)")
        if not metadata.is_own(path):  # our own may hold few of its samples yet, and has checksums of its metadata
            stored = sum(file.stat().st_size for file in path.rglob("*")) if path.is_dir() else path.stat().st_size
            for name, variable in opened.variables.items():
                require_plausible(str(name), variable.nbytes, stored)
    except (OSError, ValueError, *MALFORMED) as error:
        said = " ".join(str(error).split())
        remedy = "; samples are a zarr folder, .nc, .npz or .mat" if "No group found" in said else ""
        raise UsageError(f"{path} cannot be opened as a data set: {said}{remedy}") from error
    from gnvpro.pde_data.storage.variables import paired

    opened = paired(opened, parameters, path)
    if "schema_version" in opened.attrs:
        # Points and cells of a mesh, which CF does not count among the coordinates; `data.where` leaves coordinates alone.
        constant = [name for name, values in opened.data_vars.items() if "sample" not in values.dims]
        opened = opened.set_coords([name for name in constant if name != "background"])
    if "failure" in opened:
        # zarr's texts cannot be masked (`data.where`), objects can; damaged ones are told by whoever reads them.
        with suppress(ValueError, OSError, RuntimeError, MemoryError):
            opened["failure"] = opened["failure"].astype(object)
    if metadata.is_own(path):
        metadata.read_attributes(path)  # raises where they are damaged
        metadata.require_variables(path, ("parameters", "observables", "status"))
    return opened


def _engine(path: Path) -> str:
    """What of xarray reads a NetCDF file: two formats have this suffix."""
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"CDF\x05":
        raise UsageError("it is of the format NetCDF-3 with 64-bit data (CDF-5); convert it with nccopy -k nc4")
    return "scipy" if start in (b"CDF\x01", b"CDF\x02") else "h5netcdf"


def read_samples(
    source: str | os.PathLike[str] | xr.Dataset,
    transpose: bool = False,
    *,
    allow_partial: bool = False,
    parameters: Sequence[str] | None = None,
    field_error: float | None = None,
) -> Samples:
    """The solved samples of a zarr folder, `.nc`, `.mat`, `.npz` or `.csv` file, or of an xarray Dataset.

    A folder may be packed (`.zarr.zip`), and all of them may be addresses (`https://…`, `s3://…`).

    Samples whose solve failed are left out and counted in `n_failed`. Observables that are missing are NaN.

    Parameters
    ----------
    source
        A Dataset or a file of somebody else has the variables `parameters` and `observables` with a row for every
        `sample`, or those that `parameters` names, of which the dimension they share is that of the samples, and all
        others along it, the observables. Coordinates of their other dimensions name the components, the attribute
        `units` gives their unit.
    transpose
        Of a `.mat` whose rows are samples, or an `.npz` whose columns are.
    allow_partial
        Take what is there of a data set that is not finished.
    parameters
        Names of those columns of a `.csv`, or variables of somebody else's Dataset, that are parameters; all others are
        observables.
    field_error
        Read the observables of a data set that `generate` made, if they are a field, as coefficients of modes to this
        error (`gnvpro.surrogate.modes`): in passes, a block in memory at a time.

    Raises UsageError: what cannot be read, is not finished, damaged (the variable and the samples are named), or holds
    no solved sample; numbers that are not finite.
    """
    if isinstance(source, str | os.PathLike) and is_elsewhere(source):
        with at_hand(source) as copy:
            samples = read_samples(
                copy, transpose, allow_partial=allow_partial, parameters=parameters, field_error=field_error
            )
        return replace(samples, provenance={**samples.provenance, "file": name_of(source)})
    if isinstance(source, str | os.PathLike):
        where, file = _existing(source), {"file": Path(source).name}
        if where.suffix.lower() in _BARE and where.is_file():
            y, c, others = read_pairs(where, transpose)
            derivatives = in_arrays(others, where) if where.suffix.lower() == ".npz" else {}
            return with_derivatives(_without_metadata(y, c, _origin(where)), derivatives, where)
        if where.suffix.lower() == ".csv":
            return _table_samples(where, parameters)
        if transpose:
            raise UsageError(f"{where}: a zarr or NetCDF data set names its dimensions; leave out transpose=True")
        with _opened(where, parameters) as dataset, _naming_damage(where):
            contents = _contents(dataset, where, field_error)
    elif hasattr(source, "data_vars"):
        from gnvpro.pde_data.storage.variables import paired  # xarray: not needed for .mat and .npz

        where, file = "the Dataset", {}
        contents = _contents(paired(source, parameters, where), where)
    else:
        raise UsageError(f"expected a path or an xarray Dataset, got a {type(source).__name__}")
    status, attributes = contents.status, contents.attributes
    if len({len(contents.parameters), len(contents.observables), len(status)}) > 1:
        sizes = f"{len(contents.parameters)} and {len(contents.observables)}"
        raise UsageError(f"{where}: parameters and observables disagree on samples: {sizes}; check the source")
    if (pending := int((status == SolveStatus.PENDING).sum())) and not allow_partial:
        if isinstance(where, Path) and attributes.get("design") == GIVEN:
            _require_sound(where)  # what was given is there at once
        raise UsageError(
            f"{where}: {pending} of {len(status)} samples are still pending; finish it by generating it again"
        )
    ok = has_observables(status) if contents.modes is None else status == SolveStatus.OK  # modes are of whole fields
    if not ok.any():
        raise UsageError(f"{where}: none of its {len(status)} samples is solved; `describe` lists the reasons")
    y, c = contents.parameters[ok], contents.observables[ok]
    derivatives = {name: values[ok] for name, values in contents.derivatives.items()}
    # A sample that is solved in part has something: one of which nothing is there is gone.
    whole = status[ok] == SolveStatus.OK
    finite = np.isfinite(y).all() and np.isfinite(c[whole]).all() and not np.isnan(c).all(axis=1).any()
    if isinstance(where, Path) and _is_own(where, attributes):
        from gnvpro.pde_data.storage import integrity  # zarr: not needed for .mat and .npz

        # A chunk that is gone reads as NaN; so do derivatives that failed, of which the data set says so.
        if not finite or (derivatives and _some_are_gone(derivatives, contents.messages[ok], whole)):
            integrity.require_sound(where)
        if contents.background is not None:
            integrity.raise_damage(where, integrity.damaged_constants(where))
    n_failed = int((~ok & (status > SolveStatus.OK)).sum())
    if "parameter_space" not in attributes:
        return with_derivatives(_without_metadata(y, c, file, n_failed, contents.axes), derivatives, where)
    spaces = [Space.from_dict(attributes.pop(name)) for name in ("parameter_space", "observable_space")]
    if contents.modes is not None:
        spaces[1] = contents.modes.coefficient_space
    elif contents.mesh is not None:
        spaces[1] = spaces[1].with_mesh(contents.mesh)
    provenance = {**file, **attributes, **({"cost": contents.cost} if contents.cost else {})}
    about: dict[str, Any] = dict(provenance=provenance, n_failed=n_failed, modes=contents.modes)
    samples = Samples(y, c, spaces[0], spaces[1], background=contents.background, **about)
    return with_derivatives(samples, derivatives, where)


def _some_are_gone(derivatives: Derivatives, messages: NDArray[Any], whole: NDArray[np.bool_]) -> bool:
    """Whether a derivative is missing of which there is no message, or a direction, which never fails.

    Of samples that are not `whole`, solved in part, derivatives are never made.
    """
    unknown = {name: ~np.isfinite(values).all(axis=(1, 2)) for name, values in derivatives.items()}
    return bool((unknown["directions"] | (unknown["derivatives"] & (messages == "") & whole)).any())


def _table_samples(path: Path, parameters: Sequence[str] | None) -> Samples:
    """Samples of a `.csv`, the others of whose columns are observables."""
    table = read_table(path)
    if not parameters or not table.header or "" in table.header:
        expected = "a header that names every column" if parameters else "names of the columns that are parameters"
        raise UsageError(f"{path}: expected {expected} (parameters: a,b,c), got columns {listed(table.header)}")
    places = find_names(parameters, table.header, str(path))
    others = [j for j in range(len(table.header)) if j not in places]
    find_names(table.header, table.header, str(path))  # none of them twice
    if None in places or not others:
        lacking = "observables beside them" if None not in places else listed(parameters)
        raise UsageError(f"{path}: expected columns {lacking}, got {listed(table.header)}")
    chosen = [place for place in places if place is not None]
    y, c = table.numbers(chosen), table.numbers(others, blanks=True)
    y_space = Space.observed(y, "parameter", [table.header[j] for j in chosen])
    c_space = Space.observed(c, "observable", [table.header[j] for j in others])
    return Samples(y, c, y_space, c_space, provenance=_origin(path))


def _origin(path: Path) -> dict[str, Any]:
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a data set says of itself; JSON-able.

    Counts by status, every failure with its reason, also those of derivatives, the mean cost of a solve and a derivative,
    the spaces, the size on disk, and what the data set says of its origin (definition, seed, versions, estimated error);
    for files without metadata the last is absent.
    A zarr data set is read through and compared with its checksums: `damaged` lists the chunks that are not what
    was written, and samples whose status is among them count as pending.
    """
    if is_elsewhere(path):
        with at_hand(path) as copy:
            return {**describe(copy), "path": shown(path)}
    path = _existing(path)
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    about: dict[str, Any] = {"path": str(path), "size_bytes": sum(file.stat().st_size for file in files)}
    if path.suffix.lower() in _BARE and path.is_file():
        samples = read_samples(path)
        spaces = {name: getattr(samples, name).to_dict() for name in ("parameter_space", "observable_space")}
        directions = {"n_directions": samples.n_directions} if samples.n_directions else {}
        counts = {"ok": len(samples)}
        if (gaps := samples.lacking) is not None:
            about["missing"] = {**gaps._asdict(), "in_words": gaps.in_words}
        return {**about, "n_samples": len(samples), "counts": counts, "failures": [], **directions, **spaces}
    with open_dataset(path) as dataset, reading_metadata(path):
        attributes = _attributes(dataset, path)
        if _is_own(path, attributes):
            from gnvpro.pde_data.storage import integrity  # zarr: not needed for .mat and .npz

            status = integrity.read_sound(path, "status", SolveStatus.PENDING).astype(np.int8)
            messages = integrity.read_sound(path, "failure", "")
            seconds = {name: integrity.read_sound(path, name, np.nan) for name in TIMES if name in dataset}
            attributes = {"damaged": [asdict(chunk) for chunk in integrity.find_damage(path)], **attributes}
            partial = status == SolveStatus.PARTIAL
            # Chunks are sound, or were just named.
            gaps = (
                None
                if attributes["damaged"] or not partial.any()
                else _gaps(dataset["observables"], has_observables(status))
            )
        else:
            of_parameters, of_observables = (_samples_first(dataset, name) for name in ("parameters", "observables"))
            status = _status(dataset, len(of_parameters)).astype(np.int8)
            if not attributes and (derivatives := in_dataset(dataset, of_parameters, of_observables, path)):
                attributes = {"n_directions": count_directions(derivatives)}
            messages = _messages(dataset, len(status))
            seconds = _wall_times(dataset) if "schema_version" in attributes else {}
            gaps = _gaps(of_observables, has_observables(status))
    failures = [
        {"sample": int(i), "reason": SolveStatus(int(status[i])).name.lower(), "message": str(messages[i])}
        for i in np.flatnonzero(has_failed(status))
    ]
    if gaps is not None:
        about["missing"] = {**gaps._asdict(), "in_words": gaps.in_words}
    about |= {"n_samples": len(status), "counts": count_by_status(status), "failures": failures}
    n_directions = attributes.get("n_directions", 0)
    if "derivative_method" in attributes:
        lacking = np.flatnonzero(lacks_derivatives(status, messages))
        about["derivative_failures"] = [{"sample": int(i), "message": str(messages[i])} for i in lacking]
    if cost := mean_cost(status, seconds, n_directions):
        about["cost"] = cost
    return {**about, **attributes}


def _gaps(variable: xr.DataArray, solved: NDArray[np.bool_]) -> Lacking | None:
    """How much of the observables, samples first, of those that are solved is missing; read some samples at a time."""
    missing = [
        np.isnan(_rows(variable[first : first + _ROWS])[solved[first : first + _ROWS]])
        for first in range(0, len(solved), _ROWS)
    ]
    everything = np.concatenate(missing) if missing else np.zeros((0, 1), bool)
    return lacking(everything) if everything.any() else None


def _is_own(path: Path, attributes: dict[str, Any]) -> bool:
    """Whether it is a zarr folder that `generate` made."""
    return path.is_dir() and "schema_version" in attributes


def _require_sound(path: Path) -> None:
    from gnvpro.pde_data.storage.integrity import require_sound  # zarr: not needed for .mat and .npz

    require_sound(path)


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    """An error while values are read is told as the damage it comes from."""
    try:
        with reading_metadata(path):
            yield
    except (ValueError, OSError, RuntimeError):
        if path.is_dir():
            _require_sound(path)
        raise


@dataclass(frozen=True, eq=False)
class _Contents:
    """What is read of a data set; `axes` of parameters and observables where its coordinates name them."""

    parameters: Array
    observables: Array
    status: NDArray[np.int8]
    attributes: dict[str, Any]
    background: Array | None
    axes: tuple[dict[str, Any], dict[str, Any]]
    derivatives: Derivatives
    messages: NDArray[Any]
    cost: dict[str, float]
    mesh: Mesh | None
    modes: Modes | None


def _contents(dataset: xr.Dataset, where: object, field_error: float | None = None) -> _Contents:
    of_parameters, of_observables = (_samples_first(dataset, name) for name in ("parameters", "observables"))
    parameters = _rows(of_parameters)
    status, attributes = _status(dataset, len(parameters)), _attributes(dataset, where)
    mesh, modes, background = _mesh_in(dataset, attributes, where), None, _background(dataset)
    if field_error is not None and (space := _field_in(dataset, attributes, mesh)) is not None:
        observables, background, modes = _in_modes(of_observables, status, background, space, field_error)
    else:
        observables = _rows(of_observables)
    cost = mean_cost(status, _wall_times(dataset), attributes.get("n_directions", 0)) if attributes else {}
    axes = _axes(of_parameters), _axes(of_observables)
    derivatives = in_dataset(dataset, of_parameters, of_observables, where)
    messages = _messages(dataset, len(status)) if attributes and derivatives else np.full(len(status), "")
    kept = np.isfinite(status)  # samples that `data.where(...)` masks are none
    if len(parameters) == len(observables) == len(status) and not kept.all():
        parameters, observables, status = parameters[kept], observables[kept], status[kept]
        messages, derivatives = messages[kept], {name: values[kept] for name, values in derivatives.items()}
    about = attributes, background, axes, derivatives, messages, cost, mesh, modes
    return _Contents(parameters, observables, status.astype(np.int8), *about)


def _field_in(dataset: xr.Dataset, attributes: dict[str, Any], mesh: Mesh | None) -> Space | None:
    """The space of the observables, where they are a field that is read by blocks; with derivatives it is read whole."""
    if "observable_space" not in attributes or "derivative" in dataset:
        return None
    space = Space.from_dict(attributes["observable_space"])
    space = space if mesh is None else space.with_mesh(mesh)
    return space if is_field(space, dataset["parameters"].shape[0]) else None


def _in_modes(
    variable: xr.DataArray, status: Array, background: Array | None, space: Space, error: float
) -> tuple[Array, Array | None, Modes | None]:
    """Coefficients (n, r) of the samples that are solved, NaN for the others, those of the background, and the modes."""
    solved, rows = status == SolveStatus.OK, variable.encoding.get("chunks", (_ROWS,))[0]
    if not solved.any():
        return np.full((len(status), 1), np.nan), background, None

    def blocks() -> Iterator[Array]:
        for first in range(0, len(status), rows):
            part = slice(first, first + rows)
            values = _rows(variable[part])[solved[part]]
            if not np.isfinite(values).all():
                raise ValueError("observables are not finite")  # of a chunk that is gone, which the caller names
            yield values if background is None else values - background

    modes, found = Modes.of(blocks, space, error, background)
    of_background = None if background is None else modes.coefficients(background[None])[0]
    if of_background is not None:
        found = found + of_background
    coefficients = np.full((len(status), found.shape[1]), np.nan)
    coefficients[solved] = found
    return coefficients, of_background, modes


def _mesh_in(dataset: xr.Dataset, attributes: dict[str, Any], where: object) -> Mesh | None:
    """The mesh of the observables with its arrays; None where they are on none."""
    for axis in attributes.get("observable_space", {}).get("axes", ()):
        if "mesh" in axis:
            names = mesh_variables(axis["name"])
            if lacking := [name for name in names if name not in dataset]:
                raise UsageError(f"{where} is damaged: its variable {lacking[0]!r} is gone; make the data set again")
            return Mesh.from_dict(axis["mesh"]).with_arrays(*(dataset[name].values for name in names))
    return None


def _messages(dataset: xr.Dataset, n_samples: int) -> NDArray[Any]:
    return np.asarray(dataset["failure"].values if "failure" in dataset else np.full(n_samples, ""), dtype=object)


def _wall_times(dataset: xr.Dataset) -> dict[str, Array]:
    return {name: numbers(dataset[name].values, name, 1, where="the data set") for name in TIMES if name in dataset}


def _samples_first(dataset: xr.Dataset, name: str) -> xr.DataArray:
    """A variable, its samples first: the dimension `sample`, else the one that both variables share, else the first."""
    variable = dataset[name]
    if not variable.ndim:
        raise UsageError(f"expected {name} with a dimension of samples, got a single number")
    shared = set(dataset["parameters"].dims) & set(dataset["observables"].dims)
    named = {"sample"} & set(variable.dims) or (shared if len(shared) == 1 else {variable.dims[0]})
    return variable.transpose(*named, ...)


def _background(dataset: xr.Dataset) -> Array | None:
    """Its background (n_out,); `data.where(...)` gives every sample one, and those that it masks none."""
    if "background" not in dataset:
        return None
    variable = dataset["background"]
    if "sample" not in variable.dims:
        return numbers(variable.values, "background").reshape(-1)
    rows = numbers(variable.transpose("sample", ...).values, "background").reshape(variable.sizes["sample"], -1)
    finite = rows[np.isfinite(rows).all(axis=1)]
    return finite[0] if len(finite) else None


def _axes(variable: xr.DataArray) -> dict[str, Any]:
    """Axes and unit as a `Space` has them, of a variable, samples first, whose coordinates name its components."""
    dimensions = variable.dims[1:]
    if not any(name in variable.coords for name in dimensions):
        return {}
    axes = []
    for name in dimensions:
        labels = variable[name].values.tolist()  # 0, 1, … without a coordinate
        if not all(isinstance(label, int | float) for label in labels):
            labels = list(map(str, labels))
        axes.append(Axis(str(name), tuple(labels), variable[name].attrs.get("units", "1")))
    units = variable.attrs.get("units", "unknown")
    return {"axes": tuple(axes), "units": tuple(units) if isinstance(units, list) else (str(units),)}


def _without_metadata(
    parameters: Array,
    observables: Array,
    provenance: dict[str, Any],
    n_failed: int = 0,
    axes: tuple[dict[str, Any], dict[str, Any]] = ({}, {}),
) -> Samples:
    if not len(parameters):
        raise UsageError(f"{provenance.get('file', 'the Dataset')} holds no samples")
    spaces = (
        replace(Space.observed(values, what), **named)
        for values, what, named in zip((parameters, observables), ("parameter", "observable"), axes, strict=True)
    )
    return Samples(parameters, observables, *spaces, provenance=provenance, n_failed=n_failed)


def _rows(variable: xr.DataArray) -> Array:
    """A variable, samples first, as (n, size)."""
    values = numbers(variable.values, str(variable.name), where="the data set")
    return values.reshape(len(values), int(np.prod(values.shape[1:])))


def _status(dataset: xr.Dataset, n_samples: int) -> Array:
    """Status of every sample, NaN where it is masked; a file that says nothing of it vouches for all."""
    if "status" not in dataset:
        if "schema_version" in dataset.attrs:
            raise UsageError(
                "the data set is damaged: its variable 'status' is gone; generate it again in another place"
            )
        return np.zeros(n_samples)
    status = numbers(dataset["status"].values, "status", 1, where="the data set")
    if wrong := set(status[np.isfinite(status)]) - set(map(float, SolveStatus)):
        raise UsageError(f"expected a status {', '.join(map(str, map(int, SolveStatus)))}, got {listed(wrong)}")
    return status


def _existing(path: str | os.PathLike[str]) -> Path:
    path = path_of(path)
    if not path.exists():
        raise FileNotFoundError(f"no data set at {path}; `generate` makes one, or check the name")
    return path


def _attributes(dataset: xr.Dataset, where: object) -> dict[str, Any]:
    """Decoded attributes; none for a file that somebody else wrote."""
    attributes = {str(name): value for name, value in dataset.attrs.items()}
    return decode_attributes(attributes, where) if "schema_version" in attributes else {}
