"""The HTTP side: an aiohttp application that speaks the UM-Bridge protocol for a set of models, from start to stop.

Whatever arrives is answered with JSON, errors as the protocol's own; `/` is left free for other routes. SIGTERM or Ctrl-C
ends the listening, and what was asked is still answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import orjson
from aiohttp import web

from gnvpro.apps.serving import um_bridge
from gnvpro.apps.serving.connections import Connection, Connections, Waiting
from gnvpro.apps.serving.hosts import Hosts
from gnvpro.apps.serving.request_log import RequestLog, everything_in
from gnvpro.apps.serving.served import OUTSIDE, UNSOLVED, ServedModel

# Seconds that requests in work get once the server is told to stop.
GRACE = 60.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one client cannot use up: bytes of one request, requests in work, and seconds until a body has arrived.

    So many requests may be on their way beside those in work, over twice as many connections.
    """

    body: int = 1_000_000
    requests: int = 256
    read_seconds: float = um_bridge.READ_SECONDS


@dataclass
class Counts:
    """What the server has done: requests in work, answered, answered with an error, and with something else than a result.

    `outside` and `unsolved` are points where there was nothing to compute, or where that failed.
    """

    in_work: int = 0
    answered: int = 0
    errors: int = 0
    outside: int = 0
    unsolved: int = 0

    @property
    def totals(self) -> dict[str, int]:
        """Of what has been answered."""
        return {name: getattr(self, name) for name in ("answered", "errors", OUTSIDE, UNSOLVED)}


MODELS = web.AppKey("models", Mapping[str, ServedModel])
LIMITS = web.AppKey("limits", Limits)
COUNTS = web.AppKey("counts", Counts)
LOG = web.AppKey("log", RequestLog)
HOSTS = web.AppKey("hosts", Hosts)
WAITING = web.AppKey("waiting", Waiting)
CONNECTIONS = web.AppKey("connections", Connections)
_MODEL_NAME = web.RequestKey("model_name", str)
# Why the answer is not what was computed at the point, by its key beside `output`.
_REMARK = web.RequestKey("remark", dict[str, str])


def make_app(
    models: Mapping[str, ServedModel],
    limits: Limits | None = None,
    log: RequestLog | None = None,
    hosts: Hosts | None = None,
) -> web.Application:
    """The application; `app[MODELS]` are its models, closed when it is cleaned up."""
    limits = limits or Limits()
    app = web.Application(middlewares=[_answer_everything], client_max_size=limits.body)
    app[MODELS], app[LIMITS], app[COUNTS], app[LOG] = models, limits, Counts(), log or RequestLog("none")
    app[HOSTS], app[WAITING], app[CONNECTIONS] = (
        hosts or Hosts(),
        Waiting(limits.requests),
        Connections(2 * limits.requests),
    )
    app.add_routes(
        [
            web.get("/health", _health),
            web.get("/Info", _info),
            web.post("/InputSizes", _about(lambda model: {"inputSizes": [model.n_in]})),
            web.post("/OutputSizes", _about(lambda model: {"outputSizes": [model.n_out]})),
            web.post("/ModelInfo", _about(lambda model: {"support": model.support, **model.about})),
            web.get("/description", _description),
            *(web.post(f"/{operation}", _operation(operation)) for operation in um_bridge.OPERATIONS),
        ]
    )
    app.on_shutdown.append(_wait_for_no_bodies)
    app.on_cleanup.append(_close)
    return app


async def _wait_for_no_bodies(app: web.Application) -> None:
    app[WAITING].end_all()


