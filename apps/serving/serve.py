"""Saved models, and the PDEs behind them, for any client of the UM-Bridge protocol: the verb `serve`."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnvpro.apps.arguments import Folder
from gnvpro.apps.serving.lifecycle import run_until_stopped
from gnvpro.apps.serving.models import page_of, served_models
from gnvpro.apps.serving.request_log import Level, RequestLog
from gnvpro.apps.serving.server import Limits, make_app
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.result import Result
from gnvpro.training.device import torch_threads

type Model = Folder | Surrogate | Classifier


@dataclass(frozen=True, repr=False)
class Served(Result):
    """What a server did until it was stopped."""

    models: tuple[str, ...]
    answered: int
    errors: int

    @property
    def title(self) -> str:
        """In a word."""
        return "Served"

    def rows(self) -> list[tuple[str, str]]:
        """Models and counts."""
        counts = [("answered", str(self.answered)), ("with an error", str(self.errors))]
        return [("models", ", ".join(self.models)), *counts]

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        return {"models": list(self.models), "answered": self.answered, "errors": self.errors}


def serve(
    models: Model | Sequence[Model] | Mapping[str, Model],
    *,
    host: str = "127.0.0.1",
    port: int = 4242,
    with_pde: bool = False,
    problem: Any = None,
    extrapolate: bool = False,
    max_body: int = 1_000_000,
    max_requests: int = 256,
    log: Level = "requests",
    threads: int = 1,
) -> Served:
    """Answer clients of the UM-Bridge protocol, and a page with sliders, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    models
        One, several, or several by name: saved models or their folders, also as `NAME=FOLDER`.
    host, port
        Where to listen; port 0 takes a free one, which the log tells.
    with_pde, problem
        Serve the PDE of every model too, as NAME-pde; the PDE of one model, where it is not a registered one.
    extrapolate
        Answer outside the training range too, where no error is promised.
    max_body, max_requests
        Bytes of one request, and requests in work; what exceeds them is refused.
    log
        JSON lines on stderr: every request, those with errors, or only start and stop (`none`).
    threads
        Of torch; small networks want one.

    Raises
    ------
    UsageError, OSError
        Models that cannot be served together, an address that cannot be had.
    """
    lines = RequestLog(log)
    with torch_threads(threads):
        served = served_models(models, with_pde=with_pde, problem=problem, extrapolate=extrapolate)
        app = make_app(served, Limits(body=max_body, requests=max_requests), lines)
        app.add_routes(page_of(served))
        if not _is_loopback(host):
            lines.event("warning", message=f"{host} is reachable from other machines, and anyone may ask the models")
        counts = run_until_stopped(app, host, port)
    return Served(tuple(served), counts.answered, counts.errors)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
