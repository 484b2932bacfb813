"""Problems that are sent to workers without their solvers, which are made again there."""

from __future__ import annotations

from functools import cached_property
from typing import Any


class Rebuilt:
    """Mixin: pickled, an object leaves its cached properties behind, such as a solver, and makes them again."""

    def __getstate__(self) -> dict[str, Any]:
        made = {name for kind in type(self).__mro__ for name, what in vars(kind).items() if _is_cached(what)}
        return {name: value for name, value in self.__dict__.items() if name not in made}


def _is_cached(attribute: Any) -> bool:
    return isinstance(attribute, cached_property)
