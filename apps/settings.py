"""Settings of a command: one frozen dataclass, filled from the command line, a file and its defaults.

A field is written once, for example

    samples: Annotated[int, Doc("Number of samples."), Ge(1)] = 800

and becomes an option of the command line that its name stands for, and a key of the file; an argument, or an option of
another name, is declared as typer's. A class that is no command's, such as those of training, is written the same way, and
a command inherits it.

Everything is validated in one place, so a wrong value is answered alike wherever it came from. `METAVARS` of a command
shows values of options by name, and `NOT_OFFERED` names inherited fields that are not the user's.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import shlex
import tomllib
import typing
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from annotated_doc import Doc
from annotated_types import Ge, Gt
from pydantic import BeforeValidator, TypeAdapter, ValidationError
from typer.models import ArgumentInfo, ParameterInfo

from gnvpro.apps.completion import completions
from gnvpro.surrogate.checks import address_in, path_of, place_of, without_secrets
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import did_you_mean, shortened
from gnvpro.training.fit_settings import require_64_bits


@dataclass(frozen=True, kw_only=True)
class SolvingOptions:
    """How PDEs are solved: settings of every command that solves some."""

    time_limit: Annotated[
        float | None, Doc("Seconds that a solve may take; one that takes longer has failed."), Gt(0)
    ] = None
    ranks: Annotated[int, Doc("MPI processes that solve together, of a problem that takes `comm`."), Ge(1)] = 1
    threads_per_solve: Annotated[int, Doc("Threads of every process that solves."), Ge(1)] = 1


# One letter, the same in every command, of options that have no declaration of their own.
_SHORT = {"observations": "-d", "out": "-o", "parameters": "-p", "samples": "-n", "seed": "-s", "workers": "-w"}


def _nested(value: Any) -> Any:
    """`["a.b=1", "a.c=2"]` as {"a": {"b": 1, "c": 2}}; what is nested already, from a file, as it is."""
    if not isinstance(value, list):
        return value
    nested: dict[str, Any] = {}
    for text in value:
        key, equals, given = str(text).partition("=")
        *groups, name = key.split(".")
        if not equals or not all((*groups, name)):
            raise UsageError(f"name=value, or group.name=value ({text!r} is neither)")
        group = nested
        for at in groups:
            group = group.setdefault(at, {}) if isinstance(group, dict) else group
        if not isinstance(group, dict) or name in group:
            raise UsageError(f"every option once ({key!r} is there twice, or is a group and a value)")
        try:
            group[name] = json.loads(given)
        except json.JSONDecodeError:
            group[name] = given
        except ValueError:
            raise UsageError(f"an integer of fewer digits ({key} has {len(given)})") from None
    return nested


# Options of something else: `--set group.name=value`, any number of times; a table in a file. Values are JSON, or text.
Assignments = BeforeValidator(_nested)


def signature(settings: type) -> list[inspect.Parameter]:
    """The parameters typer makes command-line options of, one per field; a class's own before those it inherits.

    A required field is optional for typer, because the file may hold it; `resolve` misses it.
    """
    return [option.parameter() for option in _options(settings)]


def typed_by_user(context: typer.Context, settings: type) -> dict[str, Any]:
    """The fields that stand on the command line, and not those typer filled with defaults."""
    return {
        option.name: context.params[option.name]
        for option in _options(settings)
        if getattr(context.get_parameter_source(option.name), "name", None) in ("COMMANDLINE", "ENVIRONMENT")
    }


def resolve[S](settings: type[S], command_line: dict[str, Any], file: Path | None) -> S:
    """Settings from what the user typed, then the file, then the defaults.

    Raises
    ------
    UsageError
        A file that cannot be parsed, a key that no field has, a value of the wrong kind, a required one missing, or
        values that the class does not take together.
    """
    options = _options(settings)
    given = {**(_read(file, [option.name for option in options]) if file else {}), **command_line}
    for option in options:
        if option.name not in given and option.is_required:
            raise UsageError(f"{option.name} is missing; give it on the command line or in a file with --config")
        if option.is_comma_list and isinstance(value := given.get(option.name), str):
            given[option.name] = value.split(",")
        if option.is_paths and isinstance(value := given.get(option.name), str | Path):
            given[option.name] = value = [value]
        if option.is_paths and isinstance(value := given.get(option.name), list | tuple):
            given[option.name] = [place_of(path) for path in value]
        if option.is_path and isinstance(value := given.get(option.name), str | Path):
            given[option.name] = place_of(value)  # no shell expands ~ in --out=~/x, or in a file
    for name, value in given.items():
        require_64_bits(name, value)
    try:
        return TypeAdapter(settings).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        if not first["loc"]:
            raise UsageError(expected) from None
        name = str(first["loc"][0])
        source = "" if name in command_line or file is None else f" in {file}"
        raise UsageError(
            f"{name}{source}: expected {expected.removeprefix('expected ')}; got {shortened(repr(first['input']))}"
        ) from None


def to_dict(settings: Any) -> dict[str, Any]:
    """Settings as JSON-able values; written to a file, `--config` reads them back. Paths are as `portable` has them."""
    return {option.name: portable(getattr(settings, option.name)) for option in _options(type(settings))}


def portable(value: Any) -> Any:
    """A value as JSON has it, in which no absolute path tells of this machine: a result is sent to others.

    Of a path below the working directory the way from there is kept, of any other the name alone; of an address what is no
    secret.
    """
    if isinstance(value, dict):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item) for item in value]
    if not isinstance(value, str | Path):
        return value
    if (address := address_in(value)) is not None:
        return without_secrets(address)
    path = Path(value)
    if not path.is_absolute():
        return str(value)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def command_line(command: str, settings: Any) -> str:
    """What to type to get the same again, defaults left out; paths are as `portable` has them."""
    words = ["gnvpro", command]
    for option in _options(type(settings)):
        value = getattr(settings, option.name)
        if value == option.default:
            continue
        value = portable(value)
        flag = [] if option.is_argument else [f"--{option.name.replace('_', '-')}"]
        if value is True:
            words += flag
        elif option.is_paths:
            words += [word for path in value for word in (*flag, path)]
        elif isinstance(value, dict):
            words += [word for key, one in value.items() for word in (*flag, f"{key}={json.dumps(one)}")]
        else:
            words += [*flag, ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return shlex.join(words)


@dataclass(frozen=True)
class _Option:
    """A field as the command line has it."""

    name: str
    kind: Any
    default: Any
    shown: ParameterInfo

    @property
    def is_required(self) -> bool:
        return self.default is dataclasses.MISSING

    @property
    def is_argument(self) -> bool:
        return isinstance(self.shown, ArgumentInfo)

    @property
    def is_comma_list(self) -> bool:
        """On the command line it is one word, `9,24,24`; in a file it may also be a TOML array."""
        return tuple in self._origins and not self.is_argument and not self.is_paths

    @property
    def is_paths(self) -> bool:
        """On the command line the option may be repeated; in a file it is an array of texts."""
        kinds = (self.kind, *typing.get_args(self.kind))
        return any(typing.get_origin(kind) is tuple and Path in typing.get_args(kind) for kind in kinds)

    @property
    def is_path(self) -> bool:
        """On the command line and in a file it is a text."""
        return Path in (self.kind, *typing.get_args(self.kind))

    @property
    def _origins(self) -> set[Any]:
        return {typing.get_origin(member) for member in (self.kind, *typing.get_args(self.kind))}

    def parameter(self) -> inspect.Parameter:
        shown = copy(self.shown)
        shown.autocompletion = shown.autocompletion or completions(self.name, is_path=self.is_path or self.is_paths)
        if self.is_required and not self.is_argument:
            shown.help = f"{shown.help} [required]"
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if self.is_required else self.default,
            annotation=Annotated[self._command_line_type, shown],
        )

    @property
    def _command_line_type(self) -> Any:
        if dict in self._origins or (tuple in self._origins and self.is_argument) or self.is_paths:
            return list[str] | None
        if tuple in self._origins:
            return str | None
        return self.kind | None if self.is_required else self.kind


def _options(settings: type) -> list[_Option]:
    hints = typing.get_type_hints(settings, include_extras=True)
    declared = [inspect.get_annotations(base) for base in settings.__mro__]
    offered = [f for f in _fields(settings) if f.name not in getattr(settings, "NOT_OFFERED", ())]
    metavars = getattr(settings, "METAVARS", {})
    found = []
    for field in sorted(offered, key=lambda f: next(i for i, names in enumerate(declared) if f.name in names)):
        kind, *metadata = typing.get_args(hints[field.name])
        found.append(_Option(field.name, kind, field.default, _shown(field.name, metadata, metavars.get(field.name))))
    return found


def _shown(name: str, metadata: list[Any], metavar: str | None) -> ParameterInfo:
    """As the field itself declares it, else by its name with what its `Doc` says."""
    for item in metadata:
        if isinstance(item, ParameterInfo):
            return item
    doc = next(item for item in metadata if isinstance(item, Doc))
    short = [_SHORT[name]] if name in _SHORT else []
    return typer.Option(f"--{name.replace('_', '-')}", *short, metavar=metavar, help=doc.documentation)


def _fields(settings: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(settings)


def _read(file: Path, known: list[str]) -> dict[str, Any]:
    file = path_of(file)
    language, parse = ("JSON", json.loads) if file.suffix == ".json" else ("TOML", tomllib.loads)
    try:
        given = parse(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is not {language}: {error}") from None
    if not isinstance(given, dict):
        raise UsageError(f"{file}: expected names with values, got a {type(given).__name__}")
    for key in given:
        if key not in known:
            raise UsageError(f"{file}: unknown key {key!r}; {did_you_mean(key, known)}the keys are {', '.join(known)}")
    return given