@web.middleware
async def _answer_everything(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Counts, refuses what is too much, turns every error into an answer, and logs."""
    began, app, error = time.perf_counter(), request.app, ""
    try:
        app[HOSTS].refuse_strangers(request)
        await _arrived(request)
        response = await _in_work(request, handler)
    except um_bridge.ProtocolError as refused:
        response, error = _refusal(refused)
    except web.HTTPException as http:
        if http.status < 400:
            raise
        response, error = _refusal(_as_protocol_error(request, http))
        if "Allow" in http.headers:
            response.headers["Allow"] = http.headers["Allow"]
    except Exception as defect:
        response, error = _defect(app, defect)
    _finish(app, request, response, began, error, request.get(_MODEL_NAME, ""), request.get(_REMARK))
    return response


async def _arrived(request: web.Request) -> None:
    """When the body is there: before, a request has no place among those in work."""
    if not request.content.is_eof():
        await um_bridge.read_body(request, request.app[LIMITS].read_seconds, request.app[WAITING].arrival)


async def _in_work(request: web.Request, handler: Handler) -> web.StreamResponse:
    counts, most = request.app[COUNTS], request.app[LIMITS].requests
    counts.in_work += 1
    try:
        if counts.in_work > most and request.path != "/health":
            raise um_bridge.InvalidOutput(f"busy with {counts.in_work - 1} requests; try again later", 503)
        request.app[CONNECTIONS].begin(request.transport)
        return await handler(request)
    finally:
        request.app[CONNECTIONS].end(request.transport)
        counts.in_work -= 1


def _finish(
    app: web.Application,
    request: web.BaseRequest,
    response: web.StreamResponse,
    began: float,
    error: str,
    model: str = "",
    remark: Mapping[str, str] | None = None,
) -> None:
    """Every answer passes here: no browser guesses what it is, and it is counted and logged."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    counts, remark = app[COUNTS], remark or {}
    counts.answered += 1
    counts.errors += bool(error)
    counts.outside += OUTSIDE in remark
    counts.unsolved += UNSOLVED in remark
    seconds = time.perf_counter() - began
    app[LOG].request(request.method, request.path, model, response.status, seconds, error, remark)


def _refused_outside(app: web.Application, request: web.BaseRequest, error: Exception) -> web.Response:
    """The answer to what does not get as far as a route."""
    response, said = _refusal(error) if isinstance(error, um_bridge.ProtocolError) else _defect(app, error)
    _finish(app, request, response, time.perf_counter(), said)
    return response


def _defect(app: web.Application, defect: Exception) -> tuple[web.Response, str]:
    app[LOG].defect(defect)
    return _refusal(
        um_bridge.InvalidOutput(f"the server failed ({type(defect).__name__}: {defect}); its log says where")
    )


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
    content = await um_bridge.read(request)
    name = um_bridge.model_name(content)
    request[_MODEL_NAME] = name
    models = request.app[MODELS]
    if name not in models:
        raise um_bridge.ModelNotFound(f"model {name[:100]!r} is not served; expected one of {', '.join(models)}")
    return models[name], content


def _operation(operation: str) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        model, content = await _model_and_content(request)
        answer = await model.answer(operation, content)
        if remark := {key: answer[key] for key in (OUTSIDE, UNSOLVED) if key in answer}:
            request[_REMARK] = remark
        return _json(answer)

    return handle


def _about(say: Callable[[ServedModel], dict[str, object]]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return _json(say((await _model_and_content(request))[0]))

    return handle


async def _info(request: web.Request) -> web.Response:
    return _json({"protocolVersion": um_bridge.VERSION, "models": list(request.app[MODELS])})


async def _description(request: web.Request) -> web.Response:
    models = request.app[MODELS]
    return _json({"models": {name: {"support": model.support, **model.about} for name, model in models.items()}})


async def _health(request: web.Request) -> web.Response:
    counts = request.app[COUNTS]
    about = {"status": "ok", "models": list(request.app[MODELS]), "requests_in_work": counts.in_work - 1}
    return _json({**about, **counts.totals})


async def _close(app: web.Application) -> None:
    for model in dict.fromkeys(app[MODELS].values()):  # one may have two names
        await asyncio.to_thread(model.close)


def run_until_stopped(app: web.Application, host: str, port: int) -> Counts:
    """Serve until SIGTERM or SIGINT; a second signal ends the process at once. OSError where the address cannot be had."""
    try:
        from uvloop import Loop as fast_loop
    except ImportError:  # there is none for Windows
        fast_loop = None
    with everything_in(app[LOG]), asyncio.Runner(loop_factory=fast_loop) as runner:
        return runner.run(_serve(app, host, port))


async def _serve(app: web.Application, host: str, port: int) -> Counts:
    log, counts = app[LOG], app[COUNTS]
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE)
    await runner.setup()
    try:
        assert runner.server is not None
        connection = partial(Connection, runner.server, app[CONNECTIONS], partial(_refused_outside, app))
        listening = await asyncio.get_running_loop().create_server(connection, host, port, backlog=1024)
        try:
            stop = _stop_signal()
            shown, port = f"[{host}]" if ":" in host else host, listening.sockets[0].getsockname()[1]  # IPv6
            log.event("listening", url=f"http://{shown}:{port}", models=list(app[MODELS]))
            await stop.wait()
            log.event("stopping", requests_in_work=counts.in_work)
        finally:
            listening.close()
    finally:
        await runner.cleanup()
    log.event("stopped", **counts.totals)
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
