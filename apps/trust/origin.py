"""The PDE behind a surrogate, made again from what its data say of themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.loading import REGISTERED, load_problem, registered_problem
from gnvpro.pde_data.sampling import DESIGNS, place
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array


def problem_of(surrogate: Surrogate, given: str | None = None) -> Problem:
    """The PDE that a surrogate was trained on, with the same options and the same definition.

    Parameters
    ----------
    given
        `package.module:factory`, for a problem that is not a registered one. The name in a saved model is only
        looked up among the registered, and the options in it are values: nothing is imported that they name.

    Raises
    ------
    ValueError
        The data named no PDE, or the problem's definition is another one today.
    """
    origin = surrogate.provenance
    if "definition_hash" not in origin:
        source = origin.get("file", "its data")
        raise UsageError(
            f"this surrogate was trained on {source}, which names no PDE; there is nothing to compare with"
        )
    problem = _made_again(origin, given)
    if origin["definition_hash"] not in _hashes(problem, origin):
        raise UsageError(
            f"this surrogate was trained on problem {origin['problem']!r} with definition "
            f"{origin['definition_hash'][:12]}, and {problem.name!r} has {definition_hash(problem.definition)[:12]}; "
            "compare with the problem as it was, or train on new data"
        )
    for mine, theirs in ((problem.parameters, surrogate.parameters), (problem.observables, surrogate.observables)):
        if difference := mine.difference(theirs):
            raise UsageError(f"problem and surrogate disagree on {mine.axes[0].name}: {difference}")
    return problem


def own_parameters(surrogate: Surrogate) -> Array | None:
    """Parameters (n, n_in) of all samples of the data set a surrogate was trained on, placed again.

    None where nothing says how: files without metadata, points that were given one by one, an unknown law.
    """
    origin, space = surrogate.provenance, surrogate.parameters
    if not {"seed", "n_samples"} <= origin.keys() or space.law == "unknown":
        return None
    design = origin.get("design", "random")
    return place(space, design, origin["seed"], np.arange(origin["n_samples"])) if design in DESIGNS else None


def _made_again(origin: dict[str, Any], given: str | None) -> Problem:
    name = origin["problem"]
    if not given and name not in REGISTERED:
        known = ", ".join(sorted(REGISTERED))
        raise UsageError(
            f"unknown problem {name!r}; known: {known}; it was trained on {name!r}: give it with --problem "
            "package.module:factory"
        )
    options = _saved_options(origin)
    try:
        return load_problem(given, options) if given else registered_problem(name, options)
    except ValueError as error:
        found = f", with the options its data were made with ({', '.join(options)})" if options else ""
        raise UsageError(f"problem {given or name!r} cannot be made again{found}: {error}") from None


def _saved_options(origin: dict[str, Any]) -> dict[str, Any]:
    definition = origin.get("definition")
    if not isinstance(definition, dict):
        return {}
    if "options" not in definition and origin["problem"] in REGISTERED:
        return _earlier_options(definition)
    options = definition.get("options", {})
    if not isinstance(options, dict):
        raise UsageError(f"expected options by name in the definition of the data, got a {type(options).__name__}")
    return options


def _earlier_options(definition: dict[str, Any]) -> dict[str, Any]:
    """Definitions had their options at the top, beside the name and the route, before these had a place of their own."""
    return {name: value for name, value in definition.items() if name not in ("problem", "route")}


def _hashes(problem: Problem, origin: dict[str, Any]) -> set[str]:
    """Of the problem's definition, and of the same in the earlier form if the data have that."""
    definition = problem.definition
    found = {definition_hash(definition)}
    saved = origin.get("definition")
    if isinstance(saved, dict) and "options" in definition and "options" not in saved:
        # Options that came later keep their defaults, which do what was done before.
        options = {name: value for name, value in definition["options"].items() if name in saved}
        found.add(definition_hash({"problem": definition["problem"], "route": definition["route"], **options}))
    return found
