"""The page for people: sliders, the predicted observables as a picture, and the PDE at the same point.

The routes are added to any aiohttp application. Surrogates are evaluated in a pool of threads; PDEs in one thread of
their own, since FEniCSx objects belong to the thread they were made in and a solve may take seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from aiohttp import web

from gnvpro.apps.serving import um_bridge
from gnvpro.apps.serving.page.description import band_of, describe, raster_of
from gnvpro.apps.serving.page.files import html, script
from gnvpro.apps.serving.page.own_data import MOST_TEXT, fit, overlay, posterior_of
from gnvpro.apps.serving.page.point import Bands, Shown, timed
from gnvpro.apps.serving.page.scale import Range
from gnvpro.apps.serving.served import ModelFailed
from gnvpro.pde_data.problems.scene import Scene
from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Array

# Solves, and fits, that may wait for the one under way; whoever comes later is told to try again.
MOST_SOLVES, MOST_FITS = 4, 2
_log = logging.getLogger(__name__)


def page_routes(
    models: Mapping[str, ForwardModel],
    pde: Mapping[str, ForwardModel],
    *,
    bands: Bands = band_of,
    scenes: Mapping[str, Scene] | None = None,
    pde_threads: Mapping[str, Executor] | None = None,
    read_seconds: float = um_bridge.READ_SECONDS,
) -> list[web.RouteDef]:
    """GET `/`, `/page/models` and `/page/files/…`, POST `/page/evaluate`, `scale`, `matters`, `solve`, `observations`, `fit`.

    Parameters
    ----------
    models
        By the name they are shown under.
    pde
        The PDE behind some of them, by the same names: those get the button that solves it. One that makes objects of
        FEniCSx when it is created has to be solved by the thread it was created in: give a `SolverProcess` of it.
    bands
        Where error bands come from.
    scenes
        What some of them show of their domain, parameters (n_in,) to views: see `gnvpro.pde_data.problems.scene`.
    pde_threads
        Executors of one thread by the names in `pde`, where something else in the process solves them too; without, one
        thread solves all.
    read_seconds
        Until the body of a request has arrived.
    """
    alone = ThreadPoolExecutor(1, thread_name_prefix="pde")  # starts no thread before it has work
    threads = {name: (pde_threads or {}).get(name, alone) for name in pde}
    page = _Page(models, pde, bands, scenes or {}, threads, read_seconds)
    operations = {
        "evaluate": page.evaluate,
        "scale": page.scale,
        "matters": page.matters,
        "solve": page.solve,
        "observations": page.observations,
        "fit": page.fit,
    }
    return [
        web.get("/", html),
        web.get("/page/files/{name}", script),
        web.get("/page/models", page.description),
        *(web.post(f"/page/{name}", _refusing(handler)) for name, handler in operations.items()),
    ]


Handler = Callable[[web.Request], Awaitable[web.Response]]


def _json(answer: Any) -> web.Response:
    """Arrays as lists, null for what is not finite."""
    body = orjson.dumps(answer, default=np.ndarray.tolist, option=orjson.OPT_SERIALIZE_NUMPY)  # of strided arrays
    return web.Response(body=body, content_type="application/json")


def _refusing(handler: Handler) -> Handler:
    """Refusals are answers and not aiohttp's exceptions, which a server around this may put into words of its own."""

    async def answered(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except um_bridge.ProtocolError as refused:
            return web.json_response({"error": str(refused)}, status=refused.status)

    return answered


@dataclass(eq=False)
class _Line:
    """Work of which so much may be under way or wait; what began goes on when the browser leaves, and counts as long."""

    most: int
    busy: str
    n: int = 0

    def require_room(self) -> None:
        """Refuses whoever comes later."""
        if self.n >= self.most:
            raise um_bridge.InvalidInput(f"{self.busy}; try again in a moment", 503)

    async def until_done[T](self, work: asyncio.Future[T]) -> T:
        """What comes of it."""
        self.n += 1
        work.add_done_callback(self._one_less)
        return await asyncio.shield(work)

    def _one_less(self, work: asyncio.Future[Any]) -> None:
        self.n -= 1
        if not work.cancelled():
            work.exception()  # whoever asked may have left


@dataclass(eq=False)
class _Page:
    models: Mapping[str, ForwardModel]
    pde: Mapping[str, ForwardModel]
    bands: Bands
    scenes: Mapping[str, Scene]
    threads: Mapping[str, Executor]
    read_seconds: float
    solves: _Line = field(default_factory=lambda: _Line(MOST_SOLVES, "the PDE is busy with others' points"))
    fits: _Line = field(default_factory=lambda: _Line(MOST_FITS, "others' data are being fitted"))
    solved_before: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        rasters = {name: raster_of(model) for name, model in self.models.items()}
        self.shown = {
            name: Shown(model, rasters[name], self.bands, self.scenes.get(name)) for name, model in self.models.items()
        }
        self.ranges = {name: Range(model, rasters[name]) for name, model in self.models.items()}
        self.described = [describe(name, model, name in self.pde, rasters[name]) for name, model in self.models.items()]

    async def description(self, request: web.Request) -> web.Response:
        """What there is to draw."""
        most = min(MOST_TEXT, request.client_max_size or MOST_TEXT)
        return _json({"models": self.described, "most_text": most})

    async def evaluate(self, request: web.Request) -> web.Response:
        """Observables at a point, its band, and whether it is in the training range; or why it is no point."""
        name, y = self._point(await um_bridge.read(request, self.read_seconds))
        return _json(await self._run(self.models[name], self.shown[name].at, y))

    async def scale(self, request: web.Request) -> web.Response:
        """The scale of the picture that holds at all points; of a PDE, which takes long, none."""
        name = self._model(await um_bridge.read(request, self.read_seconds))
        if self._thread(self.models[name]) is not None:
            return _json({"scale": None})
        return _json({"scale": await self._run(self.models[name], lambda: self.ranges[name].scale)})

    async def matters(self, request: web.Request) -> web.Response:
        """How much each parameter matters at a point."""
        name, y = self._point(await um_bridge.read(request, self.read_seconds))
        model = self.models[name]
        if self._thread(model) is not None or not model.parameters.contains(y)[0]:
            return _json({"matters": None})
        return _json({"matters": await self._run(model, self.ranges[name].matters, y[0])})

    async def observations(self, request: web.Request) -> web.Response:
        """Observations of a text, as the picture shows them."""
        name, text, source, noise = self._own_data(await um_bridge.read(request, self.read_seconds))
        return _json(await self._said(name, lambda: overlay(*posterior_of(self.models[name], text, source, noise))))

    async def fit(self, request: web.Request) -> web.Response:
        """The most probable point given them."""
        name, text, source, noise = self._own_data(await um_bridge.read(request, self.read_seconds))
        self.fits.require_room()
        fitting = self._said(name, lambda: fit(posterior_of(self.models[name], text, source, noise)[0]))
        return _json(await self.fits.until_done(asyncio.ensure_future(fitting)))

    async def _said(self, name: str, work: Callable[[], Any]) -> Any:
        try:
            return await self._run(self.models[name], work)
        except (UsageError, NumericalFailure, ModelFailed) as refused:
            raise um_bridge.InvalidInput(str(refused), 422) from None

    async def solve(self, request: web.Request) -> web.Response:
        """Observables by the PDE and how far the surrogate is from them."""
        name, y = self._point(await um_bridge.read(request, self.read_seconds))
        if name not in self.pde:
            raise um_bridge.InvalidInput(f"there is no PDE for {name!r}", 404)
        problem, model = self.pde[name], self.models[name]
        try:
            problem.parameters.require(y)
        except ValueError as error:
            why = str(error).partition("not in the space: ")[2] or str(error)
            raise um_bridge.InvalidInput(f"the PDE is not defined here: {why}", 422) from None
        self.solves.require_room()
        first = id(problem) not in self.solved_before
        try:
            solved, seconds = await self.solves.until_done(self._run(problem, timed, problem, y))
        except ModelFailed as failure:
            raise um_bridge.InvalidInput(str(failure), 422) from None
        except Exception as error:  # of a problem's own code
            _log.exception("the PDE of %s failed at %s", name, y.tolist())
            why = f"{type(error).__name__}: {error}"
            raise um_bridge.InvalidInput(f"the PDE could not be solved here ({why})", 422) from None
        if not np.isfinite(solved).all():
            raise um_bridge.InvalidInput("the PDE has no solution here that the solver finds", 422)
        self.solved_before.add(id(problem))
        predicted, surrogate_seconds = await self._run(model, timed, model, y)
        return _json(
            {
                "observables": self.shown[name].drawn(solved)[0],
                "seconds": seconds,
                "with_setup": first,
                "surrogate_seconds": surrogate_seconds,
                "difference": self.shown[name].difference(predicted, solved),
            }
        )

    def _run[T](self, model: ForwardModel, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Off the event loop."""
        return asyncio.get_running_loop().run_in_executor(self._thread(model), work, *arguments)

    def _thread(self, model: ForwardModel) -> Executor | None:
        """That of the PDEs, also for a PDE that is shown as a model of its own; None of others."""
        return next((self.threads[name] for name, problem in self.pde.items() if problem is model), None)

    def _model(self, content: dict[str, Any]) -> str:
        name = um_bridge.model_name(content, "model")
        if name not in self.models:
            raise um_bridge.InvalidInput(f"no model {name!r}; there are {', '.join(self.models)}", 404)
        return name

    def _point(self, content: dict[str, Any]) -> tuple[str, Array]:
        """Model and point (1, n_in) of a request, or the refusal that says what was expected."""
        name = self._model(content)
        return name, um_bridge.vector(content, "parameters", self.models[name].parameters.size)[None]

    def _own_data(self, content: dict[str, Any]) -> tuple[str, str, str, str]:
        """Model, text, the name of its file and the noise."""
        name, given = self._model(content), [content.get(key, "") for key in ("text", "name", "noise")]
        if not all(isinstance(one, str) for one in given) or not given[0].strip():
            raise um_bridge.InvalidInput("expected the text of a table or of JSON as `text`, its `name`, and `noise`")
        return name, *given
