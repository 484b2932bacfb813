"""What the components of a parameter or observable vector mean: names, units, bounds, axes, and the law they are drawn by.

Samples are rows throughout (papers on the method use columns).
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws.joint import SIMPLEX_TOLERANCE, Dirichlet, NormalisedUniform, Parts
from gnvpro.surrogate.laws.law import Array, Law
from gnvpro.surrogate.laws.plain import law_of, laws_of
from gnvpro.surrogate.laws.scalar import LogUniform, Uniform
from gnvpro.surrogate.laws.transport import Transport
from gnvpro.surrogate.mesh import Mesh
from gnvpro.surrogate.names import column_names, order_of, shortened
from gnvpro.surrogate.rounding import varies

__all__ = ["SIMPLEX_TOLERANCE", "Array", "Axis", "Coordinate", "Space"]

# Integers in a file may be longer than any float; infinity is not meant: a bound may be that.
_LARGEST = sys.float_info.max

# As many as arrays may have.
_MOST_AXES = 32

Constraint = Literal["box", "simplex"]
LawName = Literal["uniform", "log_uniform", "normalised_uniform", "independent", "unknown"]


@dataclass(frozen=True)
class Coordinate:
    """Numbers along an axis beside its labels, such as the position of each sensor."""

    name: str
    values: tuple[float, ...]
    unit: str = "1"


@dataclass(frozen=True)
class Axis:
    """One dimension of a vector that has structure, such as time, sensor, or the points of a mesh."""

    name: str
    labels: tuple[str, ...] | tuple[float, ...] | range
    unit: str = "1"
    coordinates: tuple[Coordinate, ...] = ()
    mesh: Mesh | None = None

    def __post_init__(self) -> None:
        if self.mesh is not None and self.labels != range(self.mesh.n_values):
            raise UsageError(f"axis {self.name!r}: the values on a mesh are counted from 0; make it by Axis.of_mesh")

    @classmethod
    def of_mesh(cls, name: str, mesh: Mesh) -> Axis:
        """The points of a mesh, or its cells where it has its values there; its labels are their numbers."""
        return cls(name, range(mesh.n_values), mesh=mesh)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; of a mesh its description, and no labels."""
        if self.mesh is not None:
            return {"name": self.name, "unit": self.unit, "mesh": self.mesh.to_dict()}
        described = asdict(self)
        del described["mesh"]
        return described


