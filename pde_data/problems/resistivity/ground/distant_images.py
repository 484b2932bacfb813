"""Distant images see a surface through a few points: those of a grid of Chebyshev nodes in the box around it.

1/r of an image is a smooth function in the box: interpolated from the nodes it turns sum_q values_q n_q · grad(1/r) over
thousands of points q into a sum of 1/r over the nodes, whose weights are the same for all receivers. The grid is stretched
and moved with the points, so that derivatives by a motion of the points are those of the receivers against it, as without it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from gnvpro.surrogate.spaces import Array

# Of the interpolation, relative to the image's own share of the potential: it is met with a factor of ten.
_ERROR = 1e-7
# Making a grid costs as much as some images: it has to have this many times fewer nodes than there are points.
_WORTH = 3


def groups(points: Array, heights: Array) -> Iterator[tuple[NDArray[np.intp], tuple[int, int, int] | None]]:
    """Images at these heights (n_images,), in groups from the nearest to points (m, 3) on, with a grid's numbers of nodes.

    Numbers fall from group to group. Distances of a group differ by a factor below 2. No grid where it would hardly have
    fewer nodes than there are points.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    distances = np.maximum(heights - high[2], low[2] - heights)
    left = np.argsort(distances, kind="stable")
    while len(left):
        nearest = distances[left[0]]
        count = max(1, int((distances[left] < 2 * nearest).sum()))
        numbers = _numbers((high - low) / 2, nearest) if nearest > 0 else None
        fewer = numbers is not None and _WORTH * np.prod(numbers) < len(points)
        yield left[:count], numbers if fewer else None
        left = left[count:]


def _numbers(half: Array, distance: float) -> tuple[int, int, int]:
    """Nodes along each axis of a box with these half-widths (3,), by the ellipse in which 1/r is analytic (Bernstein)."""
    flat = np.maximum(half, 1e-12 * distance)
    across = distance / flat[:2]
    along = distance / flat[2] + 1
    growth = np.array([*(across + np.sqrt(across**2 + 1)), along + np.sqrt(along**2 - 1)])
    first, second, third = (1 + np.ceil(np.log(1 / _ERROR) / np.log(growth))).astype(int).tolist()
    return first, second, third


class Grid:
    """Chebyshev nodes (n, 3) in a box, with weights (n, k) that stand for a surface layer: see `of_surface`."""

    def __init__(self, centre: Array, half: Array, numbers: tuple[int, int, int], weights: Array) -> None:
        # weights: (n1, n2, n3, k)
        self._centre, self._half, self._numbers, self._weights = centre, half, numbers, weights

    @classmethod
    def of_surface(cls, points: Array, normals: Array, values: Array, numbers: tuple[int, int, int]) -> Grid:
        """sum_n weights f(nodes) = sum_q values normals · grad f(points), of polynomials f of degrees below `numbers`.

        Points and normals are (m, 3), values (m, k).
        """
        low, high = points.min(axis=0), points.max(axis=0)
        centre, half = (low + high) / 2, np.where(high > low, (high - low) / 2, 1.0)
        at, slope = zip(
            *(_lagrange((points[:, j] - centre[j]) / half[j], n) for j, n in enumerate(numbers)), strict=True
        )
        slope = [normals[:, [j]] * slope[j] / half[j] for j in range(3)]
        m = len(points)
        flat = (at[0][:, :, None] * at[1][:, None, :]).reshape(m, -1)
        steep = (slope[0][:, :, None] * at[1][:, None, :] + at[0][:, :, None] * slope[1][:, None, :]).reshape(m, -1)
        weights = [steep.T @ (value[:, None] * at[2]) + flat.T @ (value[:, None] * slope[2]) for value in values.T]
        return cls(centre, half, numbers, np.stack(weights, axis=2).reshape(*numbers, -1))

    def coarser(self, numbers: tuple[int, int, int]) -> Grid:
        """The same for polynomials of lower degrees: `of_surface`, without the surface's many points."""
        weights = self._weights
        for j, (n, fewer) in enumerate(zip(self._numbers, numbers, strict=True)):
            at = _lagrange(_nodes(n), fewer)[0]
            weights = np.moveaxis(np.tensordot(at, weights, axes=(0, j)), 0, j)
        return Grid(self._centre, self._half, numbers, weights)

    @property
    def nodes(self) -> Array:
        """Positions (n, 3)."""
        mesh = np.meshgrid(*(_nodes(n) for n in self._numbers), indexing="ij")
        return self._centre + self._half * np.stack(mesh, axis=-1).reshape(-1, 3)

    @property
    def weights(self) -> Array:
        """(n, k)."""
        return self._weights.reshape(-1, self._weights.shape[3])


def _nodes(n: int) -> Array:
    return np.cos(np.pi * (np.arange(n) + 0.5) / n)


def _lagrange(x: Array, n: int) -> tuple[Array, Array]:
    """At x (m,) the polynomials that are 1 at one of the nodes and 0 at the others, and their slopes, both (m, n)."""
    coefficients = 2 / n * chebyshev.chebvander(_nodes(n), n - 1).T
    coefficients[0] /= 2
    basis = chebyshev.chebvander(x, n - 1)
    slopes = np.zeros((n, n))
    if n > 1:
        slopes[: n - 1] = chebyshev.chebder(np.eye(n), axis=0)
    return basis @ coefficients, basis @ (slopes @ coefficients)
