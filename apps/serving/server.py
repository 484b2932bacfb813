"""The HTTP side: an aiohttp application that speaks the UM-Bridge protocol for a set of models, from start to stop.

Whatever arrives is answered with JSON, errors as the protocol's own; `/` is left free for other routes. SIGTERM or Ctrl-C
ends the listening, and what was asked is still answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, Literal

import orjson
from aiohttp import web

from gnvpro.apps.serving import um_bridge
from gnvpro.apps.serving.served import ServedModel

# Seconds that requests in work get once the server is told to stop.
GRACE = 60.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one client cannot use up: bytes of one request, requests in work, and seconds until a body has arrived."""

    body: int = 1_000_000
    requests: int = 256
    read_seconds: float = um_bridge.READ_SECONDS


Level = Literal["requests", "errors", "none"]
_LONGEST = 300  # characters of a field of the log


class RequestLog:
    """Writes what the level asks for: everything, what went wrong, or nothing but events of the server.

    A log that cannot be written, because its reader is gone, does not stop the server.
    """

    def __init__(self, level: Level = "requests", stream: BinaryIO | None = None):
        self._level, self._stream = level, stream or sys.stderr.buffer

    def event(self, event: str, **fields: object) -> None:
        """Something about the server itself."""
        self._write({"time": _now(), "event": event, **fields})

    def request(self, method: str, path: str, model: str, status: int, seconds: float, error: str) -> None:
        """A request that was answered; `model` and `error` empty where there is none."""
        if self._level == "none" or (self._level == "errors" and status < 400):
            return
        fields: dict[str, object] = {"time": _now(), "event": "request", "method": method, "path": path[:_LONGEST]}
        if model:
            fields["model"] = model[:_LONGEST]
        fields |= {"status": status, "ms": round(1e3 * seconds, 3)}
        if error:
            fields["error"] = error[:_LONGEST]
        self._write(fields)

    def defect(self, error: BaseException) -> None:
        """An error nobody foresaw, with its traceback."""
        self._write({"time": _now(), "event": "defect", "traceback": "".join(traceback.format_exception(error))})

    def _write(self, fields: dict[str, object]) -> None:
        try:
            self._stream.write(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE))
            self._stream.flush()
        except (OSError, ValueError):
            pass


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class Counts:
    """What the server has done: requests in work, answered, and answered with an error."""

    in_work: int = 0
    answered: int = 0
    errors: int = 0


MODELS = web.AppKey("models", Mapping[str, ServedModel])
LIMITS = web.AppKey("limits", Limits)
COUNTS = web.AppKey("counts", Counts)
LOG = web.AppKey("log", RequestLog)
_MODEL_NAME = web.RequestKey("model_name", str)


def make_app(
    models: Mapping[str, ServedModel], limits: Limits | None = None, log: RequestLog | None = None
) -> web.Application:
    """The application; `app[MODELS]` are its models, closed when it is cleaned up."""
    limits = limits or Limits()
    app = web.Application(middlewares=[_answer_everything], client_max_size=limits.body)
    app[MODELS], app[LIMITS], app[COUNTS], app[LOG] = models, limits, Counts(), log or RequestLog("none")
    app.add_routes(
        [
            web.get("/health", _health),
            web.get("/Info", _info),
            web.post("/InputSizes", _about(lambda model: {"inputSizes": [model.n_in]})),
            web.post("/OutputSizes", _about(lambda model: {"outputSizes": [model.n_out]})),
            web.post("/ModelInfo", _about(lambda model: {"support": model.support})),
            *(web.post(f"/{operation}", _operation(operation)) for operation in um_bridge.OPERATIONS),
        ]
    )
    app.on_cleanup.append(_close)
    return app


