"""What every study is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_doc import Doc
from annotated_types import Ge

from gnvpro.apps.settings import Assignments


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Settings of a study; what is particular to one study is in `set`."""

    data: Annotated[Path | None, Doc("Data set of the study, where it is not the usual one.")] = None
    quick: Annotated[bool, Doc("Seconds instead of minutes: a smaller version of everything.")] = False
    seeds: Annotated[int | None, Doc("Number of seeds; the study's own choice without."), Ge(1)] = None
    seed: Annotated[int, Doc("First seed."), Ge(0)] = 0
    set: Annotated[dict[str, Any] | None, Doc("Setting of the study, such as budget=500; repeatable."), Assignments] = (
        None
    )
    device: Annotated[str, Doc("Where torch computes: cpu, cuda, cuda:1.")] = "cpu"
    threads: Annotated[int, Doc("Threads of torch."), Ge(1)] = 1

    def own[S](self, settings: type[S], quick: Mapping[str, Any]) -> S:
        """Settings of one study: its defaults, over them those of its quick version where asked for, over them `set`."""
        from gnvpro.pde_data.problems.options import make

        return make(settings, {**(quick if self.quick else {}), **(self.set or {})})

    def seeds_from(self, count: int) -> range:
        """The seeds to report: `seeds` of them, or `count`."""
        return range(self.seed, self.seed + (self.seeds or count))
