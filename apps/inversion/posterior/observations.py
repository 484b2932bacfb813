"""Observations from a file: values by name or in order, with standard deviations where the file has them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from gnvpro.pde_data.storage.files import load_arrays, pick
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Space, shortened

NAME, VALUE, DEVIATION = "observable", "value", "standard_deviation"
EXPECTED = f".csv with a column {VALUE} (and {NAME}, {DEVIATION}), .npz with `observations`, or .npy"


@dataclass(frozen=True)
class Observations:
    """What was measured.

    Attributes
    ----------
    values : (n_out,)
        NaN where nothing was.
    standard_deviations : (n_out,)
        Of their noise; None where the file says nothing of it.
    """

    values: Array
    standard_deviations: Array | None = None


def read_observations(path: Path, space: Space) -> Observations:
    """Observations of a space from a .csv, .npz or .npy file.

    A .csv has one observable a line: `value`, and with it `observable`, its name, where not all were measured or they
    come in another order; `standard_deviation` is optional. Empty values and NaN are observations that are missing.

    Raises
    ------
    FileNotFoundError
        Nothing there.
    ValueError
        Another format, another number of values, unknown or repeated names, or nothing measured.
    """
    if not path.exists():
        raise FileNotFoundError(f"no observations at {path}; expected a {EXPECTED}")
    deviations = None
    try:
        if path.suffix == ".csv":
            values, deviations = _read_csv(path, space)
        elif path.suffix == ".npy":
            arrays = load_arrays(path)
            values = arrays[pick(path, arrays, ("observations",))]
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                if "observations" not in stored.files:
                    found = shortened(", ".join(stored.files) or "none")
                    raise UsageError(f"{path}: expected an array named observations, got {found}")
                values = stored["observations"]
                deviations = stored[DEVIATION] if DEVIATION in stored.files else None
        else:
            raise UsageError(f"{path}: expected a {EXPECTED}")
    except (BadZipFile, EOFError, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); is it complete?") from error
    values = _vector(path, values, space, "observations")
    if deviations is not None:
        deviations = _vector(path, deviations, space, "standard deviations")
    if not np.isfinite(values).any():
        raise UsageError(f"{path}: there is no observation, all values are missing")
    if np.isinf(values).any():
        raise UsageError(f"{path}: observation {space.names[int(np.argmax(np.isinf(values)))]} is infinite")
    return Observations(values, deviations)


def _vector(path: Path, values: Array, space: Space, what: str) -> Array:
    try:
        values = np.asarray(values, float)
    except ValueError:
        raise UsageError(f"{path}: expected numbers for the {what}, got {values.dtype}") from None
    if values.size != space.size or sum(n > 1 for n in values.shape) > 1:
        raise UsageError(
            f"{path}: expected {space.size} {what}, one for every observable of the model; got {values.shape}"
        )
    return values.reshape(-1)


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
        values[place] = _number(path, number, line.get(VALUE, ""))
        deviations[place] = _number(path, number, line.get(DEVIATION, ""))
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


def _number(path: Path, line: int, text: str) -> float:
    if not text.strip():
        return np.nan
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{path}, line {line + 2}: expected a number, got {text!r}") from None


def write_observations(path: Path, space: Space, values: Array, standard_deviations: Array) -> None:
    """A .csv that `read_observations` reads."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([NAME, VALUE, DEVIATION])
        writer.writerows(
            [name, f"{value:.8g}", f"{deviation:.4g}"]
            for name, value, deviation in zip(space.names, values, standard_deviations, strict=True)
        )
