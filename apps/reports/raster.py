"""Fields on a mesh seen as pictures of a few thousand points: for reports, and for pages that cannot show 100,000 values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.tri import Triangulation
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import KDTree

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.mesh import Mesh
from gnvpro.surrogate.spaces import Array, Axis, Space

# Cells as triangles of their corners.
_TRIANGLES = {"triangle": [[0, 1, 2]], "quad": [[0, 1, 2], [0, 2, 3]]}
# Of the length of a picture: the thickness of a field along a line.
_THIN = 0.2


@dataclass(frozen=True, eq=False)
class Raster:
    """How a field becomes pictures, each of points (nx, ny).

    Attributes
    ----------
    field, pictures
        The space of the field, and that of the pictures: one for some labels of its other axes, then two of positions.
    chosen : (n_pictures,)
        Which labels of the other axes are shown.
    weights : (nx * ny, n_values)
        Interpolation in the mesh; rows of zeros outside of it.
    """

    field: Space
    pictures: Space
    chosen: NDArray[np.intp]
    weights: csr_array

    @classmethod
    def of(cls, field: Space, longest: int, most: int = 4) -> Raster:
        """Of `longest` points along the longer side, and at most so many pictures.

        In two dimensions values are linear in triangles and quadrilaterals. In three, and where cells overlap, they are those
        of the nearest point or cell; in three in the plane through the middle, across the shortest side.
        """
        mesh = field.mesh
        if mesh is None:
            raise UsageError("these observables are on no mesh: there is no picture of them")
        x = mesh.points
        if mesh.dimension == 1:  # a line is as thick as can be seen
            x = np.concatenate([np.insert(x, 1, side * _THIN * np.ptp(x) / 2, axis=1) for side in (-1, 1)])
        low, high = x.min(axis=0), x.max(axis=0)
        seen = sorted(np.argsort(low - high, kind="stable")[:2].tolist())
        step = float((high - low)[seen].max()) / longest
        sides = [low[j] + step * (np.arange(max(1, round(float(high[j] - low[j]) / step))) + 0.5) for j in seen]
        points = np.tile((low + high) / 2, (len(sides[0]) * len(sides[1]), 1))
        points[:, seen] = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
        weights = _linear(mesh, points) if mesh.dimension == 2 else None
        if weights is None:
            weights = _nearest(mesh, points[:, : mesh.dimension], 2 * step)
        others = tuple(axis for axis in field.axes if axis.mesh is None)
        several = Space(others).names if len(others) > 1 else others[0].labels if others else ("values",)
        chosen = np.unique(np.linspace(0, len(several) - 1, min(most, len(several))).round().astype(int))
        first = Axis(others[0].name if len(others) == 1 else "field", tuple(str(several[i]) for i in chosen))
        positions = (Axis("xyz"[j], tuple(side.tolist())) for j, side in zip(seen, sides, strict=True))
        return cls(field, Space((first, *positions), field.units), chosen, weights)

    def __call__(self, fields: Array) -> Array:
        """Pictures (n, n_pictures * nx * ny) of fields (n, n_out); NaN outside of the mesh."""
        place = next(i for i, axis in enumerate(self.field.axes) if axis.mesh is not None)
        values = np.moveaxis(fields.reshape(len(fields), *self.field.shape), place + 1, -1)
        rows = values.reshape(len(fields), -1, values.shape[-1])[:, self.chosen]
        pictures = (self.weights @ rows.reshape(-1, rows.shape[2]).T).T
        pictures[:, self.weights.sum(axis=1) == 0] = np.nan
        return pictures.reshape(len(fields), -1)


def _linear(mesh: Mesh, points: Array) -> csr_array | None:
    """Linear in triangles; None where cells are no triangles or quadrilaterals, or overlap."""
    if mesh.cell_type not in _TRIANGLES:
        return None
    corners = _TRIANGLES[mesh.cell_type]
    triangles = mesh.cells[:, corners].reshape(-1, 3)
    try:
        finder = Triangulation(mesh.points[:, 0], mesh.points[:, 1], triangles).get_trifinder()
        found = np.asarray(finder(points[:, 0], points[:, 1]))
    except (ValueError, RuntimeError):  # of matplotlib, for triangles that are no triangulation
        return None
    inside = np.flatnonzero(found >= 0)
    if mesh.at == "cells":
        columns, values = found[inside, None] // len(corners), np.ones((len(inside), 1))
    else:
        columns = triangles[found[inside]]
        a, b, c = np.moveaxis(mesh.points[columns], 1, 0)
        sides = np.stack([b - a, c - a], axis=2)
        last = np.linalg.solve(sides, (points[inside] - a)[..., None])[..., 0]
        values = np.column_stack([1 - last.sum(axis=1), last])
    return _matrix(inside, columns, values, len(points), mesh.n_values)


def _nearest(mesh: Mesh, points: Array, reach: float) -> csr_array:
    """The nearest value; none beyond the length of a cell, or `reach` where that is more."""
    corners = mesh.points[mesh.cells]
    length = float(np.median(np.ptp(corners, axis=1).max(axis=1)))
    distance, column = map(
        np.asarray, KDTree(mesh.points if mesh.at == "points" else corners.mean(axis=1)).query(points)
    )
    inside = np.flatnonzero(distance <= max(length, reach))
    return _matrix(inside, column[inside, None], np.ones((len(inside), 1)), len(points), mesh.n_values)


def _matrix(rows: NDArray[np.intp], columns: NDArray[Any], values: Array, n_rows: int, n_columns: int) -> csr_array:
    places = np.repeat(rows, columns.shape[1]), columns.ravel()
    return csr_array((values.ravel(), places), shape=(n_rows, n_columns))
