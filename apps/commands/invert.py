"""`gnvpro invert`: parameters from observations, by a surrogate, its PDE, or a model behind a server."""

from __future__ import annotations

import itertools
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_doc import Doc
from annotated_types import Ge
from typer import Argument

from gnvpro.apps.console import Outcome, interrupted, progress, say, table
from gnvpro.apps.inversion import Route, Sampler
from gnvpro.apps.settings import Assignments, SolvingOptions, command_line, to_dict
from gnvpro.surrogate.extras import require
from gnvpro.surrogate.writing import require_new_folder

EXAMPLE = "invert runs/dcr-model --observations field.csv --noise 2% --out runs/inversion"


@dataclass(frozen=True, kw_only=True)
class InvertOptions(SolvingOptions):
    """Settings of `gnvpro invert`."""

    model: Annotated[
        str, Argument(help="Folder of a saved surrogate, or http://HOST:PORT/NAME, a model of a UM-Bridge server.")
    ]
    observations: Annotated[Path, Doc("Measured values: .csv (value, observable), .npz or .npy; some may come again.")]
    noise: Annotated[
        str,
        Doc(
            "2%, 0.001 or 2%+0.001; data, where the file has it; or a file, also of a covariance. With outliers: "
            "'student-t(4): 2%'."
        ),
    ]
    out: Annotated[Path | None, Doc("New folder for report, numbers and draws.")] = None
    routes: Annotated[
        tuple[Route, ...] | None,
        Doc("surrogate, delayed (accepted by the PDE) and pde; without, the first, and the second if there is a PDE."),
    ] = None
    sampler: Annotated[
        Sampler, Doc("On the surrogate: auto takes what suits the posterior, and another where that does not converge.")
    ] = "auto"
    prior: Annotated[
        dict[str, Any] | None,
        Doc("Prior of a parameter: normal, or any law as JSON; else the law of the data. Repeatable."),
        Assignments,
    ] = None
    like: Annotated[Path | None, Doc("Saved model whose names and bounds those of a server's model are.")] = None
    chains: Annotated[int, Doc("Chains of every route."), Ge(2)] = 4
    draws: Annotated[int, Doc("Of every chain on the surrogate; 0 for the point alone."), Ge(0)] = 1600
    tune: Annotated[int, Doc("Draws before these that are thrown away."), Ge(10)] = 300
    pde_draws: Annotated[int, Doc("Of every chain that the PDE accepts or makes."), Ge(10)] = 250
    pde_tune: Annotated[int, Doc("PDE solves before these, a chain."), Ge(1)] = 30
    starts: Annotated[int, Doc("Of the search for the most probable point."), Ge(1)] = 16
    seed: Annotated[int, Doc("Of starts and chains."), Ge(0)] = 0
    checkpoint: Annotated[Path | None, Doc("File that keeps every PDE solve; the same command goes on with it.")] = None
    truth: Annotated[Path | None, Doc("Parameters that made the observations, where known: .csv, .npz or .npy.")] = None
    problem: Annotated[
        str | None, Doc("The PDE, if it is not registered: module:factory, a program's .toml, a URL.")
    ] = None
    force: Annotated[bool, Doc("Also with a surrogate whose error is above the noise.")] = False

    METAVARS: ClassVar = {"prior": "NAME=[MEAN,SD]"}


def run(options: InvertOptions) -> Outcome:
    """Find parameters from observations: most probable point, posterior, and both confirmed by the PDE."""
    require("nutpie" if options.draws else "arviz", "it is needed to invert")
    from gnvpro.apps.comparison.costs import one_thread
    from gnvpro.apps.inversion.invert import invert

    require_new_folder(options.out, "inversion")
    began = time.monotonic()
    arguments = dict(vars(options))
    surrogate, out = arguments.pop("model"), arguments.pop("out")
    unfinished = None if out is None else _unfinished(out)
    try:
        with progress("inverting") as report, one_thread():
            inversion = invert(surrogate, **arguments, keep_draws=unfinished, progress=report)
        more = {"wall_seconds": time.monotonic() - began, "settings": to_dict(options)}
        if out is not None:
            inversion.write(out, command_line("invert", options), more)
    except BaseException as error:
        if unfinished is not None and unfinished.exists():
            say(f"the draws so far are in {unfinished}")
        if not isinstance(error, KeyboardInterrupt):
            raise
        raise interrupted(options.checkpoint) from None
    if unfinished is not None and unfinished.exists():
        shutil.rmtree(unfinished)
    text = table(f"Inversion of {options.observations}", inversion.rows())
    return Outcome({**inversion.numbers(), **more}, text, inversion.doubt())


def _unfinished(out: Path) -> Path:
    """Where draws are kept until all is written: beside the folder that is asked for, and not where earlier ones stand."""
    names = (
        f"{out.name}-unfinished{number}" for number in itertools.chain([""], (f"-{k}" for k in itertools.count(2)))
    )
    return next(folder for name in names if not (folder := out.with_name(name)).exists())