@web.middleware
async def _answer_everything(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Counts, refuses what is too much, turns every error into an answer, and logs."""
    began, counts, log, error = time.perf_counter(), request.app[COUNTS], request.app[LOG], ""
    counts.in_work += 1
    try:
        if counts.in_work > request.app[LIMITS].requests and request.path != "/health":
            raise um_bridge.InvalidOutput(f"busy with {counts.in_work - 1} requests; try again later", 503)
        response = await handler(request)
    except um_bridge.ProtocolError as refused:
        response, error = _refusal(refused)
    except web.HTTPException as http:
        if http.status < 400:
            raise
        response, error = _refusal(_as_protocol_error(request, http))
        if "Allow" in http.headers:
            response.headers["Allow"] = http.headers["Allow"]
    except Exception as defect:
        log.defect(defect)
        failed = f"the server failed ({type(defect).__name__}); its log says how"
        response, error = _refusal(um_bridge.InvalidOutput(failed))
    finally:
        counts.in_work -= 1
    counts.answered += 1
    counts.errors += bool(error)
    log.request(
        request.method, request.path, request.get(_MODEL_NAME, ""), response.status, time.perf_counter() - began, error
    )
    return response


def _refusal(error: um_bridge.ProtocolError) -> tuple[web.Response, str]:
    """The answer, and what the log says."""
    response = _json(error.answer(), error.status)
    if error.status == 503:
        response.headers["Retry-After"] = "1"
    return response, f"{error.type}: {error}"


def _as_protocol_error(request: web.Request, error: web.HTTPException) -> um_bridge.ProtocolError:
    if error.status in (404, 405):
        return um_bridge.UnsupportedFeature(f"{request.method} {request.path[:100]} is not offered here", error.status)
    return um_bridge.InvalidInput(str(error.reason), error.status)


def _json(answer: Mapping[str, object], status: int = 200) -> web.Response:
    """Arrays as lists, numbers in the digits that give them back."""
    body = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    return web.Response(body=body, status=status, headers={"Content-Type": "application/json"})


async def _model_and_content(request: web.Request) -> tuple[ServedModel, dict]:
    content = await um_bridge.read(request, request.app[LIMITS].read_seconds)
    name = um_bridge.model_name(content)
    request[_MODEL_NAME] = name
    models = request.app[MODELS]
    if name not in models:
        raise um_bridge.ModelNotFound(f"model {name[:100]!r} is not served; expected one of {', '.join(models)}")
    return models[name], content


def _operation(operation: str) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        model, content = await _model_and_content(request)
        return _json(await model.answer(operation, content))

    return handle


def _about(say: Callable[[ServedModel], dict[str, object]]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return _json(say((await _model_and_content(request))[0]))

    return handle


async def _info(request: web.Request) -> web.Response:
    return _json({"protocolVersion": um_bridge.VERSION, "models": list(request.app[MODELS])})


async def _health(request: web.Request) -> web.Response:
    counts = request.app[COUNTS]
    about = {"status": "ok", "models": list(request.app[MODELS]), "requests_in_work": counts.in_work - 1}
    return _json({**about, "answered": counts.answered, "errors": counts.errors})


async def _close(app: web.Application) -> None:
    for model in app[MODELS].values():
        await asyncio.to_thread(model.close)


def run_until_stopped(app: web.Application, host: str, port: int) -> Counts:
    """Serve until SIGTERM or SIGINT; a second signal ends the process at once. OSError where the address cannot be had."""
    try:
        from uvloop import Loop as fast_loop
    except ImportError:  # there is none for Windows
        fast_loop = None
    with asyncio.Runner(loop_factory=fast_loop) as runner:
        return runner.run(_serve(app, host, port))


async def _serve(app: web.Application, host: str, port: int) -> Counts:
    log = app[LOG]
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=1024)
        await site.start()
        stop = _stop_signal()
        shown = f"[{host}]" if ":" in host else host  # IPv6
        log.event("listening", url=f"http://{shown}:{runner.addresses[0][1]}", models=list(app[MODELS]))
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
