"""Observations of a model: arrays, values by name, or files of them; some of the observables, some more than once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps.inversion.posterior.noise import Noise
from gnvpro.apps.inversion.posterior.stated_noise import noise_of
from gnvpro.pde_data.files import ARRAYS, Table, load_arrays, pick, read_table
from gnvpro.pde_data.problems.resistivity.surveys.survey_files import SUFFIXES as SURVEYS
from gnvpro.pde_data.problems.resistivity.surveys.survey_observations import read_survey_observations
from gnvpro.surrogate.checks import numbers, path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import did_you_mean, find_names, listed, other_scale, shortened
from gnvpro.surrogate.spaces import Array, Space

__all__ = ["Noise", "Observations", "noise_of", "observations_of"]

_NAME, _VALUE, _DEVIATION = "observable", "value", "standard_deviation"
# What these columns may be called instead; two that mean the same are refused.
_SYNONYMS = {
    _NAME: (_NAME, "observables", "name"),
    _VALUE: (_VALUE, "values", "observation", "observations", "observed", "measured", "measurement"),
    _DEVIATION: (_DEVIATION, "standard_deviations", "std", "sd", "stdev", "sigma"),
}
_OBSERVATIONS = (
    f".csv with a column {_VALUE} (and {_NAME}, {_DEVIATION}), .npz or .mat with `observations`, .npy, or measurements with "
    f"four electrodes ({', '.join(SURVEYS)})"
)


class Observations(NamedTuple):
    """What was measured, one value a datum.

    Attributes
    ----------
    values : (m,)
        NaN where nothing was measured.
    standard_deviations : (m,)
        That came with them; None without.
    which : (m,)
        The place of each value's observable in the space, where some were measured more than once; None where there is one
        value for every observable, in their order.
    """

    values: Array
    standard_deviations: Array | None = None
    which: NDArray[np.intp] | None = None


def observations_of(observations: object, space: Space) -> Observations:
    """Observations of a space and their standard deviations where given.

    Parameters
    ----------
    observations
        An array (n_out,); values by name, of any of the observables, in a dict or Series; or a file. A .csv has one a line:
        `value`, and with it `observable`, its name, where not all were measured or they come in another order;
        `standard_deviation` is optional, and values that are empty, NaN or NA are missing. Without `value` the columns are
        observables, and every line measures them. A name may come again, or have several values in a dict: each is a datum.

    Raises
    ------
    UsageError
        Another form or format, another number of values, unknown names, a unit in brackets that is another multiple of the
        observable's, or nothing measured.
    FileNotFoundError
        No such file.
    """
    source = "observations"
    if isinstance(observations, str | Path):
        source = str(observations)
        found = Observations(*_read_observations(path_of(observations), space))
    elif (names := _names_of(observations)) is not None:
        found = _of_mapping(source, names, observations, space)
    else:
        found = Observations(_vector(source, observations, space))
    values = found.values
    if np.isinf(values).any():
        i = int(np.argmax(np.isinf(values)))
        name = space.names[i if found.which is None else int(found.which[i])]
        raise UsageError(f"{source}: observation {name} is infinite; leave it empty where nothing was measured")
    if not np.isfinite(values).any():
        raise UsageError(f"{source}: there is no observation, all values are missing")
    return found


def _names_of(observations: object) -> list[str] | None:
    """The names of a dict, or of pandas' Series; None where there are none, or mere numbers."""
    index: Any = observations if isinstance(observations, Mapping) else getattr(observations, "index", ())
    names = [] if callable(index) else list(index)  # a list has a method of that name
    return list(map(str, names)) if any(isinstance(name, str) for name in names) else None


def _of_mapping(source: str, names: list[str], observations: Any, space: Space) -> Observations:
    """Values by name, one or several of each."""
    values = list(observations.values()) if isinstance(observations, Mapping) else list(observations)
    several = [np.ndim(value) == 1 and not isinstance(value, str) for value in values]
    if any(several):
        parts = [
            numbers(value, f"the values of {name}", 1, where=source) if many else [value]
            for name, value, many in zip(names, values, several, strict=True)
        ]
        names = [name for name, part in zip(names, parts, strict=True) for _ in part]
        values = [value for part in parts for value in part]
    return _by_name(source, names, numbers(values, "the values", 1, where=source)[:, None], space)


def _read_observations(path: Path, space: Space) -> Observations:
    if not path.exists():
        raise FileNotFoundError(f"no observations at {path}; expected a {_OBSERVATIONS}")
    if path.suffix.lower() == ".csv":
        return _read_csv(path, space)
    if path.suffix.lower() in SURVEYS:
        return Observations(*read_survey_observations(path, space))
    if path.suffix.lower() not in ARRAYS:
        raise UsageError(f"{path}: expected a {_OBSERVATIONS}")
    arrays = load_arrays(path)
    values = arrays[pick(path, arrays, ("observations",))]
    deviation, name = find_names([_DEVIATION, _NAME], list(arrays), str(path))
    spread = None if deviation is None else list(arrays.values())[deviation]
    if name is None:
        return Observations(
            _vector(str(path), values, space), None if spread is None else _vector(str(path), spread, space)
        )
    columns = [numbers(part, "the observations", 1, where=path) for part in (values, spread) if part is not None]
    names = [str(one) for one in np.ravel(list(arrays.values())[name])]
    if {len(column) for column in columns} != {len(names)}:
        lengths = ", ".join(str(len(column)) for column in columns)
        raise UsageError(f"{path}: expected as many values as names of observables, {len(names)}, got {lengths}")
    return _by_name(str(path), names, np.stack(columns, axis=1), space)


