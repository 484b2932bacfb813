"""Where a point of the ground is seen again: by the surface, and by the bottom of a layer.

Between points at depths z and z' in the same part of the ground, with R(c) = sqrt(s² + c²), m its conductivity, h the
thickness of the layer and k = (m1 - m2) / (m1 + m2), the Green's function is

    4 pi m G = 1/R(z - z') + 1/R(z + z')                                                half-space
    4 pi m G = sum_n k^|n| [1/R(z - z' - 2nh) + 1/R(z + z' - 2nh)],  n = …, -1, 0, 1, …   in the layer
    4 pi m G = 1/R(z - z') - k/R(z + z' - 2h) + (1 - k²) sum_n k^n / R(z + z' + 2nh)     below it, n = 0, 1, …

and 4 pi m G = 2 (1 - k) sum_n k^n / R(z + 2nh) between a point below the layer and one on the surface.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.resistivity.ground.image_series import powers
from gnvpro.pde_data.problems.resistivity.ground.layered import LayeredGround
from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a point (x1, x2, x3) stand at (x1, x2, signs_j x3 + heights_j); all three are (n_images,)."""

    signs: Array
    heights: Array
    weights: Array

    def of(self, points: Array) -> Iterator[tuple[Array, float]]:
        """Positions (n, 3) of every image of these points (n, 3), and its weight."""
        for sign, height, weight in zip(self.signs, self.heights, self.weights, strict=True):
            yield points * [1.0, 1.0, sign] + [0.0, 0.0, height], float(weight)

    def split(self, chosen: NDArray[np.bool_]) -> tuple[Images, Images]:
        """The chosen ones (n_images,), and the others."""
        parts = (Images(self.signs[which], self.heights[which], self.weights[which]) for which in (chosen, ~chosen))
        return next(parts), next(parts)

    def flux(self, targets: Array, points: Array, normals: Array) -> Array:
        """sum_j weights_j / (4 pi r_j) of the images of targets (n, 3), through surface elements: (n, n_points)."""
        from gnvpro.pde_data.problems.resistivity.ground.layered_kernels import flux

        out = np.zeros((len(targets), len(points)))
        for row, target in zip(out, np.ascontiguousarray(targets), strict=True):
            heights = self.signs * target[2] + self.heights
            flux(target[None, :2], points, normals, heights, self.weights / (4 * np.pi), row[None])
        return out


def images_of_body(ground: LayeredGround | None, mirrored: bool) -> Images:
    """Images by which points of the body see each other, beside the direct way."""
    if ground is None:
        return _images([(-1.0, 0.0, 1.0)] if mirrored else [])
    thickness, k = ground.layer.thickness, ground.reflection
    if not ground.body_in_layer:
        through = [(-1.0, 2 * thickness * n, (1 - k**2) * w) for n, w in _terms(k)]
        return _images([(-1.0, -2 * thickness, -k), *through])
    away = [
        (sign, side * 2 * thickness * (1 + n), k * w) for n, w in _terms(k) for side in (1, -1) for sign in (1.0, -1.0)
    ]
    return _images([(-1.0, 0.0, 1.0), *away])


def images_of_surface(ground: LayeredGround | None, mirrored: bool) -> Images:
    """Images by which the body sees a point: one on the surface if the ground is layered, any other one if not."""
    if ground is not None and not ground.body_in_layer:
        k, thickness = ground.reflection, ground.layer.thickness
        return _images([(1.0, 2 * thickness * n, 2 * (1 - k) * w) for n, w in _terms(k)])
    others = images_of_body(ground, mirrored)
    return _images([(1.0, 0.0, 1.0), *zip(others.signs, others.heights, others.weights, strict=True)])


def _terms(ratio: float) -> list[tuple[float, float]]:
    numbers, weights = powers(ratio)
    return list(zip(numbers.tolist(), weights.tolist(), strict=True))


def _images(rows: list[tuple[float, float, float]]) -> Images:
    return Images(*np.array(rows, dtype=float).reshape(-1, 3).T)
