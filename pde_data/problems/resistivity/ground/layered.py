"""The background of a survey: one layer over a half-space, with an insulating surface on top.

Of an electrode on the surface, with the layer 0 to h deep, conductivities m1 and m2, and k = (m1 - m2) / (m1 + m2), in a
depth z and a horizontal distance s, R(c) = sqrt(s² + c²),

    2 pi m1 G = 1/R(z) + sum_n k^n [1/R(2nh + z) + 1/R(2nh - z)],  n = 1, 2, …      in the layer,
    2 pi m1 G = (1 + k) sum_n k^n / R(2nh + z),                    n = 0, 1, …      below it

(Telford, Geldart & Sheriff, Applied Geophysics, Sec. 8.3). All of that are images of the electrode above and below it, at
heights that are proportional to h: moving a point is moving them the other way, and stretching the points about a
centre is shrinking the electrodes about it and the layer with them. That is why derivatives have a fourth
column, the one by log h.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.resistivity.ground.distant_images import Grid, groups
from gnvpro.pde_data.problems.resistivity.ground.half_space import HalfSpace
from gnvpro.pde_data.problems.resistivity.ground.image_series import powers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# Of the two conductivities: the images are few thanks to summation by blocks, whose number grows with the logarithm.
_LARGEST_CONTRAST = 1e4


@dataclass(frozen=True)
class Layer:
    """The uppermost ground: `thickness` in m, `conductivity` in S/m."""

    thickness: float
    conductivity: float

    def __post_init__(self) -> None:
        HalfSpace(self.conductivity)
        if not (self.thickness > 0 and np.isfinite(self.thickness)):
            raise UsageError(f"expected a positive thickness of the layer in m, got {self.thickness}")


@dataclass(frozen=True)
class LayeredGround:
    """A layer over a half-space, with the methods of `HalfSpace`.

    Attributes
    ----------
    layer
        Thickness and conductivity of the upper part.
    below
        Conductivity of the rest, in S/m.
    body_in_layer
        Whether the body lies in the layer, or wholly below it.
    """

    layer: Layer
    below: float
    body_in_layer: bool

    def __post_init__(self) -> None:
        HalfSpace(self.below)
        contrast = max(self.layer.conductivity / self.below, self.below / self.layer.conductivity)
        if contrast > _LARGEST_CONTRAST:
            raise UsageError(
                f"expected conductivities of the layer and of what is below it that differ by a factor of at most "
                f"{_LARGEST_CONTRAST:g}, got {self.layer.conductivity:g} and {self.below:g} S/m"
            )

    @property
    def conductivity(self) -> float:
        """Of the ground around the body, in S/m."""
        return self.layer.conductivity if self.body_in_layer else self.below

    @property
    def reflection(self) -> float:
        """The coefficient k of the interface, seen from above."""
        upper = self.layer.conductivity
        return (upper - self.below) / (upper + self.below)

    def potential(self, electrodes: Array, points: Array) -> Array:
        """G between electrodes (n, 2) on the surface and points (m, 2) or (m, 3): (n, m), infinite where they meet."""
        if points.shape[1] == 2:
            points = np.column_stack([points, np.zeros(len(points))])
        out = np.zeros((len(electrodes), len(points)))
        for at, images in self._sides(points):
            part = np.zeros((len(electrodes), int(at.sum())))
            _kernels().potential(*_plain(electrodes, points[at]), *images, part)
            out[:, at] = part
        return out

    def flux(self, electrodes: Array, points: Array, normals: Array) -> Array:
        """Derivative of G by the point along `normals`: (n, 2), (m, 3), (m, 3) -> (n, m)."""
        out = np.zeros((len(electrodes), len(points)))
        for at, images in self._sides(points):
            part = np.zeros((len(electrodes), int(at.sum())))
            _kernels().flux(*_plain(electrodes, points[at], normals[at]), *images, part)
            out[:, at] = part
        return out

    def derivatives(self, electrodes: Array, points: Array, normals: Array) -> tuple[Array, Array]:
        """Gradients of `potential` and of `flux`, both (n, m, 4).

        By the position of the electrode, where x3 moves all its images alike, and by the logarithm of the thickness.
        """
        by_potential, by_flux = np.zeros((2, len(electrodes), len(points), 4))
        for at, images in self._sides(points):
            parts = np.zeros((2, len(electrodes), int(at.sum()), 4))
            _kernels().derivatives(*_plain(electrodes, points[at], normals[at]), *images, *parts)
            by_potential[:, at], by_flux[:, at] = parts
        return by_potential, by_flux

    def collect(self, receivers: Array, points: Array, normals: Array, values: Array) -> Array:
        """sum_q values_q  normals_q · grad G(receiver, points_q): (n, 2), (m, 3), (m, 3), (m, k) -> (n, k)."""
        return self.collect_with_gradient(receivers, points, normals, values, 0)[0]

    def collect_with_gradient(
        self, receivers: Array, points: Array, normals: Array, values: Array, columns: int
    ) -> tuple[Array, Array]:
        """`collect`, and for the first `columns` of `values` its `derivatives`: (n, k), (n, 4, columns)."""
        out, gradient = np.zeros((len(receivers), values.shape[1])), np.zeros((len(receivers), 4, columns))
        kernels = _kernels()
        for at, (heights, weights) in self._sides(points):
            here, grid = (points[at], normals[at], values[at]), None
            for group, numbers in groups(here[0], heights):
                images = heights[group], weights[group]
                if numbers is None:
                    kernels.collect(*_plain(receivers, here[0], here[1], here[2].T), *images, out)
                    if columns:
                        plain = _plain(receivers, here[0], here[1], here[2][:, :columns].T)
                        kernels.collect_gradient(*plain, *images, gradient)
                else:
                    grid = Grid.of_surface(*here, numbers) if grid is None else grid.coarser(numbers)
                    kernels.sources(*_plain(receivers, grid.nodes, grid.weights.T), *images, out)
                    if columns:
                        plain = _plain(receivers, grid.nodes, grid.weights[:, :columns].T)
                        kernels.sources_gradient(*plain, *images, gradient)
        return out, gradient

    def motion(self, velocity: Array, stretch: float) -> Array:
        """The velocity of electrodes (n, 3), and that of log h, in the columns of `derivatives`: (n, 4)."""
        return np.column_stack([velocity, np.full(len(velocity), stretch)])

    def around(self, below: NDArray[np.bool_]) -> float | Array:
        """Conductivity (n_cells,) of the ground in the cells of a mesh, given which lie under the interface."""
        return np.where(below, self.below, self.layer.conductivity)

    def _sides(self, points: Array) -> Iterator[tuple[NDArray[np.bool_], tuple[Array, Array]]]:
        """Which of these points are in the layer and which below, where there are any, with the images they see."""
        within = points[:, 2] >= -self.layer.thickness
        for at, images in ((within, self._images_in_layer), (~within, self._images_below)):
            if at.any():
                yield at, images

    @cached_property
    def _images_in_layer(self) -> tuple[Array, Array]:
        """Heights of the images of an electrode and their weights in V m, the electrode itself first."""
        numbers, weights = powers(self.reflection)
        heights, reflected = 2 * self.layer.thickness * (1 + numbers), self.reflection * weights
        factor = 1 / (2 * np.pi * self.layer.conductivity)
        return np.concatenate([[0.0], heights, -heights]), factor * np.concatenate([[1.0], reflected, reflected])

    @cached_property
    def _images_below(self) -> tuple[Array, Array]:
        numbers, weights = powers(self.reflection)
        factor = 1 / (np.pi * (self.layer.conductivity + self.below))
        return 2 * self.layer.thickness * numbers, factor * weights


Ground = HalfSpace | LayeredGround


def _plain(*arrays: Array) -> tuple[Array, ...]:
    return tuple(np.ascontiguousarray(array, dtype=float) for array in arrays)


def _kernels() -> Any:
    """Compiled at the first use."""
    from gnvpro.pde_data.problems.resistivity.ground import layered_kernels

    return layered_kernels
