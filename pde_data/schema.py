"""What the attributes and the status of a data set mean, whichever library holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pde_data.problem import SolveStatus

# 1: the first. 2: every chunk ends with its checksum and is written even if it is empty, so that a lost one is
# noticed; `design` says how the parameters were placed; `background` and `anomalous` where the problem names one.
SCHEMA_VERSION = 2

# NetCDF has no nested attributes; these are held as JSON text, so that a data set survives `to_netcdf`.
JSON_ATTRIBUTES = ("definition", "parameter_space", "observable_space", "versions", "git", "estimated_error")


def encode_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as they are stored."""
    return {name: json.dumps(value) if name in JSON_ATTRIBUTES else value for name, value in attributes.items()}


def decode_attributes(attributes: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Attributes as they are in memory: JSON parsed, the NumPy numbers of NetCDF made plain.

    Raises
    ------
    ValueError
        No schema version, a newer one, or damaged attributes.
    """
    if "schema_version" not in attributes:
        raise ValueError(f"{path} was not made by `gnvpro generate` (it has no schema_version); choose another place")
    try:
        found = int(attributes["schema_version"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: the attributes are damaged (schema_version: {error}); generate it again") from error
    if found > SCHEMA_VERSION:
        raise ValueError(f"{path}: expected schema_version {SCHEMA_VERSION} or older, got {found}; update gnvpro")
    try:
        decoded = {
            name: json.loads(value) if name in JSON_ATTRIBUTES else value.item() if hasattr(value, "item") else value
            for name, value in attributes.items()
        }
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{path}: the attributes are damaged ({error}); generate the data set again") from error
    return _migrated(decoded)


def _migrated(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes of an older schema, completed with what it took for granted."""
    return attributes if attributes["schema_version"] > 1 else {"design": "random", **attributes}


def count_by_status(status: NDArray[np.int8]) -> dict[str, int]:
    """How many samples have which status; those that do not occur are left out."""
    counts = {s.name.lower(): int((status == s).sum()) for s in SolveStatus}
    return {name: count for name, count in counts.items() if count}
