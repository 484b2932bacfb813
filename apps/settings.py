"""Settings of a command: one frozen dataclass, filled from the command line, a file and its defaults.

A field is written once, for example

    samples: Annotated[int, typer.Option("--samples", "-n", help="Number of samples."), Ge(1)] = 800

and becomes an option of the command line and a key of the file. Everything is validated in one place, so a wrong
value is answered alike wherever it came from.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import tomllib
import typing
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BeforeValidator, TypeAdapter, ValidationError
from typer.models import ArgumentInfo, OptionInfo, ParameterInfo


def _split_commas(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


# A list on the command line is one word, `9,24,24`; in a file it may also be a TOML array.
Comma = BeforeValidator(_split_commas)


def _nested(value: Any) -> Any:
    """`["a.b=1", "a.c=2"]` as {"a": {"b": 1, "c": 2}}; what is nested already, from a file, as it is."""
    if not isinstance(value, list):
        return value
    nested: dict[str, Any] = {}
    for text in value:
        key, equals, given = str(text).partition("=")
        *groups, name = key.split(".")
        if not equals or not all((*groups, name)):
            raise ValueError(f"name=value, or group.name=value ({text!r} is neither)")
        group = nested
        for at in groups:
            group = group.setdefault(at, {}) if isinstance(group, dict) else group
        if not isinstance(group, dict) or name in group:
            raise ValueError(f"every option once ({key!r} is there twice, or is a group and a value)")
        try:
            group[name] = json.loads(given)
        except json.JSONDecodeError:
            group[name] = given
    return nested


# Options of something else: `--set group.name=value`, any number of times; a table in a file. Values are JSON, or text.
Assignments = BeforeValidator(_nested)


def signature(settings: type) -> list[inspect.Parameter]:
    """The parameters typer makes command-line options of, one per field.

    A required field is optional for typer, because the file may hold it; `resolve` misses it.
    """
    return [_parameter(f, typing.get_type_hints(settings, include_extras=True)[f.name]) for f in _fields(settings)]


def typed_by_user(context: typer.Context, settings: type) -> dict[str, Any]:
    """The fields that stand on the command line, and not those typer filled with defaults."""
    names = [f.name for f in _fields(settings)]
    return {
        name: context.params[name]
        for name in names
        if getattr(context.get_parameter_source(name), "name", None) in ("COMMANDLINE", "ENVIRONMENT")
    }


def resolve[S](settings: type[S], command_line: dict[str, Any], file: Path | None) -> S:
    """Settings from what the user typed, then the file, then the defaults.

    Raises
    ------
    ValueError
        A file that cannot be parsed, a key that no field has, a value of the wrong kind, or a required one missing.
    """
    known = {f.name: f for f in _fields(settings)}
    given = {**(_read(file, list(known)) if file else {}), **command_line}
    for name, f in known.items():
        if name not in given and _is_required(f):
            raise ValueError(f"{name} is missing; give it on the command line or in a file with --config")
    try:
        return TypeAdapter(settings).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        source = "" if name in command_line or file is None else f" in {file}"
        raise ValueError(f"{name}{source}: expected {expected}; got {first['input']!r}") from None


def to_dict(settings: Any) -> dict[str, Any]:
    """Settings as JSON-able values; written to a file, `--config` reads them back."""
    return {f.name: _plain(getattr(settings, f.name)) for f in _fields(type(settings))}


def _fields(settings: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(settings)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING


def _read(file: Path, known: list[str]) -> dict[str, Any]:
    language, parse = ("JSON", json.loads) if file.suffix == ".json" else ("TOML", tomllib.loads)
    try:
        given = parse(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is not {language}: {error}") from None
    if not isinstance(given, dict):
        raise ValueError(f"{file}: expected names with values, got a {type(given).__name__}")
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise ValueError(f"{file}: unknown key {key!r}; {hint}the keys are {', '.join(known)}")
    return given


def _parameter(field: dataclasses.Field[Any], hint: Any) -> inspect.Parameter:
    kind, *metadata = typing.get_args(hint)
    option = next(item for item in metadata if isinstance(item, ParameterInfo))
    required = _is_required(field)
    if required and isinstance(option, OptionInfo):
        option.help = f"{option.help} [required]"
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None if required else field.default,
        annotation=Annotated[_command_line_type(kind, required, option), option],
    )


def _command_line_type(kind: Any, required: bool, option: ParameterInfo) -> Any:
    origins = {typing.get_origin(member) for member in (kind, *typing.get_args(kind))}
    if dict in origins or (tuple in origins and isinstance(option, ArgumentInfo)):
        return list[str] | None
    if tuple in origins:
        return str | None
    return kind | None if required else kind


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
