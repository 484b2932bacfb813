"""Options of a problem: a nested dict of plain values, as typed or read from a file, and back.

A problem that is a dataclass has its fields as options; any other factory has its arguments.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import did_you_mean


def make(factory: Callable[..., Any], options: dict[str, Any] | None) -> Any:
    """What `factory` gives with these options.

    `options`: values JSON can hold, nested like the fields of a dataclass. What is left out keeps its default.

    Raises
    ------
    UsageError
        An option that does not exist (the known ones are named), one that is missing, or a value of the wrong kind.
    """
    options = options or {}
    if isinstance(factory, type) and is_dataclass(factory):
        # A class may read what its options name, such as files, so that numbers and no paths define it.
        given: dict[str, Any] = getattr(factory, "read_options", dict)(options)
        _require_known(factory, given)
        _require_complete(factory, given)
        return _validated(factory, given) if given else factory()
    known = _arguments(factory)
    if options and not known:
        raise UsageError(f"unknown option {next(iter(options))!r}: {_name(factory)} has no options")
    _require_among(options, known, "")
    _require_complete(factory, options)
    return factory(**options)


def options_of(problem: Any) -> dict[str, Any]:
    """The options that make this dataclass again: its `definition` holds them."""
    values = asdict(problem)
    return {f.name: values[f.name] for f in fields(problem) if f.init}


def _validated(kind: Any, options: dict[str, Any], above: str = "") -> Any:
    """What a class makes of its options; `above` is where they stand among others, with a full stop at its end."""
    try:
        return TypeAdapter(kind).validate_python(options)
    except ValidationError as error:
        first = error.errors()[0]
        where = (above + ".".join(str(part) for part in first["loc"])).removesuffix(".")
        if first["type"] == "value_error":  # raised by the class itself, in words of its own
            message = first["msg"].removeprefix("Value error, ")
        elif first["type"] == "missing":
            message = "expected a value, there is none"
        elif first["type"] in ("tuple_type", "list_type"):
            message = f'expected a list, in JSON such as ["a", "b"] or [1, 2]; got {first["input"]!r}'
        else:
            message = f"expected {first['msg'].removeprefix('Input should be ')}; got {first['input']!r}"
        raise UsageError(f"option {where}: {message}" if where else message) from None


def _require_known(kind: Any, given: Any, where: str = "") -> None:
    """Every key of `given`, at any depth, is a field; validation alone would ignore the others."""
    # Of a union of dataclasses any may be meant: validation decides which.
    kinds = [k for k in (kind, *typing.get_args(kind)) if is_dataclass(k)]
    if kinds and isinstance(given, dict):
        hints = {f.name: typing.get_type_hints(k)[f.name] for k in kinds for f in fields(k) if f.init}
        _require_among(given, list(hints), where)
        # Validation would take one of the classes and drop, without a word, what only another one has.
        kinds = [k for k in kinds if set(given) <= {f.name for f in fields(k) if f.init}]
        if not kinds:
            raise UsageError(
                f"options {', '.join(where + key for key in given)} do not go together; give those of one kind"
            )
        if len(kinds) == 1 and kinds[0] is not kind:
            _validated(kinds[0], given, where)  # its own message, where the other class would be taken instead
        for key, value in given.items():
            _require_known(hints[key], value, f"{where}{key}.")
    elif isinstance(given, list | tuple):
        for inner in kinds:
            for i, value in enumerate(given):
                _require_known(inner, value, f"{where}{i}.")


def _require_among(given: Iterable[str], known: list[str], where: str) -> None:
    for key in given:
        if key not in known:
            hint = did_you_mean(key, known, where)
            raise UsageError(f"unknown option {where + str(key)!r}; {hint}the known ones are {', '.join(known)}")


def _require_complete(factory: Callable[..., Any], options: dict[str, Any]) -> None:
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise UsageError(f"{_name(factory)} cannot be called without more options: {error}") from None
    except ValueError:  # compiled, without a signature
        pass


def _arguments(factory: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # compiled, without a signature
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _name(factory: Callable[..., Any]) -> str:
    return getattr(factory, "__qualname__", type(factory).__name__)
