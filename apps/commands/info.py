"""`gnvpro info`: what a data set or a saved model holds, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument

from gnvpro.apps.console import Outcome

EXAMPLE = "info runs/model"


@dataclass(frozen=True, kw_only=True)
class InfoOptions:
    """Settings of `gnvpro info`."""

    path: Annotated[Path, Argument(help="A data set, or its address, or the folder of a saved surrogate.")]


def run(options: InfoOptions) -> Outcome:
    """Say what a data set or a saved surrogate holds and where it came from."""
    from gnvpro.apps.info import info

    return Outcome.of(info(options.path))
