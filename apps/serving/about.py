"""What clients may know of a model beyond the protocol: names, units, bounds and laws of its parameters and observables."""

from __future__ import annotations

from typing import Any

import numpy as np

from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Array, Space


def about_model(model: ForwardModel) -> dict[str, Any]:
    """JSON-able: lists with an entry for every component, in the order of the vectors; of a field, the axes alone."""
    return {"parameters": _parameters(model.parameters), "observables": _names(model.observables)}


def _parameters(space: Space) -> dict[str, Any]:
    return {
        **_names(space),
        "lower": _numbers(space.lower_bounds),
        "upper": _numbers(space.upper_bounds),
        "sum_to_one": [list(range(of.start, of.stop)) for of in space.simplexes],
        "laws": [] if space.transport is None else [
            {"names": list(space.names[of]), **law.to_dict()} for of, law in space.transport.columns
        ],
    }  # fmt: skip


def _names(space: Space) -> dict[str, Any]:
    if len(space.axes) == 1 and space.mesh is None:
        return {"names": list(space.names), "units": [space.unit(j) for j in range(space.size)]}
    axes = [{"name": axis.name, "unit": axis.unit, "size": len(axis.labels)} for axis in space.axes]
    if space.mesh is not None:  # thousands of points, which have no names of their own
        return {"axes": axes, "units": [space.units[0]]}
    return {"names": list(space.names), "units": [space.unit(j) for j in range(space.size)], "axes": axes}


def _numbers(values: Array) -> list[float | None]:
    """null where there is no bound."""
    return [float(value) if np.isfinite(value) else None for value in values]
