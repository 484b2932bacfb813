"""The HTTP side: an aiohttp application that speaks the UM-Bridge protocol for a set of models.

Whatever arrives is answered with JSON, errors as the protocol's own. `/` is left free; more routes may be added:

    app = make_app(models)
    app.add_routes(...)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from gnvpro.apps.serving import um_bridge
from gnvpro.apps.serving.body import READ_SECONDS, BodyRefused, read_body
from gnvpro.apps.serving.request_log import RequestLog
from gnvpro.apps.serving.served import ServedModel

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one client cannot use up.

    Attributes
    ----------
    body
        Bytes of one request.
    requests
        Requests in work at one time; more are refused with status 503.
    read_seconds
        Until the body of a request has arrived.
    """

    body: int = 1_000_000
    requests: int = 256
    read_seconds: float = READ_SECONDS


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
            web.post("/InputSizes", _input_sizes),
            web.post("/OutputSizes", _output_sizes),
            web.post("/ModelInfo", _model_info),
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
        try:
            if counts.in_work > request.app[LIMITS].requests and request.path != "/health":
                raise um_bridge.InvalidOutput(f"busy with {counts.in_work - 1} requests; try again later", 503)
            response = await handler(request)
        except um_bridge.ProtocolError as refused:
            response, error = _refusal(refused), f"{refused.type}: {refused}"
        except web.HTTPException as http:
            if http.status < 400:
                raise
            refused = _as_protocol_error(request, http)
            response, error = _refusal(refused), f"{refused.type}: {refused}"
            if "Allow" in http.headers:
                response.headers["Allow"] = http.headers["Allow"]
        except Exception as defect:
            log.defect(defect)
            refused = um_bridge.InvalidOutput(f"the server failed ({type(defect).__name__}); its log says how")
            response, error = _refusal(refused), f"{refused.type}: {refused}"
    finally:
        counts.in_work -= 1
    counts.answered += 1
    counts.errors += bool(error)
    log.request(
        request.method, request.path, request.get(_MODEL_NAME, ""), response.status, time.perf_counter() - began, error
    )
    return response


def _refusal(error: um_bridge.ProtocolError) -> web.Response:
    response = _json(error.body(), error.status)
    if error.status == 503:
        response.headers["Retry-After"] = "1"
    return response


def _as_protocol_error(request: web.Request, error: web.HTTPException) -> um_bridge.ProtocolError:
    if error.status in (404, 405):
        return um_bridge.UnsupportedFeature(f"{request.method} {request.path[:100]} is not offered here", error.status)
    return um_bridge.InvalidInput(str(error.reason), error.status)


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, headers={"Content-Type": "application/json"})


async def _model_and_content(request: web.Request) -> tuple[ServedModel, dict]:
    try:
        content = um_bridge.parse(await read_body(request, request.app[LIMITS].read_seconds))
    except BodyRefused as refused:
        raise um_bridge.InvalidInput(str(refused), refused.status) from None
    name = um_bridge.model_name(content)
    request[_MODEL_NAME] = name
    models = request.app[MODELS]
    if name not in models:
        raise um_bridge.ModelNotFound(f"model {name[:100]!r} is not served; expected one of {', '.join(models)}")
    return models[name], content


def _operation(operation: str) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        model, content = await _model_and_content(request)
        return _json(um_bridge.encode(await model.answer(operation, content)))

    return handle


async def _info(request: web.Request) -> web.Response:
    return _json(um_bridge.encode({"protocolVersion": um_bridge.VERSION, "models": list(request.app[MODELS])}))


async def _input_sizes(request: web.Request) -> web.Response:
    return _json(um_bridge.encode({"inputSizes": [(await _model_and_content(request))[0].n_in]}))


async def _output_sizes(request: web.Request) -> web.Response:
    return _json(um_bridge.encode({"outputSizes": [(await _model_and_content(request))[0].n_out]}))


async def _model_info(request: web.Request) -> web.Response:
    return _json(um_bridge.encode({"support": (await _model_and_content(request))[0].support}))


async def _health(request: web.Request) -> web.Response:
    counts = request.app[COUNTS]
    about = {
        "status": "ok",
        "models": list(request.app[MODELS]),
        "requests_in_work": counts.in_work - 1,
        "answered": counts.answered,
        "errors": counts.errors,
    }
    return _json(um_bridge.encode(about))


async def _close(app: web.Application) -> None:
    for model in app[MODELS].values():
        await asyncio.to_thread(model.close)
