"""The settings that every training has, and the check of the bounds and choices that fields of settings carry.

Light: neither torch nor numpy is imported, so that a command line can be made of the fields, each of which carries its
bounds (`Annotated[int, Ge(1)]`) and a sentence of help.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_doc import Doc
from annotated_types import Ge, Gt

from gnvpro.surrogate.errors import UsageError

Precision = Annotated[Literal["float64", "float32"], Doc("Of the network; the inner solve stays in float64.")]


@dataclass(frozen=True)
class FitSettings:
    """What the trainings of surrogates and of classifiers have in common.

    Raises
    ------
    UsageError
        A number out of the bounds of its field, or a word that is none of its choices; the message says which.
    """

    alpha_w: Annotated[float | None, Doc("Regularisation of the outer layer W."), Ge(0)] = None
    budget: Annotated[float | None, Doc("Work units to spend."), Gt(0)] = None
    seed: Annotated[int, Doc("Seed of the split and of the initial weights."), Ge(0)] = 0
    device: Annotated[str, Doc("Where torch computes: cpu, cuda, cuda:1.")] = "cpu"
    dtype: Precision = "float64"
    threads: Annotated[int, Doc("Threads of torch; small networks want one."), Ge(1)] = 1

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self), include_extras=True)
        for field in fields(self):
            if (value := getattr(self, field.name)) is not None:
                _require(field.name, value, hints[field.name])


def _require(name: str, value: Any, hint: Any) -> None:
    kind, *metadata = get_args(hint)
    for item in metadata:
        if isinstance(item, Gt) and not value > item.gt:
            raise UsageError(f"expected {name} > {item.gt}, got {value}")
        if isinstance(item, Ge) and not value >= item.ge:
            raise UsageError(f"expected {name} >= {item.ge}, got {value}")
    choices = [choice for part in (kind, *get_args(kind)) if get_origin(part) is Literal for choice in get_args(part)]
    if choices and value not in choices:
        raise UsageError(f"expected {name} {' or '.join(choices)}, got {value!r}")
