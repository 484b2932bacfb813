"""Options of a study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from typer import Argument, Option

from gnvpro.apps.settings import Assignments


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Settings of `gnvpro study`; what is particular to one study is set by `--set`."""

    name: Annotated[
        str, Argument(help="cdr, dcr, indian-pines, ellipse, scaling, ablation, coverage, invert-dcr or invert-cdr.")
    ]
    out: Annotated[Path | None, Option("--out", "-o", help="New folder for numbers and figures.")] = None
    data: Annotated[Path | None, Option("--data", help="Data set of the study, where it is not the usual one.")] = None
    quick: Annotated[bool, Option("--quick", help="Seconds instead of minutes: a smaller version of everything.")] = (
        False
    )
    seeds: Annotated[int | None, Option("--seeds", help="Number of seeds; the study's own choice without."), Ge(1)] = (
        None
    )
    seed: Annotated[int, Option("--seed", "-s", help="First seed."), Ge(0)] = 0
    set: Annotated[
        dict[str, Any] | None,
        Option("--set", metavar="KEY=VALUE", help="Setting of the study, such as budget=500; repeatable."),
        Assignments,
    ] = None
    device: Annotated[str, Option("--device", help="Where torch computes: cpu, cuda, cuda:1.")] = "cpu"
    threads: Annotated[int, Option("--threads", help="Threads of torch."), Ge(1)] = 1
