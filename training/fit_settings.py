"""The settings that every training has, and the check of the bounds and choices that fields of settings carry.

Light: neither torch nor numpy is imported, so that a command line can be made of the fields, each of which carries its
bounds (`Annotated[int, Ge(1)]`) and a sentence of help.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_doc import Doc
from annotated_types import Ge, Gt, Lt

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import did_you_mean, shortened

_BOUNDS = ((">", Gt, "gt", operator.gt), (">=", Ge, "ge", operator.ge), ("<", Lt, "lt", operator.lt))


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _are_integers(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_is(Integral), value))


# Of the type of a field: how a message calls it, and whether a value is of it.
_KINDS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    bool: ("True or False", _is(bool)),
    int: ("an integer", _is(Integral)),
    float: ("a number", _is(Real)),
    str: ("text", _is(str)),
    tuple[int, ...]: ("integers such as (16, 16)", _are_integers),
}

Precision = Annotated[Literal["float64", "float32"], Doc("Of the network; the inner solve stays in float64.")]


@dataclass(frozen=True)
class CheckedSettings:
    """Settings whose fields carry their bounds and choices.

    Raises
    ------
    UsageError
        A number out of the bounds of its field, or a word that is none of its choices; the message says which.
    """

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self), include_extras=True)
        for field in fields(self):
            value = plain(getattr(self, field.name))
            object.__setattr__(self, field.name, value)
            require_in_bounds(field.name, value, hints[field.name])


@dataclass(frozen=True)
class FitSettings(CheckedSettings):
    """What the trainings of surrogates and of classifiers have in common."""

    alpha_w: Annotated[float | None, Doc("Regularisation of the outer layer W."), Ge(0)] = None
    budget: Annotated[float | None, Doc("Work units to spend."), Gt(0)] = None
    seed: Annotated[int, Doc("Seed of the split and of the initial weights."), Ge(0)] = 0
    device: Annotated[str, Doc("Where torch computes: cpu, cuda, cuda:1.")] = "cpu"
    dtype: Precision = "float64"
    threads: Annotated[
        int | None, Doc("Threads of linear algebra; by default one, for many samples up to one a core."), Ge(1)
    ] = None


def plain(value: Any) -> Any:
    """A setting without numpy: its numbers as those of Python, which JSON knows; arrays and lists as tuples."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(map(plain, value)) if isinstance(value, list | tuple | range) else value


def bytes_of(size: str) -> int:
    """Bytes of a size such as 2GiB or 500MB; UsageError for anything else."""
    from pydantic import ByteSize, TypeAdapter, ValidationError  # not for every command line

    try:
        number = int(TypeAdapter(ByteSize).validate_python(size))
    except (ValidationError, OverflowError):
        number = 0
    if number < 1:
        raise UsageError(f"expected memory a size such as 2GiB or 500MB, got {shortened(repr(size))}")
    return number


def settings_of[T: CheckedSettings](kind: type[T], fields: dict[str, Any]) -> T:
    """Settings of the fields that are given by name; UsageError for a name that is none of theirs."""
    known = kind.__dataclass_fields__
    if unknown := [name for name in fields if name not in known]:
        hint = did_you_mean(unknown[0], known)
        raise UsageError(f"unknown setting {unknown[0]!r}; {hint}expected some of {', '.join(known)}")
    return kind(**fields)


def require_64_bits(name: str, value: Any) -> None:
    """UsageError where an integer in the value, however nested, is none of 64 bits: no library can count so far."""
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            require_64_bits(name, part)
    elif isinstance(value, Integral) and not -(2**63) <= int(value) < 2**63:
        raise UsageError(f"expected {name} below 2**63, got an integer of {int(value).bit_length()} bits")


def require_in_bounds(name: str, value: Any, hint: Any) -> None:
    """Refuse a value of another type, out of the bounds (`Gt`, `Ge`, `Lt`) or none of the choices of its annotation."""
    kind, *metadata = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if value is None and type(None) in get_args(kind):
        return
    parts = get_args(kind) if get_origin(kind) is UnionType else (kind,)
    kinds = [part for part in parts if part is not type(None)]
    bounds = [
        (sign, getattr(bound, attribute), holds)
        for bound in metadata
        for sign, kind_of_bound, attribute, holds in _BOUNDS
        if isinstance(bound, kind_of_bound)
    ]
    if all(part in _KINDS for part in kinds) and not any(_KINDS[part][1](value) for part in kinds):
        words = [" or ".join(_KINDS[part][0] for part in kinds), *(f"{sign} {limit}" for sign, limit, _ in bounds)]
        raise UsageError(f"expected {name} {' '.join(words)}, got {shortened(repr(value))}")
    require_64_bits(name, value)
    for sign, limit, holds in bounds:
        if not (isinstance(value, Real) and holds(value, limit)):
            raise UsageError(f"expected {name} {sign} {limit}, got {shortened(repr(value))}")
    choices = [choice for part in (kind, *get_args(kind)) if get_origin(part) is Literal for choice in get_args(part)]
    if choices and value not in choices:
        raise UsageError(f"expected {name} {' or '.join(choices)}, got {value!r}")
