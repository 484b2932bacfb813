"""What a problem may show of itself at a point: views of its domain with shapes in them, drawn by whoever shows it.

A problem offers `scene(y)` for parameters (n_in,). A view is a plane with fixed ends, so that shapes move in it and not it
around them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any, Literal, get_args
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

type Kind = Literal["area", "line", "points", "markers", "sensors"]
# Of which it was told that they show nothing: a page asks for a scene at every move of a slider.
_told: WeakSet[Any] = WeakSet()


@dataclass(frozen=True, eq=False)
class Shape:
    """Something in a view.

    Attributes
    ----------
    kind
        `area`, a closed outline that is filled; `line`; `points`, of which there may be many; `markers`, larger; or
        `sensors`, points that have values.
    points : (n, 2)
    label
        What it is, for a legend and for readers of screens.
    observables : (n, k)
        Of sensors: the places of what each of them measures, in the order of their `labels`.
    labels
        Of what sensors measure one after the other, such as times.
    """

    kind: Kind
    points: Array
    label: str = ""
    observables: NDArray | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class View:
    """A plane with equal scales along both axes; `ends` are those of the first axis, then those of the second."""

    title: str
    axes: tuple[str, str]
    ends: tuple[tuple[float, float], tuple[float, float]]
    shapes: tuple[Shape, ...]


# Parameters (n_in,) -> views of the domain.
Scene = Callable[[Array], Sequence[View]]


def views_of(problem: object, y: Array) -> tuple[View, ...]:
    """What a problem shows of its domain at parameters (n_in,); nothing where it has no `scene`, or one that is broken."""
    scene = getattr(problem, "scene", None)
    return () if scene is None else views_by(scene, y, getattr(getattr(problem, "observables", None), "size", None))


def views_by(scene: Scene, y: Array, n_out: int | None = None) -> tuple[View, ...]:
    """The same by a `scene` alone, of a model with `n_out` observables.

    What it shows is an extra: whatever is wrong with it is one warning, told once, and costs nobody a result.
    """
    try:
        return tuple(_checked(view, n_out) for view in scene(np.array(y)))
    except Exception as failure:  # of the user's code
        function = getattr(scene, "__func__", scene)  # a bound method is another object at every access
        known = function if isinstance(function, FunctionType) else type(function)
        if known not in _told:
            _told.add(known)
            warnings.warn(f"the domain is not shown, as its scene is broken: {_said(failure)}", stacklevel=3)
        return ()


def _said(failure: Exception) -> str:
    return str(failure) if isinstance(failure, UsageError) else f"{type(failure).__name__}: {failure}"


def _checked(view: View, n_out: int | None) -> View:
    if not isinstance(view, View):
        raise UsageError(
            f"expected views (gnvpro.pde_data.problems.scene.View), got {type(view).__name__}; return a list"
        )
    ends = np.asarray(view.ends, dtype=float)
    if ends.shape != (2, 2) or not np.isfinite(ends).all() or not (ends[:, 0] < ends[:, 1]).all():
        raise UsageError(
            f"view {view.title!r}: expected as ends two pairs of numbers, the lower first, got {view.ends}; give the plane "
            "a width and a height"
        )
    if len(view.axes) != 2:
        raise UsageError(f"view {view.title!r}: expected the names of two axes, got {view.axes}; name each")
    (x0, x1), (y0, y1) = ends.tolist()
    shapes = tuple(_checked_shape(shape, view.title, n_out) for shape in view.shapes)
    return View(str(view.title), (str(view.axes[0]), str(view.axes[1])), ((x0, x1), (y0, y1)), shapes)


def _checked_shape(shape: Shape, title: str, n_out: int | None) -> Shape:
    if not isinstance(shape, Shape):
        raise UsageError(
            f"view {title!r}: expected shapes (gnvpro.pde_data.problems.scene.Shape), got {shape!r}; list them"
        )
    where, kinds = f"view {title!r}, shape {shape.label!r}", get_args(Kind.__value__)
    if shape.kind not in kinds:
        raise UsageError(f"{where}: expected a kind of {', '.join(kinds)}, got {shape.kind!r}; take one of these")
    points = np.asarray(shape.points, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2:
        raise UsageError(f"{where}: expected points (n, 2), got {points.shape}; give each its two coordinates")
    if shape.observables is None:
        return replace(shape, points=points, label=str(shape.label), labels=tuple(map(str, shape.labels)))
    places = np.asarray(shape.observables)
    if places.ndim != 2 or len(places) != len(points) or not places.size or places.dtype.kind not in "iu":
        raise UsageError(
            f"{where}: expected observables as integers ({len(points)}, k), got {places.dtype} {places.shape}; give the "
            "places of what each sensor measures"
        )
    if places.min() < 0 or (n_out is not None and places.max() >= n_out):
        most = "" if n_out is None else f" below {n_out}"
        raise UsageError(
            f"{where}: expected places of observables{most}, got {places.min()} to {places.max()}; count from 0"
        )
    if len(shape.labels) not in (0, places.shape[1]):
        raise UsageError(
            f"{where}: expected {places.shape[1]} labels or none, got {len(shape.labels)}; give one for each that it measures"
        )
    return Shape(shape.kind, points, str(shape.label), places, tuple(map(str, shape.labels)))
