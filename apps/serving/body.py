"""The body of a request, within limits of size and time: nobody holds a place in the server by sending nothing."""

from __future__ import annotations

import asyncio

from aiohttp import web

READ_SECONDS = 30.0


class BodyRefused(Exception):
    """A body that is too large, too slow or damaged; the text says what was expected.

    Attributes
    ----------
    status
        Of HTTP.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def read_body(request: web.Request, seconds: float = READ_SECONDS) -> bytes:
    """All of it, at most what the application allows (`client_max_size`).

    Raises
    ------
    BodyRefused
        413, 408 or 400.
    """
    largest = request.client_max_size
    too_large = BodyRefused(413, f"expected at most {largest} bytes; see --max-body")
    if 0 < largest < (request.content_length or 0):  # said beforehand: not a byte is read
        raise too_large
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        raise BodyRefused(408, f"the request did not arrive within {seconds:g} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise BodyRefused(400, f"the body cannot be read: {' '.join(str(error).split())}") from None
