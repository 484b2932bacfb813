"""`gnvpro demo`: the whole line on the convection–diffusion–reaction problem, in a minute or so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_doc import Doc
from annotated_types import Ge

from gnvpro.apps.console import Outcome, progress, stderr
from gnvpro.apps.settings import command_line
from gnvpro.surrogate.extras import require

EXAMPLE = "demo --out runs/demo"


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Settings of `gnvpro demo`."""

    out: Annotated[Path, Doc("Folder for data, models and report.")] = Path("runs/demo")
    samples: Annotated[int, Doc("PDE solves, all of which train."), Ge(40)] = 800
    fresh: Annotated[int, Doc("Fresh PDE solves the surrogate is checked against."), Ge(1)] = 64
    seed: Annotated[int, Doc("Seed of data, split and weights."), Ge(0)] = 0
    quick: Annotated[bool, Doc("Train in a fifth of the time.")] = False


def run(options: DemoOptions) -> Outcome:
    """Run the whole line: PDE data, training, comparison with fresh solves, report."""
    require("zarr", "the demo solves a PDE", "pde")
    from gnvpro.apps.demo import demo

    with progress("demo") as report:
        result = demo(**vars(options), command=command_line("demo", options), progress=report, tell=stderr.print)
    return Outcome.of(result)
