"""What a program gives: numbers out of a file that it has written, or out of what it has printed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.pde_data.files import load_arrays, read_table, reading
from gnvpro.pde_data.problems.program.processes import STDOUT
from gnvpro.pde_data.problems.program.settings import AxisSettings, Observables
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import find_names, listed, shortened
from gnvpro.surrogate.spaces import Array, Axis, Space

_IN_JSON = 'let it print or write JSON, such as {"T": [1.0, 2.0]}'


def observable_space(settings: Observables) -> Space:
    """Names, axes and units; UsageError where they are told in several ways, or in none."""
    told = [what for what in ("names", "count", "axes") if getattr(settings, what)]
    if len(told) != 1:
        raise UsageError(f"observables: expected one of names, count and axes, got {listed(told)}")
    units = (settings.unit,) if isinstance(settings.unit, str) else settings.unit
    if settings.axes:
        return Space(tuple(map(_axis, settings.axes)), units)
    names = settings.names or tuple(f"observable_{j}" for j in range(settings.count))
    return Space.vector(names, axis="observable", units=units)


def _axis(settings: AxisSettings) -> Axis:
    if bool(settings.labels) == bool(settings.count):
        raise UsageError(f"axis {settings.name!r} of the observables: expected either its labels or their count")
    return Axis(settings.name, settings.labels or tuple(float(i) for i in range(settings.count)), settings.unit)


def read_observables(settings: Observables, folder: Path, size: int) -> Array:
    """Observables (size,), NaN where one is missing; UsageError where there are others, or none that can be read."""
    path = folder / (STDOUT if settings.read_from == "stdout" else settings.read_from)
    if not path.is_file():
        raise UsageError(f"expected the program to write {settings.read_from}; it ended, and there is no such file")
    kind = settings.format or path.suffix.removeprefix(".").lower()
    values = _READERS.get(kind, _of_text)(path, settings.keys).ravel()
    if len(values) != size:
        where = f"{', '.join(settings.keys)} of {settings.read_from}" if settings.keys else settings.read_from
        raise UsageError(f"expected {size} numbers in {where}, got {len(values)}")
    return values


def _of_text(path: Path, keys: tuple[str, ...]) -> Array:
    """All numbers, or those behind these words at the beginning of a line, in the last line of each."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if not keys:
        return _numbers(text)
    parts = []
    for key in keys:
        behind = [line.strip().removeprefix(key) for line in text.splitlines() if line.strip().startswith(key)]
        if not behind:
            raise UsageError(f"expected a line that begins with {key!r}, got {shortened(repr(text.strip()))}")
        parts.append(_numbers(behind[-1].lstrip(" :=")))
    return np.concatenate(parts)


def _numbers(text: str) -> Array:
    """Numbers between blanks, commas and semicolons; of Fortran too, whose exponent may be a D."""
    values = []
    for word in re.split(r"[\s,;]+", text.strip()) if text.strip() else []:
        try:
            values.append(float(re.sub(r"(?<=[\d.])[dD](?=[-+\d])", "e", word)))
        except ValueError:
            raise UsageError(f"expected numbers alone, got {shortened(repr(word))}; name the line by a key") from None
    return np.array(values, dtype=np.float64)


def _of_json(path: Path, keys: tuple[str, ...]) -> Array:
    with reading(path, "JSON", _IN_JSON):
        content = json.loads(path.read_text(encoding="utf-8"))
    return np.concatenate([_flat(_entry(content, key), key) for key in keys or ("",)])


def _entry(content: Any, key: str) -> Any:
    """`result.T` or `layers.0.T`; the whole without a key."""
    for part in key.split(".") if key else ():
        try:
            content = content[int(part)] if isinstance(content, list) else content[part]
        except (KeyError, TypeError, ValueError, IndexError):
            there = listed(content) if isinstance(content, dict) else shortened(repr(content))
            raise UsageError(f"JSON has no {key!r}: expected {part!r} among {there}") from None
    return content


def _flat(value: Any, key: str) -> Array:
    if isinstance(value, list):
        return np.concatenate([np.empty(0), *(_flat(part, key) for part in value)])
    return numbers(np.nan if value is None else value, f"{key or 'the content'} of the JSON").reshape(1)


def _of_csv(path: Path, keys: tuple[str, ...]) -> Array:
    table = read_table(path, keys)
    if not keys:
        return table.numbers(blanks=True)
    places = find_names(keys, table.header, path.name)
    if None in places:
        raise UsageError(f"{path.name}: expected columns {listed(keys)}, got {listed(table.header)}")
    return table.numbers([place for place in places if place is not None], blanks=True)


def _of_arrays(path: Path, keys: tuple[str, ...]) -> Array:
    arrays = load_arrays(path)
    if missing := [key for key in keys if key not in arrays]:
        raise UsageError(f"{path.name}: expected an array {missing[0]!r}, got {listed(arrays)}")
    if not keys and len(arrays) != 1:
        raise UsageError(f"{path.name}: expected one array, got {listed(arrays)}; name those that count as key")
    return np.concatenate([numbers(arrays[key], key or path.name).ravel() for key in keys or arrays])


_READERS = {"json": _of_json, "csv": _of_csv, "npy": _of_arrays, "npz": _of_arrays}
