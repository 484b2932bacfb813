"""`gnvpro serve`: saved models, and the PDEs behind them, for any client of the UM-Bridge protocol."""

from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from aiohttp import web
from annotated_types import Ge, Le, MinLen
from typer import Argument, Option

from gnvpro.apps.console import Outcome, table
from gnvpro.apps.serving.domain import Domain
from gnvpro.apps.serving.lifecycle import run_until_stopped
from gnvpro.apps.serving.page.page import page_routes
from gnvpro.apps.serving.request_log import RequestLog
from gnvpro.apps.serving.served import ServedModel, serve_surrogate
from gnvpro.apps.serving.server import Limits, make_app
from gnvpro.apps.settings import to_dict
from gnvpro.apps.trust.origin import problem_of
from gnvpro.surrogate.model.load import load_model
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.training.device import torch_threads


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Settings of `gnvpro serve`."""

    models: Annotated[
        tuple[str, ...],
        Argument(
            help="Folders of saved models; NAME=FOLDER gives one another name than its folder's.", metavar="MODEL..."
        ),
        MinLen(1),
    ]
    host: Annotated[str, Option("--host", help="Address to listen on; others than loopback let other machines in.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Option("--port", help="Port to listen on; 0 for any free one."), Ge(0), Le(65535)] = 4242
    with_pde: Annotated[bool, Option("--with-pde", help="Serve the PDE of every model too, as NAME-pde.")] = False
    problem: Annotated[
        str | None, Option("--problem", help="package.module:factory of the PDE, where it is not a registered one.")
    ] = None
    extrapolate: Annotated[
        bool, Option("--extrapolate", help="Answer outside the training range too, where no error is promised.")
    ] = False
    max_body: Annotated[int, Option("--max-body", help="Bytes of one request."), Ge(1000)] = 1_000_000
    max_requests: Annotated[int, Option("--max-requests", help="Requests in work; more are refused."), Ge(1)] = 256
    log: Annotated[
        Literal["requests", "errors", "none"],
        Option("--log", help="JSON lines on stderr: every request, those with errors, or only start and stop."),
    ] = "requests"
    threads: Annotated[int, Option("--threads", help="Threads of torch; small networks want one."), Ge(1)] = 1


# Solves take long: whoever comes after so many is told to come back.
PDE_MOST_WAITING = 64


def run(given: ServeOptions) -> Outcome:
    """Load the models, serve them until told to stop."""
    log = RequestLog(given.log)
    with torch_threads(given.threads):
        models = load(given)
        app = make_app(models, Limits(body=given.max_body, requests=given.max_requests), log)
        app.add_routes(page_of(models))
        if not _is_loopback(given.host):
            log.event(
                "warning", message=f"{given.host} is reachable from other machines, and anyone may ask the models"
            )
        counts = run_until_stopped(app, given.host, given.port)
    numbers = {
        "models": list(models),
        "answered": counts.answered,
        "errors": counts.errors,
        "settings": to_dict(given),
    }
    rows = [("models", ", ".join(models)), ("answered", str(counts.answered)), ("with an error", str(counts.errors))]
    return Outcome(numbers, table("Served", rows))


def load(given: ServeOptions) -> dict[str, ServedModel]:
    """The models under their names, each followed by its PDE where that is asked for.

    Raises
    ------
    ValueError
        Two models that were given the same name, or the name of another's PDE; a PDE of a model that has none, or
        `--problem` for several models.
    """
    if given.problem is not None and (len(given.models) > 1 or not given.with_pde):
        raise ValueError("--problem names the PDE of one model: give it one model, and --with-pde")
    served: dict[str, ServedModel] = {}
    named = names_of(given.models)
    if given.with_pde and (taken := [name for name in named if f"{name}-pde" in named]):
        raise ValueError(
            f"{taken[0]}-pde would be the PDE of {taken[0]!r}, and is the name of another model; give it another name, "
            "as in NAME=FOLDER"
        )
    for name, folder in named.items():
        model = load_model(folder)
        if isinstance(model, Surrogate):
            served[name] = serve_surrogate(name, model, extrapolate=given.extrapolate)
        else:
            served[name] = ServedModel(name, model, domain=None if given.extrapolate else Domain.of(model))
        if given.with_pde:
            if not isinstance(model, Surrogate):
                raise ValueError(f"{folder} is a classifier, which has no PDE; leave --with-pde out, or serve it apart")
            served[f"{name}-pde"] = serve_pde(f"{name}-pde", model, given.problem)
    return served


def names_of(given: tuple[str, ...]) -> dict[str, Path]:
    """Names in the server: those given as NAME=FOLDER, else that of the folder, numbered from the second on.

    Raises
    ------
    ValueError
        The same NAME twice, or NAME=FOLDER with one of them empty.
    """
    named: dict[str, Path] = {}
    unnamed: list[Path] = []
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or Path(text).exists():
            unnamed.append(Path(text))
        elif not name or not folder:
            raise ValueError(f"expected a folder, or NAME=FOLDER with both, got {text!r}")
        elif name in named:
            raise ValueError(f"{name!r} names two models, {named[name]} and {folder}; give each its own")
        else:
            named[name] = Path(folder)
    for folder in unnamed:
        base = folder.resolve().name
        candidates = (base, *(f"{base}-{k}" for k in range(2, len(given) + 2)))
        named[next(name for name in candidates if name not in named)] = folder
    return named


def serve_pde(name: str, surrogate: Surrogate, problem: str | None = None) -> ServedModel:
    """The PDE a surrogate was trained on, solved in a process of its own; points outside its space are refused."""
    from gnvpro.apps.serving.solver_process import SolverProcess

    solver = SolverProcess(problem_of(surrogate, problem))
    thread = ThreadPoolExecutor(1, thread_name_prefix=name)
    thread.submit(solver.warm_up)

    def close() -> None:
        thread.shutdown(wait=False, cancel_futures=True)  # first, so that nothing that waits is begun
        solver.close()
        thread.shutdown(wait=True)

    return ServedModel(
        name, solver, domain=Domain.of(solver), executor=thread, close=close, most_waiting=PDE_MOST_WAITING
    )


def page_of(models: dict[str, ServedModel]) -> list[web.RouteDef]:
    """The page for people: all surrogates, and the PDEs behind them; they share the threads of the protocol's models."""
    shown = {name: served.model for name, served in models.items() if isinstance(served.model, Surrogate)}
    behind = {name: found for name in shown if (found := models.get(f"{name}-pde")) and found.executor}
    return page_routes(
        shown,
        {name: found.model for name, found in behind.items()},
        pde_threads={name: found.executor for name, found in behind.items() if found.executor},
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
