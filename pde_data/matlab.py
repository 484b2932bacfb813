"""Arrays of a MATLAB file of version 5 to 7, by SciPy, once its type tags and sizes are known to be right.

SciPy's reader trusts the tags of a file: at a wrong one it ends the process (SciPy 1.18). So they are walked through first.
The format: MathWorks, MAT-File Format (R2024b), chapter 1.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

_MATRIX, _COMPRESSED = 14, 15
# The types of what every variable begins with; some programs write unsigned dimensions and UTF-8 names.
_FLAGS, _DIMENSIONS, _NAME = (6,), (5, 6), (1, 16)
_COMPLEX = 0x800
# The class of MATLAB's own objects, which have no dimensions before their name.
_OPAQUE = 17
# How numbers are stored, and which classes of arrays have them: a double may be stored as a smaller integer.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}


def read_mat5(content: bytes) -> dict[str, NDArray[Any]]:
    """The variables of a file by name; those that are no array of numbers (cells, structs, texts, …) as empty objects.

    Raises ValueError, struct.error, zlib.error, KeyError: the file is damaged; and what SciPy raises.
    """
    numeric = _check(content)
    names = [name for name, is_numeric in numeric.items() if is_numeric]
    arrays = loadmat(io.BytesIO(content), variable_names=names) if names else {}
    return {name: arrays[name] if numeric[name] else np.empty(0, dtype=object) for name in numeric}


def _check(content: bytes) -> dict[str, bool]:
    """Names of the variables, and whether each is an array of numbers; tags and sizes of those are right."""
    order, numeric = {b"IM": "<", b"MI": ">"}.get(content[126:128]), {}
    if order is None:
        raise ValueError("it has no header of MATLAB")
    for kind, data in _elements(content[128:], order):
        if kind == _COMPRESSED:
            stream = zlib.decompressobj()
            # zlib compares its checksum where the stream ends.
            inner = stream.decompress(data)
            if not stream.eof or stream.unused_data:
                raise ValueError("a compressed variable is longer or shorter than said")
            ((kind, data),) = _elements(inner, order)
        if kind != _MATRIX:
            raise ValueError(f"expected a variable, got an element of type {kind}")
        name, is_numeric = _check_variable(data, order)
        if name in numeric:
            raise ValueError(f"{name} is there twice")
        if name:  # MATLAB keeps what belongs to objects in a variable without name
            numeric[name] = is_numeric
    return numeric


def _check_variable(data: bytes, order: str) -> tuple[str, bool]:
    parts = _elements(data, order)
    (kinds, (flags, dimensions, name)) = zip(*(next(parts) for _ in range(3)), strict=True)
    (about,) = struct.unpack_from(f"{order}I", flags)
    is_opaque = about & 0xFF == _OPAQUE
    expected_kinds = _FLAGS, _NAME if is_opaque else _DIMENSIONS, _NAME
    if not all(kind in expected for kind, expected in zip(kinds, expected_kinds, strict=True)):
        raise ValueError(f"expected flags, dimensions and a name, got elements of types {kinds}")
    text, expected = (dimensions if is_opaque else name).decode("latin-1"), _CLASSES.get(about & 0xFF)
    if expected is None:
        return text, False
    shape = tuple(int(n) for n in np.frombuffer(dimensions, f"{order}i4"))
    sizes = [_size(*part, expected) for part in parts]
    if sizes != [math.prod(shape)] * (2 if about & _COMPLEX else 1):
        raise ValueError(f"{text} of shape {shape} has {sizes} numbers")
    return text, True


def _size(kind: int, data: bytes, expected: str) -> int:
    """How many numbers an element holds, for an array of the type `expected`."""
    stored = np.dtype(_STORED[kind])
    if stored.itemsize >= np.dtype(expected).itemsize and stored.str[1:] != expected:
        raise ValueError(f"numbers of type {expected} stored as {stored.str[1:]}")
    if len(data) % stored.itemsize:
        raise ValueError(f"{len(data)} bytes of {stored.str[1:]}")
    return len(data) // stored.itemsize


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and data of every element: a tag of eight bytes and data padded to eight, or both in eight."""
    at = 0
    while at < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        if kind >> 16:
            kind, size, start, step = kind & 0xFFFF, kind >> 16, at + 4, 8
            if size > 4:
                raise ValueError(f"a short element of {size} bytes")
        else:
            start = at + 8
            step = 8 + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > len(content):
            raise ValueError("it is cut off")
        yield kind, content[start : start + size]
        at += step
