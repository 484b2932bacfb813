"""What a program is given: its command line, and files in its working directory."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2
import jinja2.meta
from jinja2.sandbox import SandboxedEnvironment

from gnvpro.pde_data.problems.program.settings import Settings
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import listed

# {name} or {name:format}, not ${name} of a shell.
_PLACEHOLDER = re.compile(r"(?<!\$)\{([^{}:]+)(?::([^{}]*))?\}")
_JINJA = SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)


@dataclass(frozen=True)
class Inputs:
    """Words of the command, and texts and files of the working directory, all of which are known to be complete.

    Attributes
    ----------
    words
        Of the command; those that name a file beside the TOML are its absolute path.
    templates
        Texts by the file that they are made into.
    programs, copied, linked
        Files of the command, and those of the working directory, by their names in the TOML.
    """

    words: tuple[str, ...]
    environment: dict[str, str]
    templates: dict[str, str]
    parameters_file: str | None
    programs: dict[str, Path]
    copied: dict[str, Path]
    linked: dict[str, Path]

    @classmethod
    def of(cls, settings: Settings, folder: Path, known: Iterable[str]) -> Inputs:
        """Those of a file in this folder, for values of the names that are known.

        Raises UsageError: a file that is not there, a program that is nowhere, or a placeholder that stands for nothing.
        """
        known = [*known, "folder"]
        words = settings.command if isinstance(settings.command, tuple) else tuple(_split(settings.command))
        if not words:
            raise UsageError("command: expected a program and its arguments, got nothing")
        written = {*settings.templates, settings.parameters_file}
        copied, linked = (
            {name: _file(folder, name, what) for name in getattr(settings, what)} for what in ("copy", "link")
        )
        here = {Path(name).name for name in (*copied, *linked)} | written
        programs = {word: folder / word for word in words if word not in here and _is_beside(folder, word)}
        for where, texts in (("command", words), ("environment", settings.environment.values())):
            for text in texts:
                _require_known(text, known, where)
        words = tuple(str(programs.get(word, word)) for word in words)
        if not _PLACEHOLDER.search(words[0]) and shutil.which(words[0]) is None and words[0] not in here:
            raise UsageError(
                f"command: no program {words[0]!r} in {folder} or on the PATH that can be run; check its name, and "
                "chmod +x what is to be run"
            )
        for name in filter(None, written):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise UsageError(f"expected a file in the working directory to be written, got {name!r}")
            if path.parts[0] in {Path(link).name for link in linked}:
                raise UsageError(
                    f"{name} would be written into {path.parts[0]}, which is linked and so your own: copy that instead"
                )
        here_too = [Path(name).name for name in (*copied, *linked)]
        if twice := [name for name in here_too if here_too.count(name) > 1]:
            raise UsageError(f"copy, link: several files would be called {twice[0]!r} in the working directory")
        if settings.parameters_file and Path(settings.parameters_file).suffix not in (".json", ".csv"):
            raise UsageError(f"parameters_file: expected a .json or .csv file, got {settings.parameters_file!r}")
        templates = {
            name: _template(_file(folder, source, "templates"), known) for name, source in settings.templates.items()
        }
        environment = dict(settings.environment)
        return cls(words, environment, templates, settings.parameters_file, programs, copied, linked)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file that the numbers come from, by its name in the TOML, templates by what they are made into."""
        files = {name: _hash_of(path) for name, path in (self.programs | self.copied | self.linked).items()}
        return files | {name: hashlib.sha256(text.encode()).hexdigest() for name, text in self.templates.items()}

    def write(self, folder: Path, values: Mapping[str, Any]) -> None:
        """Fill a working directory."""
        for name, source in self.copied.items():
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / Path(name).name)
        for name, source in self.linked.items():
            (folder / Path(name).name).symlink_to(source)
        for name, text in self.templates.items():
            _write(folder / name, _JINJA.from_string(text).render(values))
        if self.parameters_file:
            of_file = {name: value for name, value in values.items() if name != "folder"}
            path = folder / self.parameters_file
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".json":
                path.write_text(json.dumps(of_file, indent=1))
            else:
                with path.open("w", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows([of_file, of_file.values()])

    def command(self, values: Mapping[str, Any]) -> list[str]:
        """Words of the command with values in the place of their names."""
        return [filled(word, values) for word in self.words]


def filled(text: str, values: Mapping[str, Any]) -> str:
    """The text with values in the place of {name} and {name:format}; numbers with all of their digits."""
    return _PLACEHOLDER.sub(lambda m: format(values[m[1]], m[2] or "") if m[1] in values else m[0], text)


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"command: cannot be split into words as a shell does ({error}); check its quotes") from None


def _require_known(text: str, known: list[str], where: str) -> None:
    for match in _PLACEHOLDER.finditer(text):
        if match[1] not in known and match[1].isidentifier():
            raise UsageError(f"{where}: {match[0]} stands for nothing; there are {listed(known)}")


def _template(path: Path, known: list[str]) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        missing = jinja2.meta.find_undeclared_variables(_JINJA.parse(text)) - set(known) - set(_JINJA.globals)
    except (jinja2.TemplateSyntaxError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no Jinja template ({error}); docs/programs.md has an example") from None
    if missing:
        raise UsageError(f"{path}: {{{{ {min(missing)} }}}} stands for nothing; there are {listed(known)}")
    return text


def _file(folder: Path, name: str, where: str) -> Path:
    path = folder / name
    if not path.exists():
        raise UsageError(f"{where}: there is no {path}; paths are relative to the TOML file")
    return path.resolve()


def _is_beside(folder: Path, word: str) -> bool:
    try:
        return not os.path.isabs(word) and (folder / word).is_file()
    except OSError:  # longer than a name may be
        return False


def _hash_of(path: Path) -> str:
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(file.relative_to(path).as_posix().encode())
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
