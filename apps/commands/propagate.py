"""`gnvpro propagate`: what comes out under the law of the parameters, corrected by a few PDE solves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_doc import Doc
from annotated_types import Ge
from typer import Argument

from gnvpro.apps.console import Outcome, interrupted, progress
from gnvpro.apps.propagate.limit_texts import Limits
from gnvpro.apps.settings import Assignments, SolvingOptions, command_line, to_dict
from gnvpro.surrogate.writing import require_new_folder

EXAMPLE = "propagate runs/model --of max --limit 0.3 --pde-solves 200 --out runs/propagation"


@dataclass(frozen=True, kw_only=True)
class PropagateOptions(SolvingOptions):
    """Settings of `gnvpro propagate`."""

    model: Annotated[Path, Argument(help="Folder of a saved surrogate.")]
    limit: Annotated[
        dict[str, Any] | None,
        Doc(
            "What is not to be exceeded, 0.3, or fallen below, '<0.1'; of one quantity NAME=0.3, 'NAME<0.1'. Repeatable."
        ),
        Limits,
    ] = None
    of: Annotated[
        tuple[str, ...] | None, Doc("Scalars of the observables besides: max, min, mean; along an axis max:time.")
    ] = None
    quantiles: Annotated[tuple[float, ...], Doc("Levels of the quantiles.")] = (0.025, 0.25, 0.5, 0.75, 0.975)
    pde_solves: Annotated[int, Doc("Solves that correct the answer, so that it is unbiased; 0 for none."), Ge(0)] = 0
    prior: Annotated[
        dict[str, Any] | None,
        Doc("Law of a parameter: normal, or any law as JSON; else the law of the data. Repeatable."),
        Assignments,
    ] = None
    posterior: Annotated[Path | None, Doc("Draws of an inversion, posterior-….nc, in place of the law.")] = None
    draws: Annotated[int, Doc("Of the law, at which the surrogate is evaluated; of a posterior at most."), Ge(1)] = (
        131072
    )
    level: Annotated[float, Doc("Of all intervals.")] = 0.95
    seed: Annotated[int, Doc("Of the draws and of where the PDE is solved."), Ge(0)] = 0
    checkpoint: Annotated[Path | None, Doc("File that keeps every PDE solve; the same command goes on with it.")] = None
    problem: Annotated[
        str | None, Doc("The PDE, if it is not registered: module:factory, a program's .toml, a URL.")
    ] = None
    out: Annotated[Path | None, Doc("New folder for report, numbers and solves.")] = None

    METAVARS: ClassVar = {
        "limit": "[NAME=]VALUE",
        "of": "max,mean:time",
        "quantiles": "0.05,0.5,0.95",
        "prior": "NAME=[MEAN,SD]",
    }


def run(options: PropagateOptions) -> Outcome:
    """Say what comes out under the law of the parameters: mean, deviation, quantiles, chance of a limit, with intervals."""
    from gnvpro.apps.propagate.propagate import propagate

    require_new_folder(options.out, "propagation")
    arguments = {name: value for name, value in vars(options).items() if name != "out"}
    try:
        with progress("propagating") as report:
            result = propagate(**arguments, progress=report)
        settings = to_dict(options)
        if options.out is not None:
            result.write(options.out, command_line("propagate", options), {"settings": settings})
    except KeyboardInterrupt:
        raise interrupted(options.checkpoint) from None
    return Outcome.of(result, saved=options.out, settings=settings)
