"""What a build is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_doc import Doc
from annotated_types import Ge, Gt, Lt

from gnvpro.surrogate.errors import UsageError
from gnvpro.training.fit_settings import CheckedSettings


def share(value: Any) -> Any:
    """A text such as `0.1%` or `1e-3` as a number; anything else as it is."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise UsageError(f"expected an error such as 0.1% or 0.001, got {value!r}") from None


@dataclass(frozen=True, kw_only=True)
class BuildSettings(CheckedSettings):
    """What decides the numbers of a build, beside the problem."""

    error: Annotated[
        float,
        Doc("Error to confirm, such as 0.1%: the mean over the law of the parameters of the error of a sample."),
        Gt(0),
    ]
    confidence: Annotated[float, Doc("Of the statement that the error is below that."), Gt(0.5), Lt(1)] = 0.95
    max_solves: Annotated[int, Doc("Solves of the problem itself at most."), Ge(1)] = 1000
    max_cost: Annotated[
        float | None,
        Doc("Cost of everything at most, in solves: coarse ones and derivatives count as measured."),
        Gt(0),
    ] = None
    seed: Annotated[int, Doc("Seed of parameters, folds and weights."), Ge(0), Lt(2**31)] = 0
    derivatives: Annotated[
        int | None, Doc("Directions a sample is differentiated along; without: as they pay, 0: none."), Ge(0)
    ] = None
    coarser: Annotated[
        int | None,
        Doc("Version of the problem for cheap solves, so many times coarser; without: the cheapest, 0: none."),
        Ge(0),
    ] = None
    placement: Annotated[
        Literal["auto", "plain", "adaptive"],
        Doc("Of samples that only train; adaptive: where errors are large; auto: that for 6 to 20 parameters."),
    ] = "auto"
    derivative_cost: Annotated[float | None, Doc("Of one, in solves; measured without."), Gt(0)] = None
    coarse_cost: Annotated[float | None, Doc("Of a coarse solve, in solves; measured without."), Gt(0)] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", share(self.error))
        super().__post_init__()
        if not math.isfinite(self.error):
            raise UsageError(f"expected error a number such as 0.001 or '0.1%', got {self.error}")
