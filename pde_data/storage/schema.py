"""What the attributes and the status of a data set mean, whichever library holds it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Space, shortened

# 1: the first. 2: every chunk ends with its checksum and is written even if it is empty, so that a lost one is
# noticed; `design` says how the parameters were placed; `background` and `anomalous` where the problem names one.
# 3: a checksum of the metadata; `n_samples` of samples that were given counts those that are there, and no others.
# 4: derivatives along directions, and samples placed for a model; a data set without both is of schema 3.
# 5: observables on a mesh, whose points and cells are variables; parameters with laws of their own.
SCHEMA_VERSION = 5
DERIVATIVES_VERSION = 4
PLAIN_VERSION = 3
CHECKSUM = "metadata_sha256"

# NetCDF has no nested attributes; these are held as JSON text, so that a data set survives `to_netcdf`.
JSON_ATTRIBUTES = (
    "definition",
    "parameter_space",
    "observable_space",
    "versions",
    "git",
    "estimated_error",
    "placement",
)

# What is told of the data set as a whole, and holds no longer when it has grown.
OF_THE_WHOLE = ("estimated_error", "estimated_error_failure")

OWN_ATTRIBUTES = (
    "Conventions", "schema_version", "problem", "definition", "definition_hash", "parameter_space", "observable_space",
    "seed", "law", "design", "n_samples", "block_size", "created", "versions", "git",
    "n_directions", "derivative_method", "placement", *OF_THE_WHOLE,
)  # fmt: skip

# What zarr, xarray and numpy raise for metadata that mean nothing: values of another type, sizes beyond any memory.
MALFORMED = (TypeError, AttributeError, LookupError, OverflowError, RuntimeError, MemoryError)


def _described(space: dict[str, Any]) -> dict[str, Any]:
    """The description of a space, if a space can be made of it."""
    try:
        Space.from_dict(space)
    except KeyError as error:
        raise ValueError(f"{error} is missing") from error
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(str(error)) from error
    return space


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _ErrorEstimate(_Strict):
    relative_l2: float


class _Placement(_Strict):
    numbers: list[Annotated[int, Ge(0)]]
    models: dict[str, str]


class _Attributes(_Strict):
    """What every data set says of itself: its recipe, what that hashes to, where it comes from and how accurate it is."""

    problem: str
    definition: dict[str, Any]
    definition_hash: str
    parameter_space: Annotated[dict[str, Any], AfterValidator(_described)]
    observable_space: Annotated[dict[str, Any], AfterValidator(_described)]
    design: str
    seed: int
    n_samples: Annotated[int, Ge(1)]
    block_size: Annotated[int, Ge(1)]
    versions: dict[str, Any] | None = None
    git: dict[str, Any] | None = None
    estimated_error: _ErrorEstimate | None = None
    n_directions: Annotated[int, Ge(0)] = 0
    derivative_method: str | None = None
    placement: _Placement | None = None


@contextmanager
def reading_metadata(path: Path) -> Iterator[None]:
    """What malformed metadata of the data set at `path` lead to is told as damage."""
    try:
        yield
    except MALFORMED as error:
        said = f"{type(error).__name__}: {shortened(error)}"
        raise UsageError(f"{path} is damaged: its metadata make no sense ({said}); make the data set again") from error


def encode_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as they are stored."""
    return {name: json.dumps(value) if name in JSON_ATTRIBUTES else value for name, value in attributes.items()}


def decode_attributes(attributes: Mapping[str, Any], path: object) -> dict[str, Any]:
    """Attributes as they are in memory: JSON parsed, the NumPy numbers of NetCDF made plain.

    Raises UsageError: no schema version, a newer one, or damaged attributes.
    """
    if "schema_version" not in attributes:
        raise UsageError(f"{path} was not made by `generate` (it has no schema_version); choose another place")
    try:
        version = int(attributes["schema_version"])
        if version < 1:
            raise ValueError(version)
    except (TypeError, ValueError, OverflowError) as error:
        raise _damaged(path, f"schema_version: {error}") from error
    if version > SCHEMA_VERSION:
        raise UsageError(f"{path}: expected schema_version {SCHEMA_VERSION} or older, got {version}; update gnvpro")
    try:
        decoded = {
            name: json.loads(value) if name in JSON_ATTRIBUTES else value.item() if hasattr(value, "item") else value
            for name, value in attributes.items()
            if name != CHECKSUM
        }
    except (json.JSONDecodeError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error
    if version == 1:
        decoded = {"design": "random", **decoded}  # what it took for granted
    try:
        _Attributes.model_validate(decoded)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            wrong = "it is missing"
        elif first["type"] == "value_error":  # raised by a space, in words of its own
            wrong = first["msg"].removeprefix("Value error, ")
        else:
            wrong = f"expected {first['msg'].removeprefix('Input should be ')}, got {shortened(repr(first['input']))}"
        raise _damaged(path, f"{place}: {wrong}") from None
    return decoded


def _damaged(path: object, what: object) -> UsageError:
    return UsageError(f"{path}: the attributes are damaged ({what}); generate the data set again")


def lacks_derivatives(status: NDArray[np.int8], messages: ArrayLike) -> NDArray[np.bool_]:
    """Which samples are solved, but not all of their derivatives: these alone have a message."""
    return (status == SolveStatus.OK) & (np.asarray(messages, dtype=object) != "")


def count_by_status(status: NDArray[np.int8]) -> dict[str, int]:
    """How many samples have which status; those that do not occur are left out."""
    counts = {s.name.lower(): int((status == s).sum()) for s in SolveStatus}
    return {name: count for name, count in counts.items() if count}
