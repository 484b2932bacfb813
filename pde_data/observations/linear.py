"""Observations that are linear in a finite-element function: values at points, averages over parts of the domain.

Such an observation is a sparse matrix, which serves for values, for tangents (the same) and for adjoints (its transpose).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from gnvpro.pde_data.problems.fenicsx import fenicsx
from gnvpro.pde_data.problems.point_values import point_values
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Axis, Coordinate, Space


@dataclass(frozen=True, eq=False)
class LinearObservation:
    """Sensors that measure a function linearly.

    Attributes
    ----------
    matrix : (n_sensors, n_dofs)
        Sparse; from `function.x.array` to what is measured. Its transpose maps weights of the sensors to the load of an
        adjoint equation.
    axis
        The sensors: names, positions.
    unit
        Of what is measured.
    comm
        The processes that share the mesh, where there are several: each has the columns of the dofs that it knows, and
        what is measured is the sum over them.
    """

    matrix: sp.csr_array
    axis: Axis
    unit: str = "1"
    comm: Any = None

    def __call__(self, function: Any) -> Array:
        """What is measured (n_sensors,) of a dolfinx function, or of rows of its dofs, (..., n_dofs) to (..., n_sensors)."""
        dofs = function.x.array if hasattr(function, "x") else np.asarray(function)
        values = (self.matrix @ dofs.T).T
        return values if self.comm is None else self.comm.allreduce(values)

    @property
    def space(self) -> Space:
        """Of the observables."""
        return Space((self.axis,), (self.unit,))

    def at_times(self, times: Sequence[float], steps: Sequence[float], unit: str = "s") -> ObservationInTime:
        """The same at several times, of a function that is known at `steps`, the first and last included."""
        return ObservationInTime(self, tuple(map(float, times)), tuple(map(float, steps)), unit)


@dataclass(frozen=True, eq=False)
class ObservationInTime:
    """Sensors read at several times, linearly between the steps of a time integration.

    Its observables are a sum over the steps, so that none has to be kept: `values += observed(i, u)`.

    Attributes
    ----------
    sensors
        What is read.
    times, steps
        When it is read (n_times,); the times (n_steps,) of the function's states, ascending.
    unit
        Of time.
    """

    sensors: LinearObservation
    times: tuple[float, ...]
    steps: tuple[float, ...]
    unit: str = "s"

    def __post_init__(self) -> None:
        steps, times = numbers(self.steps, "steps in time", 1), numbers(self.times, "times", 1)
        if not len(steps) or not (np.diff(steps) > 0).all():
            raise UsageError(f"expected ascending steps in time, got {self.steps}")
        rounding = 1e-12 * np.abs(steps).max()
        if not ((times >= steps[0] - rounding) & (times <= steps[-1] + rounding)).all():
            raise UsageError(
                f"expected times between {steps[0]:g} and {steps[-1]:g}, the first and the last step, got "
                f"{times.min():g} to {times.max():g}; integrate longer or observe earlier"
            )

    @cached_property
    def weights(self) -> sp.csc_array:
        """Matrix (n_times, n_steps) that interpolates between the steps."""
        steps, times = np.array(self.steps), np.array(self.times)
        if len(steps) == 1:
            return sp.csc_array(np.ones((len(times), 1)))
        left = np.clip(np.searchsorted(steps, times, side="right") - 1, 0, len(steps) - 2)
        part = np.clip((times - steps[left]) / (steps[left + 1] - steps[left]), 0, 1)
        rows = np.arange(len(times))
        placed = np.r_[1 - part, part], (np.r_[rows, rows], np.r_[left, left + 1])
        return sp.csc_array(placed, shape=(len(times), len(steps)))

    @property
    def space(self) -> Space:
        """Of the observables: times × sensors."""
        return Space((Axis("time", self.times, self.unit), self.sensors.axis), (self.sensors.unit,))

    def __call__(self, step: int, function: Any) -> Array:
        """What the state at one step adds to the observables (n_times * n_sensors,)."""
        return np.outer(self._of_step(step), self.sensors(function)).ravel()

    def load(self, step: int, weights: Array) -> Array:
        """The transpose: from weights (n_times * n_sensors,) to the load (n_dofs,) of the adjoint equation at one step."""
        return self.sensors.matrix.T @ (self._of_step(step) @ np.reshape(weights, (len(self.times), -1)))

    def _of_step(self, step: int) -> Array:
        return self.weights[:, [step]].toarray()[:, 0]


def points(
    space: Any,
    at: Array | Sequence[Sequence[float]],
    names: Sequence[str] | None = None,
    *,
    unit: str = "1",
    length_unit: str = "1",
    axis: str = "sensor",
) -> LinearObservation:
    """Values of a function of `space` at points (k, dimension); of a vector function, every component of each.

    `names` are of the points, by default s1, s2, …; `unit` is that of the function, `length_unit` that of the mesh.

    Raises UsageError: a point outside the mesh; another number of names; an element whose functions are mapped.
    """
    at, components = numbers(at, "points", 2), space.dofmap.index_map_bs
    matrix = point_values(space, at)
    names = [f"s{i + 1}" for i in range(len(at))] if names is None else list(names)
    if len(names) != len(at):
        raise UsageError(f"expected a name for each of {len(at)} points, got {len(names)}")
    labels = names if components == 1 else [f"{name} {'xyz'[c]}" for name in names for c in range(components)]
    positions = np.repeat(at[:, : space.mesh.geometry.dim], components, axis=0)
    coordinates = tuple(
        Coordinate(f"{axis}_{letter}", tuple(column.tolist()), length_unit)
        for letter, column in zip("xyz", positions.T, strict=False)
    )
    return LinearObservation(matrix, Axis(axis, tuple(labels), coordinates=coordinates), unit, _shared(space))


def averages(
    space: Any,
    regions: Mapping[str, Callable[[Any], Any] | tuple[Any, int]],
    *,
    unit: str = "1",
    axis: str = "region",
) -> LinearObservation:
    """Averages of a scalar function of `space` over parts of the domain.

    Parameters
    ----------
    regions
        By name: `(cell_tags, value)`, or the indicator of the region as a function of the coordinates in UFL, such as
        `lambda x: conditional(lt(x[0], 0.5), 1.0, 0.0)`, which any other weight may stand for. An indicator that jumps
        within cells is integrated approximately: tags, or a mesh that follows the region, are exact.

    Raises UsageError: a region without volume; a space of vectors.
    """
    fx = fenicsx()
    if space.value_size != 1:
        raise UsageError(
            f"expected a scalar space, got {space.ufl_element()}; take a component with space.sub(i).collapse()"
        )
    test, x = fx.ufl.TestFunction(space), fx.ufl.SpatialCoordinate(space.mesh)
    one = fx.fem.Constant(space.mesh, 1.0)
    rows = []
    for name, region in regions.items():
        if callable(region):
            weight, measure = region(x), fx.ufl.dx(space.mesh)
        else:
            tags, value = region
            weight, measure = one, fx.ufl.Measure("dx", space.mesh, subdomain_data=tags)(int(value))
        volume = space.mesh.comm.allreduce(fx.fem.assemble_scalar(fx.fem.form(weight * one * measure)))
        if not volume > 0:
            raise UsageError(f"region {name!r} has no volume; look at its tag or indicator")
        rows.append(fx.fem.assemble_vector(fx.fem.form(weight * test * measure)).array / volume)
    return LinearObservation(sp.csr_array(np.array(rows)), Axis(axis, tuple(regions)), unit, _shared(space))


def _shared(space: Any) -> Any:
    """The communicator, where several processes share the mesh."""
    return space.mesh.comm if space.mesh.comm.size > 1 else None
