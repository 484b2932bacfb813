"""What a problem may show of itself at a point: views of its domain with shapes in them, drawn by whoever shows it.

A problem offers `scene(y)` for parameters (n_in,). A view is a plane with fixed ends, so that shapes move in it and not it
around them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from numpy.typing import NDArray

from gnvpro.surrogate.spaces import Array

type Kind = Literal["area", "line", "points", "markers", "sensors"]


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
