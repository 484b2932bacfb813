"""The background of a survey: a homogeneous half-space x3 <= 0 with an insulating surface.

**The seam for other backgrounds.** All that the solver knows of the ground without the body is in this class: the
conductivity at the body, the potential of a current at the surface (the primary field), and integrals over a
surface against the flux of that same function (the Green's function, since both ends stand on the surface).
Another background is another class with these methods: `LayeredGround` in layered.py is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True)
class HalfSpace:
    """Homogeneous ground of this conductivity in S/m.

    The potential of a current of 1 A at p on the surface is G(p, x) = 1 / (2 pi conductivity |x - p|), in V.
    """

    conductivity: float

    def __post_init__(self) -> None:
        if not (self.conductivity > 0 and np.isfinite(self.conductivity)):
            raise UsageError(f"expected a positive conductivity in S/m, got {self.conductivity}")

    def potential(self, electrodes: Array, points: Array) -> Array:
        """G between electrodes (n, 2) on the surface and points (m, 2) or (m, 3): (n, m), infinite where they meet."""
        distance2 = ((electrodes[:, None, :] - points[None, :, :2]) ** 2).sum(axis=2)
        if points.shape[1] == 3:
            distance2 += points[:, 2] ** 2
        with np.errstate(divide="ignore"):
            return self._factor / np.sqrt(distance2)

    def flux(self, electrodes: Array, points: Array, normals: Array) -> Array:
        """Derivative of G by the point along `normals`: (n, 2), (m, 3), (m, 3) -> (n, m)."""
        away = np.concatenate([electrodes, np.zeros((len(electrodes), 1))], axis=1)[:, None] - points[None]
        return self._factor * (away * normals).sum(axis=2) / np.linalg.norm(away, axis=2) ** 3

    def derivatives(self, electrodes: Array, points: Array, normals: Array) -> tuple[Array, Array]:
        """Gradients of `potential` and of `flux` by the position of the electrode, x3 included: both (n, m, 3)."""
        away = np.concatenate([electrodes, np.zeros((len(electrodes), 1))], axis=1)[:, None] - points[None]
        distance = np.linalg.norm(away, axis=2, keepdims=True)
        along = (away * normals).sum(axis=2, keepdims=True)
        by_potential = -self._factor * away / distance**3
        by_flux = self._factor * (normals / distance**3 - 3 * along * away / distance**5)
        return by_potential, by_flux

    def collect(self, receivers: Array, points: Array, normals: Array, values: Array) -> Array:
        """sum_q values_q  normals_q · grad G(receiver, points_q): (n, 2), (m, 3), (m, 3), (m, k) -> (n, k)."""
        from gnvpro.pde_data.problems.resistivity.ground.half_space_kernels import collect

        out = np.empty((len(receivers), values.shape[1]))
        receivers, points, normals, rows = map(np.ascontiguousarray, (receivers, points, normals, values.T))
        collect(receivers, points, normals, rows, out)
        return self._factor * out

    def collect_with_gradient(
        self, receivers: Array, points: Array, normals: Array, values: Array, columns: int
    ) -> tuple[Array, Array]:
        """`collect`, and for the first `columns` of `values` its gradient by the receiver: (n, k), (n, 3, columns).

        The gradient counts x3 too. It also serves where the points move instead, their normals with them: moving
        all of them by t is moving the receivers by -t, and stretching them about c (normals by the square) is
        shrinking the receivers about c.
        """
        from gnvpro.pde_data.problems.resistivity.ground.half_space_kernels import collect_with_gradient

        out = np.empty((len(receivers), values.shape[1]))
        receivers, points, normals, rows = map(np.ascontiguousarray, (receivers, points, normals, values.T))
        gradient = np.empty((len(receivers), 3, columns))
        collect_with_gradient(receivers, points, normals, rows, out, gradient)
        return self._factor * out, self._factor * gradient

    def motion(self, velocity: Array, stretch: float) -> Array:
        """The velocity of electrodes (n, 3), in the columns of `derivatives`: no length of the ground is stretched."""
        return velocity

    def around(self, below: NDArray[np.bool_]) -> float | Array:
        """Conductivity of the ground, the same in all cells (n_cells,) of a mesh."""
        return self.conductivity

    @property
    def _factor(self) -> float:
        return 1 / (2 * np.pi * self.conductivity)
