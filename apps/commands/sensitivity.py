"""`gnvpro sensitivity`: which parameters matter, with intervals that hold the error of the surrogate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_doc import Doc
from annotated_types import Ge
from typer import Argument

from gnvpro.apps.console import Outcome, interrupted, progress
from gnvpro.apps.settings import Assignments, SolvingOptions, command_line, to_dict
from gnvpro.surrogate.writing import require_new_folder

EXAMPLE = "sensitivity runs/dcr-model --out runs/sensitivity"


@dataclass(frozen=True, kw_only=True)
class SensitivityOptions(SolvingOptions):
    """Settings of `gnvpro sensitivity`."""

    model: Annotated[str, Argument(help="Folder of a saved surrogate; or a PDE by name, module:factory, .toml or URL.")]
    out: Annotated[Path | None, Doc("New folder for report, pictures, numbers and a table of all indices.")] = None
    prior: Annotated[
        dict[str, Any] | None,
        Doc("Other law of a parameter: normal, or any law as JSON; else the law of the data. Repeatable."),
        Assignments,
    ] = None
    measure: Annotated[
        Literal["auto", "sobol", "shapley"], Doc("auto: sobol where parameters are independent, else shapley.")
    ] = "auto"
    points: Annotated[int | None, Doc("Points of sampling; without, as many as a precision of .002 takes."), Ge(16)] = (
        None
    )
    solves: Annotated[int, Doc("Fresh solves of the PDE that correct the indices of a surrogate."), Ge(0)] = 0
    problem: Annotated[
        str | None, Doc("The PDE for these, if it is not registered: module:factory, a program's .toml, a URL.")
    ] = None
    seed: Annotated[int, Doc("Of points and orders."), Ge(0)] = 0
    force: Annotated[bool, Doc("Also where a PDE has to be solved more than 5,000 times.")] = False

    checkpoint: Annotated[
        Path | None, Doc("File that keeps every PDE solve, but no derivatives; the same command goes on with it.")
    ] = None

    METAVARS: ClassVar = {"prior": "NAME=[MEAN,SD]"}


def run(options: SensitivityOptions) -> Outcome:
    """Tell which parameters matter: Sobol indices or Shapley effects, and the directions of largest change."""
    from gnvpro.apps.comparison.costs import one_thread
    from gnvpro.apps.sensitivity.sensitivity import sensitivity

    require_new_folder(options.out, "sensitivity")
    arguments = {name: value for name, value in vars(options).items() if name != "out"}
    settings = to_dict(options)
    try:
        with progress("sensitivity") as report, one_thread():
            found = sensitivity(**arguments, progress=report)
        if options.out is not None:
            found.write(options.out, command_line("sensitivity", options), {"settings": settings})
    except KeyboardInterrupt:
        raise interrupted(options.checkpoint) from None
    return Outcome.of(found, saved=options.out, settings=settings)
