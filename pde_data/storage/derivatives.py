"""Derivatives in data that are read: along directions, or Jacobians; and what solves and derivatives have cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import seconds
from gnvpro.surrogate.names import find_names
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array

if TYPE_CHECKING:
    import xarray as xr

_PAIR: tuple[str, str] = ("directions", "derivatives")
# As `generate` names them.
_SINGULAR = ("direction", "derivative")
_JACOBIAN = "jacobian"
TIMES = ("wall_time", "derivative_wall_time")

# `directions` (n, r, n_in) and `derivatives` (n, r, n_out), or `jacobian` (n, n_out, n_in), where there are any.
type Derivatives = dict[str, Array]


def in_arrays(arrays: Mapping[str, Any], where: object) -> Derivatives:
    """Those among the arrays of a file, samples first."""
    there = list(arrays)
    names = [*_PAIR, _JACOBIAN]
    if set(find_names(_PAIR, there, str(where))) == {None}:
        names[:2] = _SINGULAR
    places = find_names(names, there, str(where))
    read = {
        name: numbers(arrays[there[place]], name, where=where)
        for name, place in zip((*_PAIR, _JACOBIAN), places, strict=True)
        if place is not None
    }
    return _of_one_kind(read, where)


def in_dataset(dataset: xr.Dataset, parameters: xr.DataArray, observables: xr.DataArray, where: object) -> Derivatives:
    """Those among the variables of a data set, found by their dimensions; `parameters`, `observables`: samples first.

    Raises UsageError: other dimensions than samples, directions and components, one of a pair, or of both kinds.
    """
    sample, *of_parameters = parameters.dims
    of_observables = observables.dims[1:]
    names = _PAIR if any(name in dataset for name in _PAIR) else _SINGULAR
    singular = names is _SINGULAR and all(name in dataset.variables and dataset[name].ndim > 1 for name in names)
    read: Derivatives = {}
    if names is _PAIR or singular:
        dimensions: dict[str, Any] = dict(zip(_PAIR, (of_parameters, of_observables), strict=True))
        there = {kind: dataset[name] for kind, name in zip(_PAIR, names, strict=True) if name in dataset.variables}
        along = [d for v in there.values() for d in v.dims if d not in (sample, *of_parameters, *of_observables)]
        for kind, variable in there.items():
            read[kind] = _ordered(variable, [[sample], along[:1], dimensions[kind]], where)
    if _JACOBIAN in dataset:
        read[_JACOBIAN] = _ordered(dataset[_JACOBIAN], [[sample], of_observables, of_parameters], where)
    return _of_one_kind(read, where)


def _ordered(variable: xr.DataArray, dimensions: list[Any], where: object) -> Array:
    """Its values with three axes, of these dimensions each."""
    order = [name for group in dimensions for name in group]
    if len(set(order)) < len(order) or set(order) != set(variable.dims) or not dimensions[1]:
        expected = ", ".join(map(str, order)) if dimensions[1] else "samples, directions and components"
        raise UsageError(
            f"{where}: expected {variable.name} with dimensions ({expected}), got ({', '.join(map(str, variable.dims))})"
        )
    values = numbers(variable.transpose(*order).values, str(variable.name), where=where)
    return values.reshape([int(np.prod([variable.sizes[name] for name in group])) for group in dimensions])


def _of_one_kind(read: Derivatives, where: object) -> Derivatives:
    kinds = {frozenset(), frozenset(_PAIR), frozenset([_JACOBIAN])}
    if frozenset(read) not in kinds:
        raise UsageError(f"{where}: expected directions with derivatives, or a jacobian, got {' and '.join(read)}")
    return read


def count_directions(read: Derivatives) -> int:
    """Derivatives of every sample: along as many directions, or every parameter of a Jacobian."""
    return read[_JACOBIAN].shape[2] if _JACOBIAN in read else read[_PAIR[0]].shape[1]


def with_derivatives(samples: Samples, read: Derivatives, where: object) -> Samples:
    """Samples with the derivatives that were read; what is not finite is not known, which zeros say.

    A Jacobian becomes derivatives along every parameter; on a simplex along what of it lies in the simplex.

    Raises UsageError: other shapes than samples, directions and components.
    """
    n, n_in, n_out = len(samples), samples.parameter_space.size, samples.observable_space.size
    if _JACOBIAN in read:
        jacobian = read[_JACOBIAN]
        if jacobian.shape != (n, n_out, n_in):
            raise UsageError(
                f"{where}: expected a jacobian {(n, n_out, n_in)} (samples, observables, parameters), got {jacobian.shape}"
            )
        along, derivatives = np.eye(n_in), jacobian.swapaxes(1, 2)
        if samples.parameter_space.constraint == "simplex":
            along = along - 1 / n_in
            derivatives = derivatives - derivatives.mean(axis=1, keepdims=True)
        read = {"directions": np.tile(along, (n, 1, 1)), "derivatives": derivatives}
    if not read:
        return samples
    directions, derivatives = (read[name] for name in _PAIR)
    for name, values, size in (("directions", directions, n_in), ("derivatives", derivatives, n_out)):
        if values.ndim != 3 or values.shape != (n, directions.shape[1], size):
            expected = f"({n}, number of directions, {size}), samples first"
            raise UsageError(f"{where}: expected {name} {expected}, got {values.shape}")
    known = (np.isfinite(directions).all(axis=2) & np.isfinite(derivatives).all(axis=2))[..., None]
    return replace(samples, directions=np.where(known, directions, 0), derivatives=np.where(known, derivatives, 0))


def derivatives_in_words(
    n_directions: int, method: str | None, n_failed: int, cost: Mapping[str, float]
) -> list[tuple[str, str]]:
    """Rows of a description: how many derivatives, how they are made, of how many samples they failed, what they cost."""
    made = f" by {method}" if method else ""
    failed = f"; of {n_failed} solved samples not all of them, `failure` says why" if n_failed else ""
    rows = [("derivatives", f"{n_directions} a sample{made}{failed}")]
    if "derivative_seconds" in cost:
        solve, derivative = cost["seconds"], cost["derivative_seconds"]
        share = f" ({derivative / solve:.2g} solves)" if solve else ""
        rows.append(("a solve, a derivative", f"{seconds(solve)}, {seconds(derivative)}{share}"))
    return rows


def mean_cost(status: Array | NDArray[np.int8], wall_times: Mapping[str, Array], n_directions: int) -> dict[str, float]:
    """Mean `seconds` of a solved sample and `derivative_seconds` of one of its derivatives; absent where not known.

    `wall_times`: those of `TIMES` that there are. Where values and derivatives come out of one call, the samples count of
    which it is known what each of them cost; on a busy machine the values alone may have taken as long, which says nothing.
    """
    if "wall_time" not in wall_times:
        return {}
    counted, cost = (status == SolveStatus.OK) & np.isfinite(wall_times["wall_time"]), {}
    of_derivatives = wall_times.get("derivative_wall_time")
    if of_derivatives is not None:
        counted = apart = counted & (of_derivatives > 0)
        if not apart.any():
            return {}
        cost["derivative_seconds"] = float(of_derivatives[apart].mean()) / n_directions
    return {"seconds": float(wall_times["wall_time"][counted].mean()), **cost} if counted.any() else {}
