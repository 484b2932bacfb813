"""Observations of a model: an array, values by name, or a file of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gnvpro.pde_data.storage.files import ARRAYS, find_names, listed, load_arrays, numbers, pick, read_table
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Space

NAME, VALUE, DEVIATION = "observable", "value", "standard_deviation"
EXPECTED = f".csv with a column {VALUE} (and {NAME}, {DEVIATION}), .npz or .mat with `observations`, or .npy"


def observations_of(observations: object, space: Space) -> tuple[Array, Array | None]:
    """Observations of a space (n_out,), NaN where nothing was measured, and their standard deviations where given.

    Parameters
    ----------
    observations
        An array (n_out,); values by name, of any of the observables; or a file. A .csv has one observable a line:
        `value`, and with it `observable`, its name, where not all were measured or they come in another order;
        `standard_deviation` is optional, and empty values are missing.

    Raises
    ------
    UsageError
        Another form or format, another number of values, unknown or repeated names, or nothing measured.
    FileNotFoundError
        No such file.
    """
    source, deviations = "observations", None
    if isinstance(observations, str | Path):
        source = str(observations)
        values, deviations = _read(Path(observations), space)
    elif isinstance(observations, Mapping):
        column = numbers(source, "the values", list(observations.values()), 1)
        values = _by_name(source, list(map(str, observations)), column[:, None], space)[:, 0]
    else:
        values = _vector(source, observations, space)
    if not np.isfinite(values).any():
        raise UsageError(f"{source}: there is no observation, all values are missing")
    if np.isinf(values).any():
        raise UsageError(f"{source}: observation {space.names[int(np.argmax(np.isinf(values)))]} is infinite")
    return values, deviations


def _read(path: Path, space: Space) -> tuple[Array, Array | None]:
    if not path.exists():
        raise FileNotFoundError(f"no observations at {path}; expected a {EXPECTED}")
    if path.suffix.lower() == ".csv":
        return _read_csv(path, space)
    if path.suffix.lower() not in ARRAYS:
        raise UsageError(f"{path}: expected a {EXPECTED}")
    arrays = load_arrays(path)
    values = _vector(str(path), arrays[pick(path, arrays, ("observations",))], space)
    place = find_names([DEVIATION], list(arrays), str(path))[0]
    return values, None if place is None else _vector(str(path), list(arrays.values())[place], space)


def _read_csv(path: Path, space: Space) -> tuple[Array, Array | None]:
    table = read_table(path)
    name, value, deviation = find_names((NAME, VALUE, DEVIATION), table.header, str(path))
    if value is None:
        raise UsageError(f"{path}: expected a header with {VALUE}, got {listed(table.header)}")
    columns = table.numbers([place for place in (value, deviation) if place is not None], blanks=True)
    if name is not None:
        columns = _by_name(str(path), table.column(name), columns, space)
    elif len(columns) != space.size:
        raise UsageError(
            f"{path}: expected {space.size} lines, one for every observable of the model, got {len(columns)}; with a column "
            f"{NAME} some may be missing"
        )
    return columns[:, 0], None if deviation is None else columns[:, 1]


def _by_name(source: str, names: Sequence[str], rows: Array, space: Space) -> Array:
    """Rows (n, k) of some observables, put where these are in the space (n_out, k); NaN where there is none."""
    places = find_names(space.names, names, source)
    if unknown := [name for place, name in enumerate(names) if place not in places]:
        raise UsageError(f"{source}: the model has no observable {unknown[0]!r}; it has {listed(space.names)}")
    ordered = np.full((space.size, rows.shape[1]), np.nan)
    for j, place in enumerate(places):
        if place is not None:
            ordered[j] = rows[place]
    return ordered


def _vector(source: str, values: object, space: Space) -> Array:
    try:
        vector = numbers(source, "the observations", np.asarray(values))
    except UsageError:
        raise
    except ValueError as error:  # rows of different lengths
        raise UsageError(f"{source}: expected an array of numbers ({error})") from None
    if vector.size != space.size or sum(n > 1 for n in vector.shape) > 1:
        raise UsageError(
            f"{source}: expected {space.size} numbers, one for every observable of the model; got {vector.shape}"
        )
    return vector.reshape(-1)
