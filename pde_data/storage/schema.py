"""What the attributes and the status of a data set mean, whichever library holds it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Space, shortened

# 1: the first. 2: every chunk ends with its checksum and is written even if it is empty, so that a lost one is
# noticed; `design` says how the parameters were placed; `background` and `anomalous` where the problem names one.
SCHEMA_VERSION = 2

# NetCDF has no nested attributes; these are held as JSON text, so that a data set survives `to_netcdf`.
JSON_ATTRIBUTES = ("definition", "parameter_space", "observable_space", "versions", "git", "estimated_error")

# What every data set says of itself: its recipe, and what the recipe hashes to.
_NEEDED: dict[str, tuple[type, str]] = {
    "problem": (str, "a name"),
    "definition": (dict, "values by name"),
    "definition_hash": (str, "a text"),
    "parameter_space": (dict, "the description of a space"),
    "observable_space": (dict, "the description of a space"),
    "design": (str, "a name"),
    "seed": (int, "an integer"),
    "n_samples": (int, "an integer"),
    "block_size": (int, "an integer"),
}


# What zarr, xarray and numpy raise where metadata mean nothing: values of another type, sizes beyond any memory.
SENSELESS = (TypeError, AttributeError, LookupError, OverflowError, RuntimeError, MemoryError)


@contextmanager
def making_sense_of(path: Path) -> Iterator[None]:
    """Turns what senseless metadata of the data set at `path` lead to into a ValueError."""
    try:
        yield
    except SENSELESS as error:
        said = f"{type(error).__name__}: {shortened(error)}"
        raise UsageError(f"{path} is damaged: its metadata make no sense ({said}); make the data set again") from error


def encode_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as they are stored."""
    return {name: json.dumps(value) if name in JSON_ATTRIBUTES else value for name, value in attributes.items()}


def decode_attributes(attributes: Mapping[str, Any], path: object) -> dict[str, Any]:
    """Attributes as they are in memory: JSON parsed, the NumPy numbers of NetCDF made plain.

    Raises
    ------
    ValueError
        No schema version, a newer one, or damaged attributes.
    """
    if "schema_version" not in attributes:
        raise UsageError(f"{path} was not made by `generate` (it has no schema_version); choose another place")
    try:
        found = int(attributes["schema_version"])
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{path}: the attributes are damaged (schema_version: {error}); generate it again") from error
    if found < 1:
        raise UsageError(f"{path}: the attributes are damaged (schema_version: {found}); generate it again")
    if found > SCHEMA_VERSION:
        raise UsageError(f"{path}: expected schema_version {SCHEMA_VERSION} or older, got {found}; update gnvpro")
    try:
        decoded = {
            name: json.loads(value) if name in JSON_ATTRIBUTES else value.item() if hasattr(value, "item") else value
            for name, value in attributes.items()
        }
    except (json.JSONDecodeError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: the attributes are damaged ({error}); generate the data set again") from error
    decoded = _migrated(decoded)
    if wrong := _why_damaged(decoded):
        raise UsageError(f"{path}: the attributes are damaged ({wrong}); generate the data set again")
    return decoded


def _why_damaged(attributes: dict[str, Any]) -> str | None:
    """The first attribute that no data set has so, in words."""
    for name, (kind, expected) in _NEEDED.items():
        value = attributes.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            got = f"got {shortened(repr(value))}" if name in attributes else "it is missing"
            return f"{name}: expected {expected}, {got}"
    for name in ("n_samples", "block_size"):
        if attributes[name] < 1:
            return f"{name}: expected at least 1, got {attributes[name]}"
    for name in ("parameter_space", "observable_space"):
        try:
            Space.from_dict(attributes[name])
        except KeyError as error:
            return f"{name}: {error} is missing"
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            return f"{name}: {error}"
    for name in ("versions", "git", "estimated_error"):
        if not isinstance(attributes.get(name), dict | None):
            return f"{name}: expected values by name, got {shortened(repr(attributes[name]))}"
    if not isinstance((attributes.get("estimated_error") or {"relative_l2": 0.0}).get("relative_l2"), int | float):
        return "estimated_error: expected a number relative_l2 in it"
    return None


def _migrated(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes of an older schema, completed with what it took for granted."""
    return attributes if int(attributes["schema_version"]) > 1 else {"design": "random", **attributes}


def count_by_status(status: NDArray[np.int8]) -> dict[str, int]:
    """How many samples have which status; those that do not occur are left out."""
    counts = {s.name.lower(): int((status == s).sum()) for s in SolveStatus}
    return {name: count for name, count in counts.items() if count}
