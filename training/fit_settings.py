"""The settings that every training has, and the check of the bounds and choices that fields of settings carry.

Light: neither torch nor numpy is imported, so that a command line can be made of the fields, each of which carries its
bounds (`Annotated[int, Ge(1)]`) and a sentence of help.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, fields
from numbers import Real
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_doc import Doc
from annotated_types import Ge, Gt, Lt

from gnvpro.surrogate.errors import UsageError

_BOUNDS = ((">", Gt, "gt", operator.gt), (">=", Ge, "ge", operator.ge), ("<", Lt, "lt", operator.lt))

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
                require_in_bounds(field.name, value, hints[field.name])


def require_in_bounds(name: str, value: Any, hint: Any) -> None:
    """Refuse a value out of the bounds (`Gt`, `Ge`, `Lt`) or choices (`Literal`) of its annotation with a `UsageError`."""
    kind, *metadata = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if value is None and type(None) in get_args(kind):
        return
    for bound in metadata:
        for sign, kind_of_bound, attribute, holds in _BOUNDS:
            if isinstance(bound, kind_of_bound):
                limit = getattr(bound, attribute)
                if not (isinstance(value, Real) and holds(value, limit)):
                    raise UsageError(f"expected {name} {sign} {limit}, got {value!r}")
    choices = [choice for part in (kind, *get_args(kind)) if get_origin(part) is Literal for choice in get_args(part)]
    if choices and value not in choices:
        raise UsageError(f"expected {name} {' or '.join(choices)}, got {value!r}")
