"""`gnvpro serve`: saved models, and the PDEs behind them, for any client of the UM-Bridge protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_doc import Doc
from annotated_types import Ge, Le, MinLen
from typer import Argument

from gnvpro.apps.console import Outcome
from gnvpro.apps.settings import Assignments, SolvingOptions, to_dict

EXAMPLE = "serve runs/model --with-pde --port 4242"


@dataclass(frozen=True, kw_only=True)
class ServeOptions(SolvingOptions):
    """Settings of `gnvpro serve`."""

    models: Annotated[
        tuple[str, ...],
        Argument(
            help="Folders of saved models; NAME=FOLDER gives one another name than its folder's.", metavar="MODEL..."
        ),
        MinLen(1),
    ]
    host: Annotated[str, Doc("Address to listen on; others than loopback let other machines in.")] = "127.0.0.1"
    port: Annotated[int, Doc("Port to listen on; 0 for any free one."), Ge(0), Le(65535)] = 4242
    allow_host: Annotated[
        tuple[str, ...], Doc("Names by which a proxy or others in the network ask, besides loopback and --host.")
    ] = ()
    with_pde: Annotated[bool, Doc("Serve the PDE of every model too, as NAME-pde.")] = False
    problem: Annotated[
        str | None, Doc("The PDE, if it is not registered: module:factory, a program's .toml, a URL.")
    ] = None
    extrapolate: Annotated[bool, Doc("Answer outside the training range too, where no error is promised.")] = False
    posterior: Annotated[
        Path | None, Doc("Observations of the model, .csv, .npz or .npy: serve the log densities of its posterior too.")
    ] = None
    noise: Annotated[
        str | None,
        Doc("Of these: 2%, 0.001 or 2%+0.001; data, where the file has it; or a file, also of a covariance."),
    ] = None
    prior: Annotated[
        dict[str, Any] | None,
        Doc("Prior of a parameter: normal, or any law as JSON; else the law of the data. Repeatable."),
        Assignments,
    ] = None
    outside: Annotated[
        Literal["refuse", "nan", "clip"] | None,
        Doc(
            "Outside of where it answers: an error, NaN or the nearest answer; else models refuse, densities are -inf."
        ),
    ] = None
    max_body: Annotated[int, Doc("Bytes of one request."), Ge(1000)] = 1_000_000
    max_requests: Annotated[int, Doc("Requests in work; more are refused."), Ge(1)] = 256
    log: Annotated[
        Literal["requests", "errors", "none"],
        Doc("JSON lines on stderr: every request, those with errors, or only start and stop."),
    ] = "requests"
    threads: Annotated[int, Doc("Threads of torch; small networks want one."), Ge(1)] = 1

    METAVARS: ClassVar = {"prior": "NAME=[MEAN,SD]"}


def run(options: ServeOptions) -> Outcome:
    """Answer clients of the UM-Bridge protocol with saved models, and with the PDE, until told to stop."""
    from gnvpro.apps.serving.serve import serve

    return Outcome.of(serve(**vars(options)), settings=to_dict(options))
