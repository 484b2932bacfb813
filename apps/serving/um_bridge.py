"""UM-Bridge protocol 1.0: how requests are read, what they must look like, and how errors are answered.

Inputs and outputs are lists of vectors; every model here has one of each. The error types are those of UM-Bridge's own
server: InvalidInput, ModelNotFound and UnsupportedFeature for the client's mistakes, InvalidOutput for what the model
or the server cannot give. See https://um-bridge-benchmarks.readthedocs.io/en/docs/umbridge/protocol.html.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
import orjson
from aiohttp import web

from gnvpro.surrogate.spaces import Array, shortened

VERSION = 1.0
OPERATIONS = ("Evaluate", "Gradient", "ApplyJacobian", "ApplyHessian")
# Until the body of a request has arrived: nobody holds a place in the server by sending nothing.
READ_SECONDS = 30.0

type Arrival = AbstractAsyncContextManager[object]


class ProtocolError(Exception):
    """A request that is answered with an error of the protocol, by whose `type` clients may branch."""

    type: str
    status: int  # of HTTP: 4xx where the request is at fault, 5xx where it is not

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message.encode(errors="backslashreplace").decode())  # bytes of a header that are no UTF-8
        self.status = status or type(self).status

    def answer(self) -> dict[str, Any]:
        """What is sent."""
        return {"error": {"type": self.type, "message": str(self)}}


class InvalidInput(ProtocolError):
    """The request cannot be understood, or asks for what the model has no answer to."""

    type, status = "InvalidInput", 400


class ModelNotFound(ProtocolError):
    """No model of that name."""

    type, status = "ModelNotFound", 400


class UnsupportedFeature(ProtocolError):
    """The model, or this server, does not offer that."""

    type, status = "UnsupportedFeature", 400


class InvalidOutput(ProtocolError):
    """The model gave no usable result, or the server is too busy to ask it."""

    type, status = "InvalidOutput", 500


async def read(request: web.Request, seconds: float = READ_SECONDS) -> dict[str, Any]:
    """The JSON object of a request, read within `seconds` and the application's `client_max_size`.

    Whatever content type the request claims: UM-Bridge's own server does not look at it, and its documentation calls
    with curl's default.

    Raises
    ------
    InvalidInput
        Too large (413), too slow (408) or damaged (400); not JSON (which has no NaN and no infinity), not an object, or a
        `config` that is none.
    """
    try:
        content = orjson.loads(await read_body(request, seconds))
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"expected a JSON object, got something else: {error}") from None
    if type(content) is not dict:
        raise InvalidInput(f"expected a JSON object, got {_kind(content)}")
    if type(content.get("config", {})) is not dict:
        raise InvalidInput(f"config: expected an object, got {_kind(content['config'])}")
    return content


async def read_body(
    request: web.Request, seconds: float = READ_SECONDS, arrival: Callable[[float], Arrival] = asyncio.timeout
) -> bytes:
    """The body of a request, waited for in an `arrival` of so many seconds; raises InvalidInput as `read` does."""
    largest = request.client_max_size
    too_large = InvalidInput(f"expected at most {largest} bytes; see --max-body", 413)
    if 0 < largest < (request.content_length or 0):  # said beforehand: not a byte is read
        raise too_large
    try:
        if request.content.is_eof():
            return await request.read()
        async with arrival(seconds):
            return await request.read()
    except TimeoutError:
        raise InvalidInput(
            f"the request did not arrive within {seconds:g} s, or others needed its place", 408
        ) from None
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise InvalidInput(f"the body cannot be read: {' '.join(str(error).split())}") from None


def model_name(request: dict[str, Any], key: str = "name") -> str:
    """The model that a request is for; raises InvalidInput where that is no text."""
    name = _required(request, key)
    if type(name) is not str:
        raise InvalidInput(f"{key}: expected the name of a model, got {_kind(name)}")
    return name


def input_vector(request: dict[str, Any], size: int) -> Array:
    """The one vector of `input`: a list of one list of numbers -> (size,); raises InvalidInput."""
    vectors = _required(request, "input")
    if type(vectors) is not list:
        raise InvalidInput(f"input: expected a list of one vector, got {_kind(vectors)}")
    if len(vectors) != 1:
        hint = "; put the vector in a list of its own" if len(vectors) == size else ""
        raise InvalidInput(f"input: expected a list of one vector, got a list of {len(vectors)}{hint}")
    return _vector("input[0]", vectors[0], size)


def vector(request: dict[str, Any], key: str, size: int) -> Array:
    """A vector beside the input, `sens` or `vec`: (size,); raises InvalidInput."""
    return _vector(key, _required(request, key), size)


def require_zero(request: dict[str, Any], *keys: str) -> None:
    """Indices of inputs and outputs, of which there is one each; raises InvalidInput."""
    for key in keys:
        index = _required(request, key)
        if type(index) is not int or index != 0:
            got = index if type(index) is int else _kind(index)
            raise InvalidInput(f"{key}: expected 0, as there is one input vector and one output vector, got {got}")


def not_finite(vector: Array) -> Any:
    """A vector as it is sent, also where it has no finite numbers, which JSON does not have.

    Infinity is a number that is too large, which parsers read as infinity; NaN is the word that UM-Bridge's own Python server
    sends, and Python's parser reads.
    """
    if np.isfinite(vector).all():
        return vector
    words = [
        "NaN" if np.isnan(x) else f"{'-' if x < 0 else ''}1e999" if np.isinf(x) else repr(x) for x in vector.tolist()
    ]
    return orjson.Fragment(f"[{','.join(words)}]")


def _required(request: dict[str, Any], key: str) -> Any:
    if key not in request:
        raise InvalidInput(f"{key} is missing; got {shortened(', '.join(request)) or 'an empty object'}")
    return request[key]


def _vector(what: str, values: Any, size: int) -> Array:
    if type(values) is not list:
        raise InvalidInput(f"{what}: expected a list of {size} numbers, got {_kind(values)}")
    if len(values) != size:
        raise InvalidInput(f"{what}: expected {size} numbers, got {len(values)}")
    if not set(map(type, values)) <= {float, int}:  # numpy would read "1" and true as numbers
        j = next(j for j, value in enumerate(values) if type(value) not in (float, int))
        raise InvalidInput(f"{what}[{j}]: expected a number, got {_kind(values[j])}")
    # The parser made infinite no number, and integers of any length floats.
    return np.array(values, dtype=np.float64)


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value:g}" if math.isfinite(value) else "an infinite number"
    return {str: "a text", list: "a list", dict: "an object"}[type(value)]
