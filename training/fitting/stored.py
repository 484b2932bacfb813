"""The state of a run as JSON values and tensors, which is what a file holds: nested dataclasses, and back.

A dataclass or named tuple becomes its fields by name; a tensor or array its name among the tensors, which says where it
stood. Everything else is a JSON value. Types are those that the fields are annotated with.
"""

from __future__ import annotations

import dataclasses
import enum
import types
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor


class Stored(NamedTuple):
    """JSON-able values, and the tensors they name."""

    values: Any
    tensors: dict[str, Tensor]


def stored(value: Any) -> Stored:
    """A state as what a file holds; tensors are not copied."""
    tensors: dict[str, Tensor] = {}
    return Stored(_plain(value, "", tensors), tensors)


def restored(kind: Any, content: Stored, like: Tensor) -> Any:
    """The state of this type, its tensors on the device of another."""
    return _typed(kind, content.values, content.tensors, like)


def _plain(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, np.ndarray | Tensor):
        tensors[name] = value if isinstance(value, Tensor) else torch.from_numpy(value)
        return name
    if isinstance(value, slice):
        return [value.start, value.stop]
    if isinstance(value, list):
        return [_plain(part, f"{name}.{j}", tensors) for j, part in enumerate(value)]
    if isinstance(value, enum.Enum):
        return value.value
    if (fields := _fields(type(value))) is not None:
        return {key: _plain(getattr(value, key), f"{name}.{key}", tensors) for key in fields}
    return value


def _typed(kind: Any, value: Any, tensors: dict[str, Tensor], like: Tensor) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        return _typed(_chosen(get_args(kind), value), value, tensors, like)
    if kind is Tensor:
        return tensors[value].to(like.device)
    if kind is np.ndarray:
        return tensors[value].cpu().numpy()
    if kind is slice:
        return slice(*value)
    if get_origin(kind) is list:
        return [_typed(get_args(kind)[0], part, tensors, like) for part in value]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    if (fields := _fields(kind)) is not None:
        return kind(**{key: _typed(fields[key], part, tensors, like) for key, part in value.items()})
    return value


def _chosen(kinds: tuple[Any, ...], value: Any) -> Any:
    """The member of a union that was stored: tensors are strings, slices lists, nothing is null."""
    if value is None:
        return types.NoneType
    if slice in kinds:
        return slice if isinstance(value, list) else Tensor
    return next(kind for kind in kinds if kind is not types.NoneType)


def _fields(kind: Any) -> dict[str, Any] | None:
    """Types of the fields by name; None for what has none."""
    if not isinstance(kind, type):
        return None
    names = (
        [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else getattr(kind, "_fields", None)
    )
    if names is None:
        return None
    hints = get_type_hints(kind)
    return {name: hints[name] for name in names}