def _read_csv(path: Path, space: Space) -> Observations:
    table = read_table(path, (_NAME, _VALUE, _DEVIATION))
    name, value, deviation = (_column(path, table.header, _SYNONYMS[what]) for what in (_NAME, _VALUE, _DEVIATION))
    if value is None:
        if (wide := _wide(path, table, space)) is not None:
            return wide
        raise UsageError(
            f"{path}: expected a header with {_VALUE}, or names of observables ({listed(space.names)}), got "
            f"{listed(table.header)}"
        )
    columns = table.numbers([place for place in (value, deviation) if place is not None], blanks=True)
    if name is not None:
        found = _by_name(str(path), table.column(name), columns, space)
    elif len(table.header) > columns.shape[1]:
        raise UsageError(f"{path}: expected columns {_NAME}, {_VALUE}, {_DEVIATION}, got {listed(table.header)}")
    elif len(columns) != space.size:
        raise UsageError(
            f"{path}: expected {space.size} lines, one for every observable of the model, got {len(columns)}; with a column "
            f"{_NAME} some may be missing"
        )
    else:
        found = Observations(columns[:, 0], None if deviation is None else columns[:, 1])
    measured = np.flatnonzero(np.isfinite(found.values)) if found.which is None else found.which
    for place in [place for place in (value, deviation) if place is not None]:
        for unit in dict.fromkeys(space.unit(int(j)) for j in measured):
            _require_scale(str(path), table.header[place], unit)
    return found


def _column(path: Path, header: Sequence[str], names: Sequence[str]) -> int | None:
    """Where the column of the first of these names is, or else of the only other one; None without any."""
    (first,) = find_names(names[:1], header, str(path))
    if first is not None:
        return first
    found = [place for one in names for place in find_names([one], header, str(path)) if place is not None]
    places = sorted(set(found))
    if len(places) > 1:
        several = listed(header[place] for place in places)
        raise UsageError(f"{path}: {names[0]} may be {several}; name one {names[0]} and leave the others out")
    return places[0] if places else None


def _wide(path: Path, table: Table, space: Space) -> Observations | None:
    """A column for every observable that was measured, a line for every time it was; None if a column is something else."""
    places = find_names(table.header, space.names, str(path), repeated=True)
    if not table.header or None in places:
        return None
    columns = table.numbers(blanks=True)
    names = [name for name in table.header for _ in range(len(columns))]
    return _by_name(str(path), names, columns.T.reshape(-1, 1), space)


def _by_name(source: str, names: Sequence[str], rows: Array, space: Space) -> Observations:
    """Rows (m, k) of some observables, values and perhaps standard deviations, put where these are in the space.

    As they are, each with its observable, where one of these comes again.
    """
    known = list(dict.fromkeys(names))
    by_name = dict(zip(known, find_names(known, space.names, source, repeated=True), strict=True))
    if unknown := [name for name, place in by_name.items() if place is None]:
        more = f" (and {len(unknown) - 1} more that it has not)" if len(unknown) > 1 else ""
        raise UsageError(
            f"{source}: the model has no observable {shortened(repr(unknown[0]))}{more}; "
            f"{did_you_mean(unknown[0], space.names)}it has {listed(space.names)}"
        )
    which = np.array([by_name[name] for name in names], dtype=np.intp)
    for name, place in by_name.items():
        _require_scale(source, name, space.unit(place or 0), space.names[place or 0])
    measured = np.isfinite(rows[:, 0]) | np.isinf(rows[:, 0])
    if len(np.unique(which[measured])) < measured.sum():
        rows, which = rows[measured], which[measured]
        return Observations(rows[:, 0], rows[:, 1] if rows.shape[1] > 1 else None, which)
    ordered = np.full((space.size, rows.shape[1]), np.nan)
    ordered[which[measured]] = rows[measured]
    return Observations(ordered[:, 0], ordered[:, 1] if rows.shape[1] > 1 else None)


def _require_scale(source: str, name: str, unit: str, own: str = "") -> None:
    """A unit in brackets after a name is not another multiple of the unit that is meant."""
    if name != own and (written := other_scale(name, unit)) is not None:
        raise UsageError(
            f"{source}: {name!r} is in {written}, and the model's observables are in {unit}; convert the values, and write "
            f"the unit as {unit} or leave it out"
        )


def _vector(source: str, values: object, space: Space) -> Array:
    vector = numbers(values, "the observations", where=source)
    if vector.size != space.size or sum(n > 1 for n in vector.shape) > 1:
        raise UsageError(
            f"{source}: expected {space.size} numbers, one for every observable of the model; got {vector.shape}. Some of "
            "them are given by name"
        )
    return vector.reshape(-1)
