"""Limits as they are typed: the command line reads them without NumPy."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BeforeValidator

from gnvpro.surrogate.errors import UsageError

VALUE = re.compile(r"\s*([<>]?)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^=<>]*?)\s*$")
_NAMED = re.compile(r"\s*(.*?)\s*(?:=\s*|(?=[<>]))([^=<>]*|[<>][^=<>]*)$")
EXPECTED = (
    "expected a limit such as 0.3 or <0.1, of all or of one quantity by its name, NAME=0.3 or NAME<0.1; a limit is one "
    "that is exceeded, or with < fallen below"
)


def read_texts(given: Any) -> Any:
    """`["0.3", "max<2"]` as {"": "0.3", "max": "<2"}; what is no list of texts, such as a table of a file, as it is."""
    if not isinstance(given, list | tuple) or not all(isinstance(text, str) for text in given):
        return given
    found: dict[str, Any] = {}
    for text in given:
        name, value = _named(text)
        if name in found:
            raise UsageError(f"every limit once ({name or 'that of all'} is there twice)")
        found[name] = value
    return found


def _named(text: str) -> tuple[str, Any]:
    """Name, empty without one, and value."""
    name, equals, value = text.rpartition('="')  # as settings are written again
    if equals and value.endswith('"'):
        return name.strip(), json.loads(f'"{value}')
    if VALUE.match(text):
        return "", text
    if (match := _NAMED.match(text)) is None:
        raise UsageError(f"{EXPECTED} ({text!r} is none)")
    return match[1], match[2]


# Of an option that may be given any number of times.
Limits = BeforeValidator(read_texts)
