"""Numeric arrays of a MATLAB file of version 5 to 7.

By hand, because SciPy's reader trusts the type tags of a file and ends the process at a wrong one (SciPy 1.18). The format:
MathWorks, MAT-File Format (R2024b), chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MATRIX, _COMPRESSED = 14, 15
_COMPLEX = 0x800
# The class of MATLAB's own objects, which have no dimensions before their name.
_OPAQUE = 17
# How numbers are stored, and which classes of arrays have them: a double may be stored as a smaller integer.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}


def read_mat5(content: bytes) -> dict[str, NDArray[Any]]:
    """The variables of a file by name; those that are no array of numbers (cells, structs, texts, …) as objects.

    Raises ValueError, struct.error, zlib.error, KeyError: the file is damaged.
    """
    order, variables = {b"IM": "<", b"MI": ">"}.get(content[126:128]), {}
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
        name, value = _variable(data, order)
        if name in variables:
            raise ValueError(f"{name} is there twice")
        if name:  # MATLAB keeps what belongs to objects in a variable without name
            variables[name] = value
    return variables


def _variable(data: bytes, order: str) -> tuple[str, NDArray[Any]]:
    parts = _elements(data, order)
    flags, dimensions, name = (next(parts)[1] for _ in range(3))
    (about,) = struct.unpack_from(f"{order}I", flags)
    text, kind = (dimensions if about & 0xFF == _OPAQUE else name).decode("latin-1"), _CLASSES.get(about & 0xFF)
    if kind is None:
        return text, np.array(None)
    shape = tuple(int(n) for n in np.frombuffer(dimensions, f"{order}i4"))
    values = _numbers(*next(parts), order, kind)
    if about & _COMPLEX:
        values = values + 1j * _numbers(*next(parts), order, kind)
    if values.size != math.prod(shape) or next(parts, None) is not None:
        raise ValueError(f"{text} of shape {shape} has {values.size} numbers")
    return text, values.reshape(shape, order="F")


def _numbers(kind: int, data: bytes, order: str, expected: str) -> NDArray[Any]:
    stored = np.dtype(order + _STORED[kind])
    if stored.itemsize >= np.dtype(expected).itemsize and stored.str[1:] != expected:
        raise ValueError(f"numbers of type {expected} stored as {stored.str[1:]}")
    return np.frombuffer(data, stored).astype(stored.newbyteorder("="))


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
