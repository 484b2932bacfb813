"""What fixes the numbers of a data set, and how two such recipes differ."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.storage.provenance import canonical_json
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Space, shortened


@dataclass(frozen=True)
class Recipe:
    """Everything that fixes parameters, observables and status of a data set; JSON-able as attributes."""

    problem: str
    definition: dict[str, Any]
    parameter_space: dict[str, Any]
    observable_space: dict[str, Any]
    seed: int
    n_samples: int
    block_size: int
    design: str

    @classmethod
    def of(cls, problem: Problem, n_samples: int, seed: int, block_size: int, design: str) -> Recipe:
        """What `problem` gives with these settings.

        Raises ValueError: a definition that is not JSON-able, or spaces that cannot share one data set.
        """
        try:
            definition = json.loads(canonical_json(problem.definition))
        except ValueError as error:
            raise UsageError(f"definition of problem {problem.name!r}: {error}") from error
        _require_distinct_names(problem.parameters, problem.observables)
        parameters, observables = (_as_json(space) for space in (problem.parameters, problem.observables))
        return cls(problem.name, definition, parameters, observables, seed, n_samples, block_size, design)

    def difference(self, asked: Recipe) -> str | None:
        """The first thing in which `asked` differs, both values named; None if they are the same.

        The number of samples may differ: fewer samples are the beginning of the same data set.
        """
        # A law that differs is told as such, before the bounds that differ with it.
        mine, theirs = (
            {
                "problem": recipe.problem,
                "law": recipe.parameter_space["law"],
                **asdict(replace(recipe, n_samples=self.n_samples)),
            }
            for recipe in (self, asked)
        )
        return _first_difference(mine, theirs)


def _as_json(space: Space) -> dict[str, Any]:
    return json.loads(json.dumps(space.to_dict()))


def _require_distinct_names(parameters: Space, observables: Space) -> None:
    taken = {
        "sample",
        "parameters",
        "observables",
        "background",
        "anomalous",
        "status",
        "failure",
        "wall_time",
        "parameter_units",
        "observable_units",
    }
    for what, space in (("parameters", parameters), ("observables", observables)):
        for name in (n for axis in space.axes for n in (axis.name, *(c.name for c in axis.coordinates))):
            if name in taken or "/" in name or " " in name:
                raise UsageError(
                    f"axis or coordinate {name!r} of the {what}: the name is taken in the data set, or has a space or "
                    "slash; give it another, for example Space.vector(..., axis='sensor')"
                )
            taken.add(name)


def _first_difference(there: Any, asked: Any, name: str = "") -> str | None:
    if isinstance(there, dict) and isinstance(asked, dict):
        for key in [*there, *(key for key in asked if key not in there)]:
            where = f"{name}.{key}" if name else str(key)
            if found := _first_difference(there.get(key), asked.get(key), where):
                return found
        return None
    return None if there == asked else f"{name} {shortened(there)} there, {shortened(asked)} asked"
