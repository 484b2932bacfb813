"""Saved models, and the PDEs behind them, for any client of the UM-Bridge protocol: the function `gnvpro.serve`.

Under which name each is served, in which thread, and on a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from aiohttp import web

from gnvpro.apps.arguments import Folder, model_of, problem_of
from gnvpro.apps.serving.bounds import Bounds
from gnvpro.apps.serving.hosts import Hosts, is_loopback
from gnvpro.apps.serving.page.page import page_routes
from gnvpro.apps.serving.posteriors import PosteriorOptions, Posteriors, require_one
from gnvpro.apps.serving.request_log import Level, RequestLog
from gnvpro.apps.serving.served import ModelFailed, Otherwise, Policy, ServedModel
from gnvpro.apps.serving.server import Limits, make_app, run_until_stopped
from gnvpro.apps.serving.solver_process import SolverProcess
from gnvpro.pde_data.problems.scene import Scene
from gnvpro.surrogate.checks import integer, path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.hessian import hessian_product
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.result import Result
from gnvpro.training.device import torch_threads

# Solves take long: whoever comes after so many is told to come back.
PDE_MOST_WAITING = 64

type Model = Folder | Surrogate | Classifier


@dataclass(frozen=True, repr=False)
class Served(Result):
    """What a server did until it was stopped."""

    models: tuple[str, ...]
    answered: int
    errors: int
    outside: int = 0
    unsolved: int = 0

    @property
    def title(self) -> str:
        """In a word."""
        return "Served"

    def rows(self) -> list[tuple[str, str]]:
        """Models and counts."""
        counts = [("answered", str(self.answered)), ("with an error", str(self.errors))]
        rare = [("outside of the domain", self.outside), ("could not be solved", self.unsolved)]
        return [("models", ", ".join(self.models)), *counts, *((what, str(n)) for what, n in rare if n)]

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        counts = {name: getattr(self, name) for name in ("answered", "errors", "outside", "unsolved")}
        return {"models": list(self.models), **counts}


def serve(
    models: Model | Sequence[Model] | Mapping[str, Model],
    *,
    host: str = "127.0.0.1",
    port: int = 4242,
    allow_host: Sequence[str] = (),
    with_pde: bool = False,
    problem: Any = None,
    extrapolate: bool = False,
    posterior: object = None,
    noise: object = None,
    prior: Mapping[str, Any] | None = None,
    outside: Policy | None = None,
    max_body: int = 1_000_000,
    max_requests: int = 256,
    log: Level = "requests",
    threads: int = 1,
    time_limit: float | None = None,
    ranks: int = 1,
    threads_per_solve: int = 1,
) -> Served:
    """Answer clients of the UM-Bridge protocol, and a page with sliders, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    models
        One, several, or several by name: saved models or their folders, also as `NAME=FOLDER`.
    host, port
        Where to listen; port 0 takes a free one, which the log tells.
    allow_host
        Names, besides those of loopback and `host`, under which a proxy or others in the network ask; all else is refused,
        and so are pages of other sites.
    with_pde, problem
        Serve the PDE of every model too, as NAME-pde; the PDE of one model, where it is not a registered one.
    extrapolate
        Answer outside the training range too, where no error is promised.
    posterior, noise, prior
        Observations of the one model, their noise, and laws of parameters in place of those of the model, as `invert` takes
        them: then its log densities are served too, as NAME-log-likelihood, NAME-log-prior, NAME-posterior (also as
        `posterior`) and NAME-posterior-normal, by the normal variables that NAME-from-normal maps to parameters; with
        `with_pde` those of the PDE too.
    outside
        What a point gets at which a model does not answer: `refuse`, an error; `nan`, NaN, of log densities -inf; `clip`,
        the answer at the nearest point where there is one, which log densities but that of the likelihood never are.
        Without, models refuse and log densities are -inf. With `nan`, and of log densities, also where a PDE fails.
    max_body, max_requests
        Bytes of one request, and requests in work; what exceeds them is refused.
    log
        JSON lines on stderr: every request, those with errors, or only start and stop (`none`).
    threads
        Of torch; small networks want one.
    time_limit, ranks, threads_per_solve
        How PDEs are solved: see `gnvpro.pde_data.problems.limited.solved_within`.

    Raises
    ------
    UsageError, OSError
        Models that cannot be served together, observations that do not fit the model, an address that cannot be had.
    """
    integer("port", port, least=0)
    if outside not in (None, *get_args(Policy.__value__)):
        raise UsageError(f"expected outside refuse, nan or clip, got {outside!r}")
    lines, hosts = RequestLog(log), Hosts.of(host, allow_host)
    with torch_threads(threads):
        solving = dict(time_limit=time_limit, ranks=ranks, threads=threads_per_solve)
        data = PosteriorOptions.of(posterior, noise, prior)
        served = served_models(models, with_pde, problem, extrapolate, lines, data, outside, **solving)
        app = make_app(served, Limits(body=max_body, requests=max_requests), lines, hosts)
        app.add_routes(_page_of(served, problem))
        if not is_loopback(host):
            lines.event("warning", message=f"{host} is reachable from other machines, and anyone may ask the models")
        counts = run_until_stopped(app, host, port)
    return Served(tuple(served), **counts.totals)


def served_models(
    models: Any,
    with_pde: bool,
    problem: Any,
    extrapolate: bool,
    log: RequestLog,
    data: PosteriorOptions | None = None,
    outside: Policy | None = None,
    **solving: Any,
) -> dict[str, ServedModel]:
    """The models under their names, warm, each followed by its PDE where that is asked for, and by the log densities of its
    posterior where there are `data`; takes what `serve` takes, and `solving` is that of `SolverProcess`.

    Raises
    ------
    UsageError
        Two models that were given the same name, or the name of another's PDE; a PDE or a posterior of a model that has none,
        or one `problem`, or observations, for several models.
    """
    named = named_models(models)
    if not named:
        raise UsageError("expected at least one model to serve, got none")
    if problem is not None and (len(named) > 1 or not with_pde):
        raise UsageError("`problem` names the PDE of one model: give it one model, and with_pde=True")
    if data is not None:
        require_one(list(named))
    if with_pde and (taken := [name for name in named if f"{name}-pde" in named]):
        raise UsageError(
            f"{taken[0]}-pde would be the PDE of {taken[0]!r}, and is the name of another model; give it another name, "
            "as in NAME=FOLDER"
        )
    served: dict[str, ServedModel] = {}
    for name, saved in named.items():
        model, otherwise = model_of(saved), Otherwise(outside or "refuse")
        densities = None
        if data is not None:
            if isinstance(model, Classifier):
                raise UsageError(f"{name} is a classifier, which has no observations to fit; leave `posterior` out")
            densities = Posteriors(name, model, data, outside)
        served[name] = serve_model(name, model, extrapolate, otherwise)
        served[name].warm_up()
        if densities is not None:
            served |= densities.of_surrogate()
        if with_pde:
            if isinstance(model, Classifier):
                raise UsageError(f"{name} is a classifier, which has no PDE; leave with_pde=True out or serve it apart")
            pde = _serve_pde(f"{name}-pde", model, problem, log, otherwise, **solving)
            served[pde.name] = pde
            if densities is not None:
                served |= densities.of_pde(pde, PDE_MOST_WAITING)
        if densities is not None:
            densities.describe(served, log)
            if "posterior" not in served and f"{name}-posterior" in served:
                served["posterior"] = served[f"{name}-posterior"]  # what the examples of UM-Bridge ask for
    return served


def serve_model(
    name: str, model: Surrogate | Classifier, extrapolate: bool = False, otherwise: Otherwise | None = None
) -> ServedModel:
    """A saved model with what the protocol has of it: of a surrogate everything."""
    hessian = partial(hessian_product, model) if isinstance(model, Surrogate) else None
    bounds = None if extrapolate else Bounds.of(model)
    return ServedModel(name, model, bounds=bounds, otherwise=otherwise, hessian=hessian)


def named_models(models: Any) -> dict[str, Any]:
    """Models or folders by their names in the server.

    Those given by name; NAME of `NAME=FOLDER`; else the name of the folder, or `model`, numbered from the second on.

    Raises
    ------
    UsageError
        The same NAME twice, or NAME=FOLDER with one of them empty.
    """
    if isinstance(models, Mapping):
        return dict(models)
    named: dict[str, Any] = {}
    unnamed: list[tuple[str, Any]] = []
    several = list(models) if isinstance(models, Sequence) and not isinstance(models, str) else [models]
    for model in several:
        name, equals, folder = str(model).partition("=") if isinstance(model, str) else ("", "", "")
        if not equals or path_of(model).exists():
            unnamed.append((path_of(model).resolve().name if isinstance(model, str | Path) else "model", model))
        elif not name or not folder:
            raise UsageError(f"expected a folder, or NAME=FOLDER with both, got {model!r}")
        elif name in named:
            raise UsageError(f"{name!r} names two models, {named[name]} and {folder}; give each its own")
        else:
            named[name] = folder
    for base, model in unnamed:
        candidates = (base, *(f"{base}-{k}" for k in range(2, len(several) + 2)))
        named[next(name for name in candidates if name not in named)] = model
    return named


def _serve_pde(
    name: str, surrogate: Surrogate, problem: Any, log: RequestLog, otherwise: Otherwise, **solving: Any
) -> ServedModel:
    """The PDE a surrogate was trained on, solved in a process of its own, and nowhere outside of its space.

    The process starts meanwhile; where that fails, the log says why, and so does every answer.
    """
    solver = SolverProcess(problem_of(surrogate, problem), **solving)
    thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    def warm_up() -> None:
        try:
            solver.warm_up()
        except ModelFailed as failure:
            log.event("warning", model=name, message=f"{failure}; the first request tries again")

    thread.submit(warm_up)

    def close() -> None:
        thread.shutdown(wait=False, cancel_futures=True)  # first, so that nothing that waits is begun
        solver.close()
        thread.shutdown(wait=True)

    return ServedModel(
        name,
        solver,
        bounds=Bounds.of(solver),
        otherwise=otherwise,
        executor=thread,
        operations=solver.operations,
        close=close,
        most_waiting=PDE_MOST_WAITING,
    )


def _page_of(models: dict[str, ServedModel], problem: Any) -> list[web.RouteDef]:
    """The page for people: all surrogates, and the PDEs behind them; they share the threads of the protocol's models."""
    shown = {name: served.model for name, served in models.items() if isinstance(served.model, Surrogate)}
    behind = {name: pde for name in shown if (pde := models.get(f"{name}-pde")) and pde.executor}
    scenes = {name: scene for name, model in shown.items() if (scene := _scene_of(model, problem)) is not None}
    return page_routes(
        shown,
        {name: pde.model for name, pde in behind.items()},
        scenes=scenes,
        pde_threads={name: pde.executor for name, pde in behind.items() if pde.executor},
    )


def _scene_of(model: Surrogate, problem: Any) -> Scene | None:
    """What the problem behind a model shows of its domain; None where it is not known, or shows nothing."""
    try:
        return getattr(problem_of(model, problem), "scene", None)
    except (UsageError, ImportError):  # trained on a file, or by a program that is not here
        return None
