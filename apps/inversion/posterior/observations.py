"""Observations of a model: an array, values by name, or a file of them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from gnvpro.pde_data.storage.formats import load_npy
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Space, shortened

NAME, VALUE, DEVIATION = "observable", "value", "standard_deviation"
EXPECTED = f".csv with a column {VALUE} (and {NAME}, {DEVIATION}), .npz with `observations`, or .npy"


def observations_of(given: object, space: Space) -> tuple[Array, Array | None]:
    """Observations of a space (n_out,), NaN where nothing was measured, and their standard deviations where given.

    Parameters
    ----------
    given
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
    if isinstance(given, str | Path):
        source = str(given)
        values, deviations = _read(Path(given), space)
    elif isinstance(given, Mapping):
        values = np.full(space.size, np.nan)
        for name, value in given.items():
            if name not in space.names:
                raise UsageError(f"the model has no observable {name!r}; it has {shortened(', '.join(space.names))}")
            values[space.names.index(name)] = _number(f"observation {name}", value)
    else:
        values = given
    values = _vector(source, values, space, "observations")
    if deviations is not None:
        deviations = _vector(source, deviations, space, "standard deviations")
    if not np.isfinite(values).any():
        raise UsageError(f"{source}: there is no observation, all values are missing")
    if np.isinf(values).any():
        raise UsageError(f"{source}: observation {space.names[int(np.argmax(np.isinf(values)))]} is infinite")
    return values, deviations


def _vector(source: str, values: object, space: Space, what: str) -> Array:
    try:
        vector = np.asarray(values, float)
    except (TypeError, ValueError):
        raise UsageError(f"{source}: expected numbers for the {what}, got {shortened(values)}") from None
    if vector.size != space.size or sum(n > 1 for n in vector.shape) > 1:
        raise UsageError(
            f"{source}: expected {space.size} {what}, one for every observable of the model; got {vector.shape}"
        )
    return vector.reshape(-1)


def _read(path: Path, space: Space) -> tuple[Array, Array | None]:
    if not path.exists():
        raise FileNotFoundError(f"no observations at {path}; expected a {EXPECTED}")
    try:
        match path.suffix:
            case ".csv":
                return _read_csv(path, space)
            case ".npy":
                return load_npy(path), None
            case ".npz":
                with np.load(path, allow_pickle=False) as stored:
                    if "observations" not in stored.files:
                        names = shortened(", ".join(stored.files) or "none")
                        raise UsageError(f"{path}: expected an array named observations, got {names}")
                    return stored["observations"], stored[DEVIATION] if DEVIATION in stored.files else None
    except (BadZipFile, EOFError, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); is it complete?") from error
    raise UsageError(f"{path}: expected a {EXPECTED}")


def _read_csv(path: Path, space: Space) -> tuple[Array, Array | None]:
    with path.open(newline="") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        columns = [name.strip() for name in rows.fieldnames or []]
        if VALUE not in columns:
            raise UsageError(
                f"{path}: expected a header with {VALUE}, got {shortened(', '.join(columns) or 'nothing')}"
            )
        lines = [{(k or "").strip(): v for k, v in row.items() if isinstance(v, str)} for row in rows]
    places = _places(path, lines, space) if NAME in columns else range(len(lines))
    if len(lines) != space.size and NAME not in columns:
        raise UsageError(
            f"{path}: expected {space.size} lines, one for every observable of the model, got {len(lines)}; with a column "
            f"{NAME} some may be missing"
        )
    values, deviations = np.full(space.size, np.nan), np.full(space.size, np.nan)
    for number, (place, line) in enumerate(zip(places, lines, strict=True)):
        values[place] = _number(f"{path}, line {number + 2}", line.get(VALUE, ""))
        deviations[place] = _number(f"{path}, line {number + 2}", line.get(DEVIATION, ""))
    return values, deviations if DEVIATION in columns else None


def _places(path: Path, lines: list[dict[str, str]], space: Space) -> list[int]:
    where = {name: place for place, name in enumerate(space.names)}
    places = []
    for number, line in enumerate(lines):
        name = line.get(NAME, "").strip()
        if name not in where:
            raise UsageError(
                f"{path}, line {number + 2}: the model has no observable {name!r}; it has {shortened(', '.join(space.names))}"
            )
        if where[name] in places:
            raise UsageError(f"{path}, line {number + 2}: {name} is there twice; average repeated measurements first")
        places.append(where[name])
    return places


def _number(where: str, value: object) -> float:
    if isinstance(value, str) and not value.strip():
        return np.nan
    try:
        return float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        raise UsageError(f"{where}: expected a number, got {value!r}") from None


def write_observations(path: Path, space: Space, values: Array, standard_deviations: Array) -> None:
    """A .csv that `observations_of` reads."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([NAME, VALUE, DEVIATION])
        writer.writerows(
            [name, f"{value:.8g}", f"{deviation:.4g}"]
            for name, value, deviation in zip(space.names, values, standard_deviations, strict=True)
        )
