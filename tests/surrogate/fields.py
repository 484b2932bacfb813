"""A small field on a mesh, whose values are known, for tests of all packages."""

from __future__ import annotations

import numpy as np

from gnvpro.surrogate.mesh import Mesh
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array, Axis, Space


def square(points: int) -> Mesh:
    """The unit square in triangles, `points` along a side."""
    side = np.linspace(0, 1, points)
    x = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    number = np.arange(points**2).reshape(points, points)
    a, b, c, d = (part.ravel() for part in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]))
    return Mesh.of(x, np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])]))


class Bump:
    """A bump that moves and grows over times, zero at the left side; two parameters."""

    def __init__(self, points: int = 9, times: tuple[float, ...] = (), offset: float = 0.0) -> None:
        self.points, self.times, self.offset = points, times, offset
        self.mesh = square(points)
        self.parameters = Space.vector(["place", "size"], lower=(0.2, 1.0), upper=(0.8, 2.0), law="uniform")
        axes = (*((Axis("time", times, "s"),) if times else ()), Axis.of_mesh("node", self.mesh))
        self.observables = Space(axes, ("K",))

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out)."""
        x, t = self.mesh.points, np.array(self.times or (1.0,))
        place, size = y[:, :1, None], y[:, 1:, None]
        shape = x[:, 0] * np.exp(-40 * ((x[:, 0] - place) ** 2 + (x[:, 1] - place * t[:, None]) ** 2))
        return self.offset + (size * shape).reshape(len(y), -1)

    def samples(self, n: int, seed: int = 0) -> Samples:
        """Drawn by the law."""
        y = np.random.default_rng(seed).uniform(self.parameters.lower_bounds, self.parameters.upper_bounds, (n, 2))
        return Samples(y, self.evaluate(y), self.parameters, self.observables)


def bump(points: int = 9) -> Bump:
    """The problem, to be named on a command line."""
    return Bump(points)
