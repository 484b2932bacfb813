"""Connections of the server: how many there are, how long one may keep it waiting, and what is no HTTP.

Whoever holds connections or half-sent requests open takes nothing from others: where there are too many, the one that the
server has waited for longest is let go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from aiohttp import web

from gnvpro.apps.serving.um_bridge import InvalidInput

# Until the head of the next request has arrived; longer than proxies keep an idle connection, so that they end it.
IDLE_SECONDS = 75.0
# What is left of a body that was refused is read so long, that the client sees why.
LINGER_SECONDS = 2.0


class Waiting:
    """Bodies that are on their way: at most so many."""

    def __init__(self, most: int):
        self._most, self._limits = most, dict[asyncio.Timeout, None]()

    @asynccontextmanager
    async def arrival(self, seconds: float) -> AsyncIterator[None]:
        """TimeoutError after so many seconds, or earlier when others wait for places and this is the oldest."""
        async with asyncio.timeout(seconds) as limit:
            self._limits[limit] = None
            if len(self._limits) > self._most:
                self._end(next(iter(self._limits)))
            try:
                yield
            finally:
                self._limits.pop(limit, None)

    def end_all(self) -> None:
        """Wait for none any longer."""
        for limit in list(self._limits):
            self._end(limit)

    def _end(self, limit: asyncio.Timeout) -> None:
        del self._limits[limit]
        if not limit.expired():
            limit.reschedule(0)


class Connections:
    """Those that are open: at most so many, in the order of their last answers."""

    def __init__(self, most: int):
        self._most, self._at_work = most, dict[asyncio.BaseTransport | None, bool]()

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """One more; closes the one that did nothing for longest where that is too many."""
        self._at_work[transport] = False
        if len(self._at_work) > self._most:
            idle = next(each for each, at_work in self._at_work.items() if not at_work)
            del self._at_work[idle]
            cast(asyncio.Transport, idle).abort()  # uvloop's is no subclass

    def closed(self, transport: asyncio.BaseTransport | None) -> None:
        """One less."""
        self._at_work.pop(transport, None)

    def begin(self, transport: asyncio.BaseTransport | None) -> None:
        """Its request has arrived, and is being answered."""
        if transport in self._at_work:
            self._at_work[transport] = True

    def end(self, transport: asyncio.BaseTransport | None) -> None:
        """It has been: the connection goes to the end of the order."""
        if self._at_work.pop(transport, None) is not None:
            self._at_work[transport] = False


class Connection(web.RequestHandler):
    """aiohttp's, less its texts and tracebacks: `refused` makes, counts and logs the answers to what reaches no route."""

    def __init__(
        self,
        server: web.Server,
        connections: Connections,
        refused: Callable[[web.BaseRequest, Exception], web.Response],
    ):
        options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": IDLE_SECONDS,
            "lingering_time": LINGER_SECONDS,
        }
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._connections, self._refused, self._opened = connections, refused, None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Counts it."""
        super().connection_made(transport)
        self._opened = transport
        self._connections.opened(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Counts it no longer."""
        self._connections.closed(self._opened)
        super().connection_lost(exc)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The last answer of a connection: to what is no HTTP, or to a defect outside of all routes."""
        error = exc if status >= 500 and isinstance(exc, Exception) else InvalidInput(_not_http(message or str(exc)))
        response = self._refused(request, error)
        response.force_close()
        return response

    def log_exception(self, *args: Any, exc_info: Any = None, **kw: Any) -> None:
        """Not that a body is damaged, which has been answered before what is left of it is read."""
        if not isinstance(exc_info, web.RequestPayloadError):
            super().log_exception(*args, exc_info=exc_info, **kw)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends; aiohttp's own refusals, of an `Expect` that is unknown, in the words of the protocol."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = self._refused(request, InvalidInput(str(resp.reason), resp.status))
        return await super().finish_response(request, resp, start_time)


def _not_http(message: str) -> str:
    return f"expected HTTP: {' '.join(message.split())[:200]}"