@dataclass(frozen=True)
class Space:
    """What the components of a parameter or observable vector mean.

    Attributes
    ----------
    axes
        The vector is the C-ordered flattening of an array with these axes.
    units
        One unit per component, or a single one shared by all.
    lower, upper
        Bounds per component; None where unbounded.
    constraint
        `box`: the bounds alone. `simplex`: besides, components sum to one within `SIMPLEX_TOLERANCE`.
        Derivatives on a simplex are given in ambient coordinates and mean something only along it.
    law
        How points are drawn: `uniform` in the bounds, `log_uniform` (their logarithms are uniform), `normalised_uniform`
        (independent uniforms divided by their sum), `independent`: as `laws` says, or `unknown` for data that came without
        a description.
    laws
        With the law `independent`: one for every parameter, or for several that follow each other, in order. The bounds
        are those of the laws. `of_laws` makes such a space.
    """

    axes: tuple[Axis, ...]
    units: tuple[str, ...] = ("1",)
    lower: tuple[float, ...] | None = None
    upper: tuple[float, ...] | None = None
    constraint: Constraint = "box"
    law: LawName = "unknown"
    laws: tuple[Law, ...] = ()

    def __post_init__(self) -> None:
        if not self.axes or self.size == 0:
            raise UsageError("a space needs at least one component; give it an axis with labels")
        if sum(axis.mesh is not None for axis in self.axes) > 1 or (self.mesh is not None and len(self.units) > 1):
            raise UsageError(
                "a field has one mesh and one unit; make fields on several meshes or in several units apart"
            )
        if len(self.axes) > _MOST_AXES:
            raise UsageError(f"expected a space of at most {_MOST_AXES} axes, got {len(self.axes)}")
        self._take_laws()
        for what, bounds in (("lower", self.lower), ("upper", self.upper)):
            if bounds is not None and numbers(bounds, f"{what} bounds").ndim != 1:
                raise UsageError(f"expected one {what} bound for each component, got {bounds!r}")
        for what, given in (("units", self.units), ("lower", self.lower), ("upper", self.upper)):
            allowed = (1, self.size) if what == "units" else (self.size,)
            if given is not None and len(given) not in allowed:
                raise UsageError(f"space of {self.size} components: expected {allowed[-1]} {what}, got {len(given)}")
        if np.any(self.lower_bounds > self.upper_bounds):
            j = int(np.argmax(self.lower_bounds > self.upper_bounds))
            raise UsageError(
                f"{self.names[j]}: lower bound {self.lower_bounds[j]} exceeds upper bound {self.upper_bounds[j]}"
            )
        if np.isnan(self.lower_bounds).any() or np.isnan(self.upper_bounds).any():
            raise UsageError(
                "the bounds of a space must be numbers; give infinity, or None for all, where there is none"
            )
        for what, given, known in (
            ("constraint", self.constraint, get_args(Constraint)),
            ("law", self.law, get_args(LawName)),
        ):
            if given not in known:
                raise UsageError(f"space: expected the {what} {' or '.join(known)}, got {shortened(repr(given))}")

    def _take_laws(self) -> None:
        """Check them, and have their bounds."""
        if bool(self.laws) != (self.law == "independent"):
            raise UsageError("expected laws with the law 'independent', and with no other; Space.of_laws gives both")
        if not self.laws:
            return
        if (n := sum(law.size for law in self.laws)) != self.size:
            raise UsageError(f"space of {self.size} components: expected as many laws, got laws of {n}")
        bounds = (tuple(side.tolist()) for side in self.own_laws.support)
        for what, of_laws in zip(("lower", "upper"), bounds, strict=True):
            if getattr(self, what) not in (None, of_laws):
                raise UsageError(f"expected no {what} bounds beside laws, which have their own")
            object.__setattr__(self, what, of_laws)

    @classmethod
    def of_laws(
        cls, laws: Mapping[Any, Any], *, axis: str = "parameter", units: tuple[str, ...] | list[str] = ("1",)
    ) -> Space:
        """The space of parameters by name, or several names together, each with its law.

        Parameters
        ----------
        laws
            A law of `gnvpro.surrogate.laws`; a frozen distribution of scipy.stats; a dict such as {"law": "normal", "mean":
            0, "standard_deviation": 1}; a pair of bounds, which means uniform; or a number, which is fixed.

        Examples
        --------
        >>> Space.of_laws({"k": Lognormal(0, 1), "n": Integers(1, 5), ("sand", "silt", "clay"): Dirichlet((1, 1, 1))})

        Raises UsageError: as `gnvpro.surrogate.laws.laws_of`.
        """
        names, found = laws_of(laws)
        simplex: Constraint = "simplex" if len(found) == 1 and isinstance(found[0], Parts) else "box"
        space = cls((Axis(axis, tuple(names)),), tuple(units), None, None, simplex, "independent", found)
        for law, kind in (("uniform", Uniform), ("log_uniform", LogUniform)):
            if all(isinstance(each, kind) for each in found):
                return replace(space, law=law, laws=())
        return space

    @classmethod
    def vector(
        cls,
        names: list[str] | tuple[str, ...],
        *,
        axis: str = "parameter",
        units: tuple[str, ...] = ("1",),
        lower: tuple[float, ...] | None = None,
        upper: tuple[float, ...] | None = None,
        constraint: Constraint = "box",
        law: LawName = "unknown",
    ) -> Space:
        """A space without structure: one axis of named components."""
        return cls((Axis(axis, tuple(names)),), tuple(units), lower, upper, constraint, law)

    @classmethod
    def observed(cls, values: Array, axis: str, names: list[str] | None = None) -> Space:
        """The space of data that came without metadata, or with names alone: observed bounds, unit unknown.

        Rows that are not finite (failed solves) do not widen the bounds; of those that have gaps (NaN) it is what there
        is. Non-negative rows that sum to one within the tolerance are recognised as a simplex.
        """
        bounded = values[~np.isinf(values).any(axis=1)]
        if np.isnan(bounded).all():
            raise UsageError(f"no finite row among {len(values)} of {axis}: nothing to take bounds from")
        names = names or [f"{axis}_{j}" for j in range(values.shape[1])]
        if (empty := np.isnan(bounded).all(axis=0)).any():
            name = names[int(np.argmax(empty))]
            raise UsageError(f"no finite number among {len(values)} of {axis} {name}; leave that column out")
        rows = bounded[~np.isnan(bounded).any(axis=1)]
        on_simplex = (
            values.shape[1] > 1
            and len(rows) > 0
            and rows.min() >= 0
            and np.abs(rows.sum(1) - 1).max() <= SIMPLEX_TOLERANCE
        )
        return cls.vector(
            names,
            axis=axis,
            units=("unknown",),
            lower=tuple(np.fmin.reduce(bounded).tolist()),
            upper=tuple(np.fmax.reduce(bounded).tolist()),
            constraint="simplex" if on_simplex else "box",
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        return tuple(len(axis.labels) for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of components."""
        return int(np.prod(self.shape))

    @property
    def mesh(self) -> Mesh | None:
        """The mesh that its components are values on; None where they are on none."""
        return next((axis.mesh for axis in self.axes if axis.mesh is not None), None)

    def with_mesh(self, mesh: Mesh) -> Space:
        """The same with the arrays of its mesh."""
        return replace(self, axes=tuple(axis if axis.mesh is None else replace(axis, mesh=mesh) for axis in self.axes))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """A name for every component, in order; those of a field are made one by one when they are asked for."""
        if self.mesh is not None:
            return cast("tuple[str, ...]", _FieldNames(self.axes))  # used as the tuple it stands for
        if len(self.axes) == 1 and isinstance(self.axes[0].labels[0], str):
            return tuple(str(label) for label in self.axes[0].labels)
        parts = np.indices(self.shape).reshape(len(self.axes), -1).T
        return tuple(
            _name(self.axes, [axis.labels[i] for axis, i in zip(self.axes, row, strict=True)]) for row in parts
        )

    @cached_property
    def lower_bounds(self) -> Array:
        """(size,); -inf where there is none."""
        return np.full(self.size, -np.inf) if self.lower is None else np.asarray(self.lower, float)

    @cached_property
    def upper_bounds(self) -> Array:
        """(size,); inf where there is none."""
        return np.full(self.size, np.inf) if self.upper is None else np.asarray(self.upper, float)

    @cached_property
    def fixed(self) -> NDArray[np.bool_]:
        """Which components (size,) have one value: their bounds meet, up to rounding of the bounds themselves."""
        lower, upper = self.lower_bounds, self.upper_bounds
        size = np.maximum(np.abs(lower), np.abs(upper))
        return np.isfinite(size) & ~varies(np.stack([lower, upper]))

    @cached_property
    def own_laws(self) -> Transport:
        """Those of `laws` as maps from normal variables: of a space with the law `independent`."""
        return Transport(self.laws)

    @cached_property
    def transport(self) -> Transport | None:
        """Its laws as maps from normal variables; None where it has none, or they lack bounds."""
        if self.laws:
            return self.own_laws
        if self.law == "normalised_uniform":
            return Transport((NormalisedUniform(self.size),))
        if self.constraint == "simplex":
            return Transport((Dirichlet((1.0,) * self.size),)) if self.law == "uniform" and self.size > 1 else None
        kind = {"uniform": Uniform, "log_uniform": LogUniform}.get(self.law)
        lower, upper = self.lower_bounds, self.upper_bounds
        if kind is None or not np.isfinite([lower, upper]).all() or (kind is LogUniform and lower.min() <= 0):
            return None
        return Transport(tuple(kind(*bounds) for bounds in zip(lower.tolist(), upper.tolist(), strict=True)))

    @cached_property
    def simplexes(self) -> tuple[slice, ...]:
        """Which components sum to one: all of them, or some by their law."""
        if self.constraint == "simplex" or self.law == "normalised_uniform":
            return (slice(0, self.size),)
        return tuple(of for of, law in self.own_laws.columns if isinstance(law, Parts))

    def in_words(self) -> str:
        """Its axes, as in `31 times × 4 sensors`."""
        shape = " × ".join(f"{len(axis.labels)} {axis.name}{'s' * (len(axis.labels) > 1)}" for axis in self.axes)
        return f"{shape} on the simplex" if self.constraint == "simplex" else shape

    def unit(self, j: int) -> str:
        """The unit of component j."""
        return self.units[0] if len(self.units) == 1 else self.units[j]

    def contains(self, points: Array) -> NDArray[np.bool_]:
        """Which rows are finite, within the bounds and on the constraint: (n, size) -> (n,)."""
        points = self.rows(points)
        inside = ((points >= self.lower_bounds) & (points <= self.upper_bounds) & np.isfinite(points)).all(axis=1)
        if self.constraint == "simplex":
            inside &= np.abs(points.sum(axis=1) - 1) <= SIMPLEX_TOLERANCE
        for columns, law in self._beyond_bounds:
            inside &= law.contains(points[:, columns])
        return inside

    @cached_property
    def _beyond_bounds(self) -> list[tuple[slice, Law]]:
        """Laws that allow less than their bounds do, and their columns."""
        if not self.laws or self.constraint == "simplex":
            return []
        return [(of, law) for of, law in self.own_laws.columns if law.discrete or law.open or of in self.simplexes]

    def rows(self, points: Any) -> Array:
        """Check that `points` is an (n, size) array of numbers and return it as float64.

        The columns of a table with names, such as pandas' DataFrame, are put into the order of the space.

        Raises
        ------
        UsageError
            Not two-dimensional, or another number of columns; says when a transpose would fit; or other names.
        """
        what, columns = self.axes[0].name, column_names(points)
        points = numbers(points, what)
        if columns is not None:
            points = points[:, order_of(self.names, columns, what)]
        if points.ndim != 2 or points.shape[1] != self.size:
            transposed = points.ndim == 2 and points.shape[0] == self.size
            hint = "; it fits transposed: samples are rows here" if transposed else "; give one row per sample"
            raise UsageError(f"expected (n, {self.size}) values for {self.axes[0].name}, got {points.shape}{hint}")
        return points

    def require(self, points: Any) -> Array:
        """Like `rows`, and every row must lie in the space.

        Raises
        ------
        UsageError
            Naming the first row that is not finite, out of bounds or off the simplex.
        """
        points = self.rows(points)
        outside = np.flatnonzero(~self.contains(points))
        if len(outside):
            i = int(outside[0])
            raise UsageError(
                f"row {i} ({len(outside)} of {len(points)} in all) is not in the space: {self._why(points[i])}"
            )
        return points

    def _why(self, point: Array) -> str:
        if not np.isfinite(point).all():
            return f"{self.names[int(np.argmin(np.isfinite(point)))]} is not finite"
        off = np.flatnonzero((point < self.lower_bounds) | (point > self.upper_bounds))
        if len(off):
            j = int(off[0])
            return f"{self.names[j]} = {point[j]:g}, expected {self.lower_bounds[j]:g} to {self.upper_bounds[j]:g}"
        return self.beyond_bounds(point) or "it is there"

    def beyond_bounds(self, point: Array) -> str | None:
        """What else than its bounds a point (size,) of the bounds does not keep to, in words; None for one of the space."""
        if self.constraint == "simplex":
            off = abs(point.sum() - 1) > SIMPLEX_TOLERANCE
            return f"the components sum to {point.sum():.8g}, expected 1 within {SIMPLEX_TOLERANCE:g}" if off else None
        for columns, law in self._beyond_bounds:
            if law.contains(point[None, columns])[0]:
                continue
            if law.discrete or law.open:
                return f"{self.names[columns.start]} = {point[columns.start]:g}, expected a value of the law {law.in_words()}"
            of = ", ".join(self.names[columns])
            return f"{of} sum to {point[columns].sum():.8g}, expected 1 within {SIMPLEX_TOLERANCE:g}"
        return None

    def order_of(self, names: Sequence[str], where: str) -> list[int]:
        """Place of the component that each of these names is of; their own order where it has no names (`observed`).

        Raises UsageError: other names, or more of them, or fewer.
        """
        if names == self.names:
            return list(range(self.size))
        nameless = [f"{self.axes[0].name}_{j}" for j in range(self.size)]
        if len(names) == self.size and list(self.names) in (list(names), nameless):
            return list(range(self.size))
        return order_of(names, self.names, where)

    def difference(self, other: Space) -> str | None:
        """The first difference to `other` in words, or None where the two mean the same vector."""
        if self.shape != other.shape:
            return f"{self.shape} components, and {other.shape}"
        if self.mesh != other.mesh:
            return "values on one mesh, and on another"
        for name in ("names", "units", "constraint", "lower", "upper"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                return f"{name} {shortened(mine)}, and {shortened(theirs)}"
        return None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, read back by `from_dict`."""
        described = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "laws"}
        described["axes"] = tuple(axis.to_dict() for axis in self.axes)
        return described | ({"laws": [law.to_dict() for law in self.laws]} if self.laws else {})

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Space:
        """Inverse of `to_dict`, also after a round trip through JSON.

        Raises
        ------
        ValueError, KeyError, TypeError
            Not what `to_dict` gives.
        """
        lower, upper = (
            None
            if given[side] is None
            else tuple(map(float, _of_kind(given[side], (int, float), f"numbers as {side} bounds")))
            for side in ("lower", "upper")
        )
        units = _of_kind(given["units"], (str,), "texts as units")
        laws = tuple(map(law_of, given.get("laws", ())))
        return cls(tuple(map(_axis, given["axes"])), units, lower, upper, given["constraint"], given["law"], laws)


class _FieldNames(Sequence[str]):
    """Names of the components of a field: hundreds of thousands, of which a message needs one."""

    def __init__(self, axes: tuple[Axis, ...]) -> None:
        self._axes, self._shape = axes, tuple(len(axis.labels) for axis in axes)

    def __len__(self) -> int:
        return math.prod(self._shape)

    def __getitem__(self, j: Any) -> Any:
        if isinstance(j, slice):
            return tuple(self[k] for k in range(*j.indices(len(self))))
        places = np.unravel_index(range(len(self))[j], self._shape)
        return _name(self._axes, [axis.labels[int(i)] for axis, i in zip(self._axes, places, strict=True)])

    def __iter__(self) -> Iterator[str]:
        return (_name(self._axes, labels) for labels in itertools.product(*(axis.labels for axis in self._axes)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _FieldNames):
            return self._axes == other._axes
        return isinstance(other, Sequence) and len(other) == len(self) and all(map(str.__eq__, self, other))

    def __repr__(self) -> str:
        return f"{self[0]}, …, {self[len(self) - 1]}"


def _name(axes: tuple[Axis, ...], labels: Sequence[str | float]) -> str:
    return ", ".join(f"{axis.name} {_text(label)}" for axis, label in zip(axes, labels, strict=True))


def _axis(given: dict[str, Any]) -> Axis:
    name, unit = _of_kind((given["name"], given["unit"]), (str,), "texts as name and unit of an axis")
    if "mesh" in given:
        return replace(Axis.of_mesh(name, Mesh.from_dict(given["mesh"])), unit=unit)
    labels = tuple(given["labels"])
    kind, said = ((str,), "texts") if labels and isinstance(labels[0], str) else ((int, float), "texts or numbers")
    coordinates = tuple(map(_coordinate, given["coordinates"]))
    if wrong := [c.name for c in coordinates if len(c.values) != len(labels)]:
        raise UsageError(f"axis {name!r} has {len(labels)} labels, and its coordinate {wrong[0]!r} another number")
    return Axis(name, _of_kind(labels, kind, f"{said} as labels of axis {name!r}"), unit, coordinates)


def _coordinate(given: dict[str, Any]) -> Coordinate:
    name, unit = _of_kind((given["name"], given["unit"]), (str,), "texts as name and unit of a coordinate")
    return Coordinate(name, _of_kind(given["values"], (int, float), f"numbers as coordinate {name!r}"), unit)


def _of_kind(values: Any, kind: tuple[type, ...], expected: str) -> tuple[Any, ...]:
    found = tuple(values)
    if wrong := [value for value in found if not isinstance(value, kind) or isinstance(value, bool)]:
        raise TypeError(f"expected {expected}, got {shortened(repr(wrong[0]))}")
    if int in kind and any(_LARGEST < abs(value) < math.inf for value in found):
        raise UsageError(f"expected {expected}, got one beyond {_LARGEST:.3g}")
    return found


def _text(label: str | float) -> str:
    return label if isinstance(label, str) else str(label) if isinstance(label, int) else f"{label:g}"
