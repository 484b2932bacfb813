"""The mesh of a field: points and cells, compared by content, and kept as arrays beside the data, never in JSON."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnvpro.surrogate.checks import contiguous, numbers
from gnvpro.surrogate.errors import UsageError

Place = Literal["points", "cells"]
# Corners of a cell, by the names of meshio and VTK's order of corners.
CORNERS = {"line": 2, "triangle": 3, "quad": 4, "tetra": 4, "hexahedron": 8}


@dataclass(frozen=True, eq=False)
class Mesh:
    """Points (n_points, dimension) and cells (n_cells, corners) that a field has its values at; make one by `of`.

    Attributes
    ----------
    at
        Where the values are: one a point, linear in between, or one a cell.
    digest
        SHA-256 of the arrays: meshes are equal where these, and `at`, are.
    arrays
        Points and cells; None of a mesh that is known by its description alone.
    """

    cell_type: str
    at: Place
    n_points: int
    n_cells: int
    dimension: int
    digest: str
    arrays: tuple[NDArray[np.float64], NDArray[np.int32]] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, points: ArrayLike, cells: ArrayLike, cell_type: str = "triangle", at: Place = "points") -> Mesh:
        """From points (n, 1 to 3) and the numbers of the points at the corners of every cell, one of `CORNERS`.

        Raises UsageError: shapes that do not fit, an unknown cell, corners that are no points.
        """
        if cell_type not in CORNERS or at not in get_args(Place):
            known = f"a cell {', '.join(CORNERS)} and values at points or cells"
            raise UsageError(f"mesh: expected {known}, got {cell_type!r} and {at!r}")
        x, corners = contiguous(numbers(points, "points of the mesh", 2)), np.asarray(cells)
        if not 1 <= x.shape[1] <= 3 or not np.isfinite(x).all():
            raise UsageError(f"mesh: expected finite points of one to three coordinates, got {x.shape}")
        if corners.ndim != 2 or corners.shape[1] != CORNERS[cell_type] or corners.dtype.kind not in "iu":
            expected = f"cells of {CORNERS[cell_type]} numbers of points ({cell_type})"
            raise UsageError(f"mesh: expected {expected}, got {corners.shape} of {corners.dtype}")
        if not len(corners) or corners.min() < 0 or corners.max() >= len(x):
            raise UsageError(f"mesh: expected cells whose corners are among its {len(x)} points, counted from 0")
        corners = np.ascontiguousarray(corners, dtype=np.int32)
        digest = hashlib.sha256(cell_type.encode() + x.tobytes() + corners.tobytes()).hexdigest()
        return cls(cell_type, at, len(x), len(corners), x.shape[1], digest, (x, corners))

    @property
    def n_values(self) -> int:
        """Values of a field on it."""
        return self.n_points if self.at == "points" else self.n_cells

    @property
    def points(self) -> NDArray[np.float64]:
        """Coordinates (n_points, dimension); UsageError where only the description is known."""
        return self._arrays()[0]

    @property
    def cells(self) -> NDArray[np.int32]:
        """Points at the corners of every cell (n_cells, corners); UsageError as `points`."""
        return self._arrays()[1]

    def _arrays(self) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        if self.arrays is None:
            raise UsageError(
                "the points of this mesh are not here, only its description; read the data set or model again"
            )
        return self.arrays

    def with_arrays(self, points: ArrayLike, cells: ArrayLike) -> Mesh:
        """This mesh with its arrays; UsageError where they are those of another."""
        mesh = Mesh.of(points, cells, self.cell_type, self.at)
        if mesh != self:
            raise UsageError(
                "the points and cells that are stored are not those of the mesh that is described: damaged"
            )
        return mesh

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, without the arrays."""
        names = ("cell_type", "at", "n_points", "n_cells", "dimension", "digest")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> Mesh:
        """Inverse of `to_dict`, without arrays; raises ValueError, KeyError, TypeError for what that does not give."""
        mesh = cls(**described)
        texts, sizes = (mesh.cell_type, mesh.at, mesh.digest), (mesh.n_points, mesh.n_cells, mesh.dimension)
        if not all(isinstance(text, str) for text in texts) or not all(type(size) is int for size in sizes):
            raise TypeError("expected the description of a mesh: texts and numbers of points and cells")
        if mesh.cell_type not in CORNERS or mesh.at not in get_args(Place) or min(sizes) < 1:
            raise UsageError(f"no mesh has {described}")
        return mesh

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mesh) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.digest, self.at))
