"""What a user's model is made of: a hash of every module of the user's that its factory's module imports, directly or not.

Comments, docstrings, blank lines and indentation do not count: they change no numbers. Python's own modules, installed
packages and this one do not count either, a data set records their versions.
"""

from __future__ import annotations

import ast
import hashlib
import io
import linecache
import sys
import sysconfig
import tokenize
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from gnvpro.surrogate.spaces import shortened

# Tokens that change no numbers; of INDENT and DEDENT their being there counts, not their width.
_OF_NO_EFFECT = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
_STANDARD = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
_INSTALLED = {"site-packages", "dist-packages"}


def source_definition(factory: str) -> dict[str, Any]:
    """The factory `module:name` and SHA-256 hashes, by name, of the modules of the user's that its module is made of.

    An import counts wherever it stands, also in a function that is called later. Modules of the factory's own top-level
    package count wherever it is installed. There are none of what was typed at a prompt.
    """
    start = factory.partition(":")[0]
    sources: dict[str, str] = {}
    waiting, seen = [start], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        file = _file_of(name)
        if file is None or not (name == start or _is_users(name, file, start.partition(".")[0])):
            continue
        hashed, imported = _read(file, file.stat().st_mtime_ns, name)
        sources[name] = hashed
        waiting += imported
    return {"factory": factory, "sources": dict(sorted(sources.items()))}


def former_source_definition(factory: str) -> dict[str, Any]:
    """As it was before modules beside the factory's own counted: a hash of the text of that one file."""
    file = _file_of(factory.partition(":")[0])
    linecache.checkcache(str(file))
    text = "".join(linecache.getlines(str(file)))
    return {"factory": factory, "source_sha256": hashlib.sha256(text.encode()).hexdigest() if text else None}


def difference_of_definitions(
    there: dict[str, Any], here: dict[str, Any], name: str = "definition", wanted: str = "asked"
) -> str | None:
    """What differs between two definitions of a problem, in words: a module or an option; None where nothing does."""
    if there == here:
        return None
    if isinstance(there.get("sources"), dict) and isinstance(here.get("sources"), dict):
        before, now = there["sources"], here["sources"]
        changed = [name for name in before if name in now and before[name] != now[name]]
        parts = [
            _listed("the source of module", changed, "has changed"),
            _listed("module", [name for name in now if name not in before], "is new in it"),
            _listed("module", [name for name in before if name not in now], "is no part of it any more"),
        ]
        if told := "; ".join(filter(None, parts)):
            return told
    if there.get("source_sha256") and "sources" in here and there.get("factory") == here.get("factory"):
        return f"the source of module {here['factory'].partition(':')[0]} has changed"
    return first_difference(there, here, name, wanted)


def first_difference(there: Any, here: Any, name: str = "", wanted: str = "asked") -> str | None:
    """The first value in which two nested dicts differ, with its place and both values; None if they are the same."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*there, *(key for key in here if key not in there)]:
            where = f"{name}.{key}" if name else str(key)
            if difference := first_difference(there.get(key), here.get(key), where, wanted):
                return difference
        return None
    return None if there == here else f"{name} {shortened(there)} there, {shortened(here)} {wanted}"


def _listed(what: str, names: list[str], verb: str) -> str:
    return f"{what} {', '.join(names)} {verb}" if names else ""


def _is_users(name: str, file: Path, top: str) -> bool:
    if name.partition(".")[0] == "gnvpro":
        return False
    if name.partition(".")[0] == top:
        return True
    return not (_INSTALLED & set(file.parts) or any(file.is_relative_to(folder) for folder in _STANDARD))


def _file_of(name: str) -> Path | None:
    """The file of a module, found without importing anything; None of a built-in one, or where there is no such module."""
    module = sys.modules.get(name)
    if module is not None and (file := getattr(module, "__file__", None)):
        return Path(file).resolve()
    path: Sequence[str] | None = None
    parts, spec = name.split("."), None
    for i in range(len(parts)):
        if (spec := _spec(".".join(parts[: i + 1]), path)) is None:
            return None
        path = list(spec.submodule_search_locations or [])
    origin = getattr(spec, "origin", None)
    return Path(origin).resolve() if origin and getattr(spec, "has_location", False) else None


def _spec(name: str, path: Sequence[str] | None) -> Any:
    for finder in sys.meta_path:
        if (find := getattr(finder, "find_spec", None)) and (spec := find(name, path)) is not None:
            return spec
    return None


@lru_cache(maxsize=4096)
def _read(file: Path, _changed: int, name: str) -> tuple[str, tuple[str, ...]]:
    """Hash of a module's source, and the names of what it may import; of a compiled module the hash of the file alone."""
    if file.suffix != ".py":
        return hashlib.sha256(file.read_bytes()).hexdigest(), ()
    text = _text(file)
    try:
        tree, hashed = ast.parse(text), _hash_of_tokens(text)
    except (SyntaxError, tokenize.TokenError):  # a module that nothing has imported yet
        return hashlib.sha256(text.encode()).hexdigest(), ()
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    return hashed, tuple(dict.fromkeys(_parents_first([name, *_imported(tree, package)])))


def _text(file: Path) -> str:
    with tokenize.open(file) as opened:
        return opened.read()


def _hash_of_tokens(text: str) -> str:
    """SHA-256 of what may change numbers: not of comments, layout, or strings that are statements by themselves."""
    digest, only_strings = hashlib.sha256(), True
    statement: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in _OF_NO_EFFECT:
            continue
        if token.type in (tokenize.INDENT, tokenize.DEDENT):
            digest.update(tokenize.tok_name[token.type].encode())
        elif token.type != tokenize.NEWLINE:
            statement.append(token.string)
            only_strings = only_strings and token.type == tokenize.STRING
        else:
            if not only_strings:
                digest.update("\0".join([*statement, "\n"]).encode())
            statement, only_strings = [], True
    return digest.hexdigest()


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("import_module", "importlib.import_module"):
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str))


def _parents_first(names: list[str]) -> Iterator[str]:
    """Each with the packages it lies in, whose `__init__` runs first."""
    for name in filter(None, names):
        parts = name.split(".")
        yield from (".".join(parts[: i + 1]) for i in range(len(parts)))
