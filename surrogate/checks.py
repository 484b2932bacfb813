"""Checks of single arguments, which say what was expected and what came.

NumPy is imported where numbers are checked: the command line checks paths without it.
"""

from __future__ import annotations

import os
import re
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnvpro.surrogate.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NUMBERS = {None: "real numbers", 1: "a vector of real numbers", 2: "a matrix of real numbers"}


def numbers(values: Any, what: str, ndim: int | None = None, *, where: object = None) -> NDArray[np.float64]:
    """Real numbers as an array of float64 (with `ndim` dimensions); not a copy where they are one already.

    Every number that comes in passes here: arguments, those of files, what a user's model returns. NaN stands for a
    missing number and passes, as infinities do; where they must not be, the caller says so.

    Raises UsageError: complex numbers (also with no imaginary part: to drop it is the user's to say), masked entries,
    booleans, texts, dates, other objects, ragged rows, numbers beyond float64; `where` begins the message.
    """
    import numpy as np

    said = f"expected {what}" if where is None else f"{where}: expected {what}"
    require_unmasked(values, said)
    expected = f"{said} to be {_NUMBERS[ndim]}"
    try:
        with np.errstate(over="raise"):
            array = np.asarray(values)
            if (
                array.dtype.kind == "O"
                and array.size
                and all(isinstance(v, Real) and not isinstance(v, bool) for v in array.flat)
            ):
                array = array.astype(np.float64)  # integers beyond 64 bits
            if array.dtype.kind in "fiu" and ndim in (None, array.ndim):
                return array.astype(np.float64, copy=False)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise UsageError(f"{expected}, got a {type(values).__name__} ({error})") from None
    remedy = "; take its real part, if that is meant" if array.dtype.kind == "c" else ""
    raise UsageError(f"{expected}, got {array.dtype} of shape {array.shape}{remedy}")


def require_unmasked(values: Any, expected: str) -> None:
    """UsageError, which `expected` begins, where entries are masked: NumPy reads what is below the mask."""
    import numpy as np

    if any(map(np.ma.is_masked, values)) if isinstance(values, list | tuple) else np.ma.is_masked(values):
        raise UsageError(f"{expected} without masked entries; leave such rows out")


def integer(name: str, value: Any, *, least: int | None = None, what: str = "an integer") -> int:
    """The value as an int; UsageError for anything else, booleans too, and for less than `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise UsageError(f"expected {name} {what}, got {value!r}")
    if least is not None and value < least:
        raise UsageError(f"expected {name} >= {least}, got {value!r}")
    return int(value)


# A letter alone is a drive. Several that are joined by `::` are one within another.
_ADDRESS = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]+::)*[A-Za-z][A-Za-z0-9+.-]+):/+(?=[^/])")
_JOINT = re.compile(r"::(?=[A-Za-z][A-Za-z0-9+.-]+:)")
# What may be user and password: these may have slashes in them, and question marks where no port ends before.
_USER = re.compile(r"(?:[^/?#]*|[^?#]*:[^?#]*)@|[^/?#\[]*:(?!\d*(?:[/?#]|$)).*@")


def address_in(value: Any) -> str | None:
    """The address (URL) that a text is, or a `Path`, in which two slashes are one; None for a place on this machine."""
    if not isinstance(value, str | os.PathLike) or (found := _ADDRESS.match(text := os.fsdecode(value))) is None:
        return None
    return f"{found[1]}://{'/' if found[1] == 'file' else ''}{text[found.end() :]}"


def without_secrets(address: str) -> str:
    """An address as it may be shown and kept: without user, password and query, which may be a signature."""
    return "::".join(map(_without_secrets, _JOINT.split(address)))


def _without_secrets(address: str) -> str:
    found = _ADDRESS.match(address)
    start, rest = ("", address) if found is None else (found[0], address[found.end() :])
    plain = re.split("[?#]", rest, maxsplit=1)[0]
    if _USER.match(rest) is None:
        return start + plain
    return start + (plain.rpartition("@")[2] if "@" in plain else "...")


def shown(place: str | os.PathLike[str]) -> str:
    """A path or an address as messages and results show it."""
    return str(place) if (address := address_in(place)) is None else without_secrets(address)


def place_of(value: Any) -> Path:
    """A path of this machine, as `path_of` has it, or an address as a `Path`, for whoever reads either."""
    return path_of(value) if address_in(value) is None else Path(value)


def path_of(value: Any, what: str = "a path") -> Path:
    """A `Path` of text or a path, ~ at its beginning the home folder; UsageError for anything else, an address too."""
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"expected {what} as text or Path, got {value!r}")
    if (address := address_in(value)) is not None:
        raise UsageError(
            f"expected {what} on this machine, got {without_secrets(address)}; copy it from or to there by another program"
        )
    return Path(os.path.expanduser(value))  # that of pathlib raises where there is no such user


def contiguous(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """The array itself, or a copy where it is reversed, strided or read-only, which torch does not take."""
    return array if array.flags.carray else array.copy()
