"""Checks of single arguments, which say what was expected and what came."""

from __future__ import annotations

import os
from numbers import Integral
from pathlib import Path
from typing import Any

from gnvpro.surrogate.errors import UsageError


def integer(name: str, value: Any, *, least: int | None = None, what: str = "an integer") -> int:
    """The value as an int; UsageError for anything else, booleans too, and for less than `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise UsageError(f"expected {name} {what}, got {value!r}")
    if least is not None and value < least:
        raise UsageError(f"expected {name} >= {least}, got {value!r}")
    return int(value)


def path_of(value: Any, what: str = "a path") -> Path:
    """A `Path` of text or a path; UsageError for anything else."""
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"expected {what} as text or Path, got {value!r}")
    return Path(value)
