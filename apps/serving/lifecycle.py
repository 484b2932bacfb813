"""From listening to a clean stop: SIGTERM or Ctrl-C ends the listening, and what was asked is still answered."""

from __future__ import annotations

import asyncio
import contextlib
import signal

from aiohttp import web

from gnvpro.apps.serving.server import COUNTS, LOG, MODELS, Counts

# Seconds that requests in work get once the server is told to stop.
GRACE = 60.0


def run_until_stopped(app: web.Application, host: str, port: int) -> Counts:
    """Serve until SIGTERM or SIGINT; a second signal ends the process at once.

    Parameters
    ----------
    port
        0 for any free one; the log says which.

    Raises
    ------
    OSError
        The address cannot be had.
    """
    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        return runner.run(_serve(app, host, port))


def _fast_loop() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return None
    return uvloop.Loop


async def _serve(app: web.Application, host: str, port: int) -> Counts:
    log = app[LOG]
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=1024)
        await site.start()
        stop = _stop_signal()
        log.event("listening", url=_url(host, runner.addresses[0]), models=list(app[MODELS]))
        await stop.wait()
        log.event("stopping", requests_in_work=app[COUNTS].in_work)
    finally:
        await runner.cleanup()
    counts = app[COUNTS]
    log.event("stopped", answered=counts.answered, errors=counts.errors)
    return counts


def _stop_signal() -> asyncio.Event:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def first() -> None:
        stop.set()
        for each in (signal.SIGTERM, signal.SIGINT):  # the second has its usual effect
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, first)
    return stop


def _url(host: str, address: tuple) -> str:
    shown = f"[{host}]" if ":" in host else host  # IPv6
    return f"http://{shown}:{address[1]}"
