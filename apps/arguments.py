"""What the functions of the library take, made into what they work with: models, samples, parameters, and the PDE of a model.

Each is an object or what it is saved as: the folder of a model, the file of parameters, the name of a problem.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gnvpro.pde_data.problems.contract import Problem, coarser_version
from gnvpro.pde_data.problems.loading import REGISTERED, as_problem, load_problem, registered_problem
from gnvpro.pde_data.problems.source import difference_of_definitions
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.pde_data.storage.tables import read_parameters
from gnvpro.surrogate.checks import numbers, shown
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.load import load_model
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.names import column_names
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array, Space

if TYPE_CHECKING:
    import xarray as xr

PAIR = ("parameters", "observables")

type Folder = str | Path
type Data = Folder | Samples | xr.Dataset | tuple[Any, Any]
type Parameters = Any  # a file, `Samples`, a Dataset or an array


def model_of(model: Folder | Surrogate | Classifier) -> Surrogate | Classifier:
    """A model, loaded where its folder is given."""
    if isinstance(model, Surrogate | Classifier):
        return model
    if not isinstance(model, str | Path):
        raise UsageError(f"expected a model or the folder of one, got a {type(model).__name__}")
    return load_model(model)


def surrogate_of(model: Folder | Surrogate | Classifier) -> Surrogate:
    """A surrogate, loaded where its folder is given; a classifier is refused."""
    loaded = model_of(model)
    if not isinstance(loaded, Surrogate):
        raise UsageError(f"expected a surrogate, got {name_of(model, 'a classifier')}, which is a classifier")
    return loaded


def name_of(thing: Any, otherwise: str) -> str:
    """Where something is saved, for messages and titles; `otherwise` for what is in memory."""
    return shown(thing) if isinstance(thing, str | Path) else otherwise


def samples_of(
    data: Data,
    transpose: bool = False,
    parameters: Sequence[str] | None = None,
    *,
    field_error: float | None = None,
) -> Samples:
    """Samples, however they are given; UsageError for anything else, and for what `read_samples` refuses.

    `Samples`; a pair of arrays or DataFrames, parameters (n, n_in) and observables (n, n_out); an xarray Dataset; or the
    path of what `read_samples` reads, to which `transpose` and `field_error` belong. `parameters`: names of the columns of a
    `.csv`, or of the variables of a Dataset, that are parameters.
    """
    if isinstance(data, Samples):
        return data
    if not isinstance(data, tuple | list):
        if isinstance(data, str | Path) or has_variables(data):
            return read_samples(data, transpose, parameters=parameters, field_error=field_error)
        expected = "samples, a pair of arrays, an xarray Dataset or the path of a data set"
        raise UsageError(f"expected {expected}, got a {type(data).__name__}")
    if len(data) != len(PAIR):
        raise UsageError(f"expected a pair of arrays, {' and '.join(PAIR)}, got {len(data)} of them")
    data = tuple(map(samples_first, data))
    y, c = (matrix(values, name) for values, name in zip(data, PAIR, strict=True))
    y_space = Space.observed(y, "parameter", column_names(data[0]))
    return Samples(y, c, y_space, Space.observed(c, "observable", column_names(data[1])))


def parameters_of(parameters: Parameters, space: Space, transpose: bool = False) -> Array:
    """Parameters (n, n_in) of a space, however they are given.

    An array; a DataFrame or DataArray; `Samples`; an xarray Dataset, with a variable `parameters` or one for every parameter
    of the space; or the path of what `read_parameters` reads, to which `transpose` belongs. Columns that have names are
    found by them, in any order.

    Raises
    ------
    UsageError
        Another number of columns, other names, or a row that is not finite.
    """
    if has_variables(parameters):
        parameters = _parameters_in(parameters, space)
    if isinstance(parameters, Samples):
        rows = parameters.parameters[:, parameters.parameter_space.order_of(space.names, "the samples")]
    elif isinstance(parameters, str | Path):
        rows = read_parameters(parameters, transpose, space.names)
    else:
        rows = samples_first(parameters, space.names)
        matrix(rows, "parameters")
    rows = space.rows(rows)
    if not np.isfinite(rows).all():
        row = int(np.argmin(np.isfinite(rows).all(axis=1)))
        raise UsageError(f"{name_of(parameters, 'parameters')}: row {row} is not finite; leave such rows out")
    return rows


def _parameters_in(dataset: xr.Dataset, space: Space) -> Any:
    """Parameters in a Dataset: samples, a variable `parameters` alone, or a variable for each of the space."""
    if set(PAIR) <= set(dataset):
        return read_samples(dataset, allow_partial=True)
    if PAIR[0] in dataset:
        return dataset[PAIR[0]]
    from gnvpro.pde_data.storage.variables import variables_as_one

    return variables_as_one(dataset, space.names, "the Dataset")


def samples_first(values: Any, names: Sequence[str] = ()) -> Any:
    """A table (DataArray) with samples along its first dimension.

    It is turned where the last one is called `sample` or the first `parameter` or `observable`, or where the first has
    exactly these `names` and the last has none.
    """
    if len(dimensions := getattr(values, "dims", ())) != 2:
        return values
    first, last = dimensions
    turned = values.transpose(last, first)
    flipped = column_names(values) is None and sorted(column_names(turned) or ()) == sorted(names) != []
    across = last == "sample" or first in ("parameter", "observable")
    return turned if first != "sample" and (across or flipped) else values


def matrix(values: Any, what: str) -> Array:
    """An array (n, m) of float64; UsageError where that is impossible."""
    array = numbers(values, what)
    if array.ndim != 2 or not len(array):
        remedy = "; use [:, None] for one column" if array.ndim == 1 and len(array) else ""
        raise UsageError(f"expected {what} of shape (n, m), a sample a row, got {array.shape}{remedy}")
    return array


def has_variables(data: Any) -> bool:
    """Whether it is a Dataset of xarray."""
    xarray = sys.modules.get("xarray")  # where it is not loaded, nothing is a Dataset of its
    return xarray is not None and isinstance(data, xarray.Dataset)


def problem_of(surrogate: Surrogate, problem: Any = None) -> Problem:
    """The PDE that a surrogate was trained on, with the same options and the same definition.

    Parameters
    ----------
    problem
        The problem itself, or what `load_problem` makes it of, where it is not a registered one. The name in a saved model is
        only looked up among the registered, and the options in it are values: nothing is imported that they name.

    Raises
    ------
    UsageError
        The data named no PDE, or the problem's definition is another one today.
    """
    origin = surrogate.provenance
    if "definition_hash" not in origin:
        data = f"{origin['file']}, which names no PDE" if "file" in origin else "arrays, which name no PDE"
        raise UsageError(
            f"this surrogate was trained on {data}; what solves the PDE needs a model trained on data that `generate` wrote"
        )
    named = problem is None or isinstance(problem, str | Path)
    problem = _remade(origin, problem and str(problem)) if named else as_problem(problem)
    if origin["definition_hash"] not in _hashes(problem, origin):
        saved = origin.get("definition")
        changed = difference_of_definitions(saved, problem.definition, "", "today") if isinstance(saved, dict) else None
        raise UsageError(
            f"this surrogate was trained on problem {origin['problem']!r} with definition "
            f"{origin['definition_hash'][:12]}, and {problem.name!r} has {definition_hash(problem.definition)[:12]}"
            f"{f' ({changed})' if changed else ''}; compare with the problem as it was, or train on new data"
        )
    for mine, theirs in ((problem.parameters, surrogate.parameters), (problem.observables, surrogate.observables)):
        if difference := mine.difference(theirs):
            raise UsageError(f"problem and surrogate disagree on {mine.axes[0].name}: {difference}")
    return problem


# Options that a saved model gives to no program, server or factory that the user names.
_NOT_OF_A_MODEL = {
    ".toml": ("time_limit", "retries", "at_once", "keep"),
    "url": ("url", "model", "at_once", "time_limit"),
}


def _remade(origin: dict[str, Any], factory: str | None) -> Problem:
    name, options = origin["problem"], _saved_options(origin)
    if not factory and name not in REGISTERED:
        known = ", ".join(sorted(REGISTERED))
        raise UsageError(
            f"unknown problem {name!r}; known: {known}; the model was trained on {name!r}: give it with "
            "problem='package.module:factory', its file (.toml) or its URL"
        )
    try:
        if factory:
            # What a user names says how it is run and where it is; a file from a stranger only what is computed.
            dropped = _NOT_OF_A_MODEL.get("url" if "://" in factory else Path(factory).suffix, ("comm",))
            options = {name: value for name, value in options.items() if name not in dropped}
        problem = load_problem(factory, options) if factory else registered_problem(name, options)
        return coarser_version(problem, _level(origin))
    except UsageError as error:
        with_options = f", with the options its data were made with ({', '.join(options)})" if options else ""
        raise UsageError(f"problem {factory or name!r} cannot be made again{with_options}: {error}") from None


def _saved_options(origin: dict[str, Any]) -> dict[str, Any]:
    definition = origin.get("definition")
    if not isinstance(definition, dict):
        return {}
    if "options" not in definition and origin["problem"] in REGISTERED:
        # An earlier form, whose options stood at the top.
        return {name: value for name, value in definition.items() if name not in ("problem", "route")}
    options = definition.get("options", {})
    if not isinstance(options, dict):
        raise UsageError(f"expected options by name in the definition of the data, got a {type(options).__name__}")
    return options


def _level(origin: dict[str, Any]) -> int:
    """How many times coarser the problem was than the one that its factory makes."""
    definition = origin.get("definition")
    level = definition.get("coarser", 0) if isinstance(definition, dict) and "factory" in definition else 0
    if not isinstance(level, int):
        raise UsageError(f"expected a number of times coarser in the definition of the data, got {level!r}")
    return level


def _hashes(problem: Problem, origin: dict[str, Any]) -> set[str]:
    """Of the problem's definition, and of the same in the earlier form if the data have that."""
    definition = problem.definition
    hashes = {definition_hash(definition)}
    if (former := getattr(problem, "former_definition", None)) is not None:
        hashes.add(definition_hash(former))
    saved = origin.get("definition")
    if isinstance(saved, dict) and "options" in definition and "options" not in saved:
        # Options that came later keep their defaults, which do what was done before.
        options = {name: value for name, value in definition["options"].items() if name in saved}
        hashes.add(definition_hash({"problem": definition["problem"], "route": definition["route"], **options}))
    return hashes


def refuse_without_solves(
    which: str, option: str, problem: Any, checkpoint: Any, time_limit: float | None, ranks: int, threads_per_solve: int
) -> None:
    """UsageError: what says how `which` solves are made, where the `option` for their number asks for none."""
    if (problem, checkpoint, time_limit) != (None,) * 3 or max(ranks, threads_per_solve) > 1:
        raise UsageError(
            f"`problem`, `checkpoint`, `time_limit`, `ranks` and `threads_per_solve` belong to {which}; say how many with "
            f"`{option}`, or leave them out"
        )
