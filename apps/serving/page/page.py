"""The page for people: sliders, the predicted observables as a picture, and the PDE at the same point.

The routes are added to any aiohttp application. Surrogates are evaluated in a pool of threads; PDEs in one thread of
their own, since FEniCSx objects belong to the thread they were made in and a solve may take seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
from aiohttp import web

from gnvpro.apps.serving import um_bridge
from gnvpro.apps.serving.page.description import Band, band_of, describe, outside, raster_of
from gnvpro.apps.serving.served import ModelFailed
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Array

# Solves that may wait for the one under way; whoever comes later is told to try again.
MOST_SOLVES = 4
# The page needs nothing from elsewhere, and the browser is told so.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_log = logging.getLogger(__name__)

# (model, parameters (1, n_in), its observables (1, n_out)) -> the error band around them, or None where there is none.
Bands = Callable[[ForwardModel, Array, Array], Band | None]


def page_routes(
    models: Mapping[str, ForwardModel],
    pde: Mapping[str, ForwardModel],
    *,
    bands: Bands = band_of,
    pde_threads: Mapping[str, Executor] | None = None,
    read_seconds: float = um_bridge.READ_SECONDS,
) -> list[web.RouteDef]:
    """GET `/` and `/page/models`, POST `/page/evaluate` and `/page/solve`.

    Parameters
    ----------
    models
        By the name they are shown under.
    pde
        The PDE behind some of them, by the same names: those get the button that solves it. One that makes objects of
        FEniCSx when it is created has to be solved by the thread it was created in: give a `SolverProcess` of it.
    bands
        Where error bands come from.
    pde_threads
        Executors of one thread by the names in `pde`, where something else in the process solves them too; without, one
        thread solves all.
    read_seconds
        Until the body of a request has arrived.
    """
    alone = ThreadPoolExecutor(1, thread_name_prefix="pde")  # starts no thread before it has work
    threads = {name: (pde_threads or {}).get(name, alone) for name in pde}
    page = _Page(models, pde, bands, threads, read_seconds)
    return [
        web.get("/", page.html),
        web.get("/page/models", page.description),
        web.post("/page/evaluate", _refusing(page.evaluate)),
        web.post("/page/solve", _refusing(page.solve)),
    ]


Handler = Callable[[web.Request], Awaitable[web.Response]]


def _refusing(handler: Handler) -> Handler:
    """Refusals are answers and not aiohttp's exceptions, which a server around this may put into words of its own."""

    async def answered(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except um_bridge.ProtocolError as refused:
            return web.json_response({"error": str(refused)}, status=refused.status)

    return answered


@dataclass(eq=False)
class _Page:
    models: Mapping[str, ForwardModel]
    pde: Mapping[str, ForwardModel]
    bands: Bands
    threads: Mapping[str, Executor]
    read_seconds: float
    n_solves: int = 0
    solved_before: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.text = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
        self.rasters = {name: raster_of(model) for name, model in self.models.items()}
        self.described = {
            "models": [
                describe(name, model, name in self.pde, self.rasters[name]) for name, model in self.models.items()
            ]
        }

    async def html(self, request: web.Request) -> web.Response:
        """The page, one file."""
        headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
        return web.Response(text=self.text, content_type="text/html", charset="utf-8", headers=headers)

    async def description(self, request: web.Request) -> web.Response:
        """What there is to draw."""
        return web.json_response(self.described)

    async def evaluate(self, request: web.Request) -> web.Response:
        """Observables at a point, its band, and whether it is in the training range."""
        name, y = await self._model_and_point(request)
        return web.json_response(await self._run(self.models[name], self._evaluated, name, y))

    async def solve(self, request: web.Request) -> web.Response:
        """Observables by the PDE and how far the surrogate is from them."""
        name, y = await self._model_and_point(request)
        if name not in self.pde:
            raise um_bridge.InvalidInput(f"there is no PDE for {name!r}", 404)
        problem, model = self.pde[name], self.models[name]
        try:
            problem.parameters.require(y)
        except ValueError as error:
            why = str(error).partition("not in the space: ")[2] or str(error)
            raise um_bridge.InvalidInput(f"the PDE is not defined here: {why}", 422) from None
        if self.n_solves >= MOST_SOLVES:
            raise um_bridge.InvalidInput("the PDE is busy with others' points; try again in a moment", 503)
        first = id(problem) not in self.solved_before
        # Shielded below: a solve that began goes on when the browser leaves, and is counted as long as it runs.
        solving = self._run(problem, _timed, problem, y)
        self.n_solves += 1
        solving.add_done_callback(self._count_less)
        try:
            solved, seconds = await asyncio.shield(solving)
        except ModelFailed as failure:
            raise um_bridge.InvalidInput(str(failure), 422) from None
        except Exception as error:  # of a problem's own code
            _log.exception("the PDE of %s failed at %s", name, y.tolist())
            why = f"{type(error).__name__}: {error}"
            raise um_bridge.InvalidInput(f"the PDE could not be solved here ({why})", 422) from None
        if not np.isfinite(solved).all():
            raise um_bridge.InvalidInput("the PDE has no solution here that the solver finds", 422)
        self.solved_before.add(id(problem))
        predicted, surrogate_seconds = await self._run(model, _timed, model, y)
        return web.json_response(
            {
                "observables": _numbers(self._shown(name, solved)[0]),
                "seconds": seconds,
                "with_setup": first,
                "surrogate_seconds": surrogate_seconds,
                "difference": self._difference(name, predicted, solved),
            }
        )

    def _run[T](self, model: ForwardModel, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Off the event loop: a PDE's work in the thread of the PDEs, also where it is shown as a model of its own."""
        thread = next((self.threads[name] for name, problem in self.pde.items() if problem is model), None)
        return asyncio.get_running_loop().run_in_executor(thread, work, *arguments)

    def _count_less(self, _: Any) -> None:
        self.n_solves -= 1

    def _evaluated(self, name: str, y: Array) -> dict[str, Any]:
        model = self.models[name]
        observables, seconds = _timed(model, y)
        shown = _numbers(self._shown(name, observables)[0])
        answer = {"observables": shown, "seconds": seconds, "outside": outside(model, y[0])}
        if (band := self.bands(model, y, observables)) is not None:
            lower, upper = (_numbers(self._shown(name, end)[0]) for end in (band.lower, band.upper))
            answer |= {"lower": lower, "upper": upper, "band": band.label}
        return answer

    def _shown(self, name: str, observables: Array) -> Array:
        """What is drawn of observables (1, n_out): all of them, or the pictures of a field."""
        raster = self.rasters[name]
        return observables if raster is None else raster(observables)

    def _difference(self, name: str, predicted: Array, solved: Array) -> dict[str, Any]:
        background = None if self.rasters[name] is not None else getattr(self.models[name], "background", None)
        difference = _difference(predicted[0], solved[0], background)
        if self.rasters[name] is None:
            return difference
        # Where it is largest of the points that are drawn.
        rest = np.abs(self._shown(name, predicted - solved)[0])
        return {**difference, "largest_at": int(np.nan_to_num(rest).argmax())}

    async def _model_and_point(self, request: web.Request) -> tuple[str, Array]:
        """Model and point (1, n_in) of a request, or the refusal that says what was expected."""
        content = await um_bridge.read(request, self.read_seconds)
        name = um_bridge.model_name(content, "model")
        if name not in self.models:
            raise um_bridge.InvalidInput(f"no model {name!r}; there are {', '.join(self.models)}", 404)
        return name, um_bridge.vector(content, "parameters", self.models[name].parameters.size)[None]


def _timed(model: ForwardModel, y: Array) -> tuple[Array, float]:
    began = time.perf_counter()
    observables = model.evaluate(y)
    return numbers(observables, "what the model returns"), time.perf_counter() - began


def _difference(predicted: Array, solved: Array, background: Any) -> dict[str, Any]:
    """Relative in the Euclidean norm, to all observables and to the anomaly; and the largest one, by its place."""
    rest = predicted - solved
    worst = int(np.abs(rest).argmax())

    def relative_to(observables: Array) -> float | None:
        size = float(np.linalg.norm(observables))
        return float(np.linalg.norm(rest)) / size if size else None

    difference = {"relative": relative_to(solved), "largest": float(abs(rest[worst])), "largest_at": worst}
    return (
        difference
        if background is None
        else {**difference, "relative_to_anomaly": relative_to(solved - np.asarray(background))}
    )


def _numbers(values: Array) -> list[float | None]:
    """JSON has no NaN."""
    return [value if np.isfinite(value) else None for value in np.asarray(values, float).tolist()]
