"""Posteriors that chains find hard, each with its exact law by quadrature: analytic models of two or three parameters."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from gnvpro.apps.inversion.posterior.observations import Noise
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.surrogate.spaces import Space


class Model:
    """Observables `value` (n, n_out) of parameters (n, n_in), with their Jacobian `slope` (n, n_out, n_in)."""

    block_size = 4096

    def __init__(self, parameters, value, slope, fails=None):
        self.parameters, self.value, self.jacobian, self.fails = parameters, value, slope, fails
        self.observables = Space.vector([f"c{i}" for i in range(value(np.ones((1, parameters.size))).shape[1])])

    def evaluate(self, y):
        if self.fails is not None and self.fails(y).any():
            raise ArithmeticError("diverged beyond the diagonal")
        return self.value(y)

    def jvp(self, y, dy):
        return np.einsum("noi,ni->no", self.jacobian(y), dy)

    def vjp(self, y, dc):
        return np.einsum("noi,no->ni", self.jacobian(y), dc)


@dataclass
class Hard:
    """A model, its observations and noise, and the exact law: points (n, n_in) with weights (n,) that sum to one."""

    model: Model
    data: np.ndarray
    noise: np.ndarray
    laws: dict | None
    points: np.ndarray
    weights: np.ndarray

    @property
    def posterior(self):
        prior = Prior.of(self.model.parameters, self.laws)
        return Posterior(Solves(self.model, scale=prior.scale), self.data, Noise(self.noise), prior)

    @property
    def mean(self):
        return self.weights @ self.points

    @property
    def standard_deviation(self):
        return np.sqrt(self.weights @ (self.points - self.mean) ** 2)


def box(n, low=-1.0, high=1.0):
    return Space.vector([f"p{j}" for j in range(n)], lower=(low,) * n, upper=(high,) * n, law="uniform")


def unbounded(n):
    return Space.vector([f"p{j}" for j in range(n)])


def _weighted(points, log_density):
    weights = np.exp(log_density - log_density.max())
    return points, weights / weights.sum()


def grid(*axes):
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def rows(*columns):
    """Of functions (n,), one for every observable and parameter: (n, n_out, n_in)."""
    return np.stack([np.stack(np.broadcast_arrays(*row), axis=-1) for row in columns], axis=-2)


def near_zero(thickness=1e-4):
    """A datum near zero has hardly any noise: a thin curved sheet, cut off by two other data and the box."""
    space = box(3)

    def value(y):
        a, b, c = y.T
        return np.stack([c - 0.6 * np.sin(2.5 * a) * np.cos(b), a + 0.3 * b, b - 0.5 * c], axis=1)

    def slope(y):
        a, b, c = y.T
        return rows(
            (-1.5 * np.cos(2.5 * a) * np.cos(b), 0.6 * np.sin(2.5 * a) * np.sin(b), 1 + 0 * c),
            (1 + 0 * a, 0.3 + 0 * a, 0 * a),
            (0 * a, 1 + 0 * a, -0.5 + 0 * a),
        )

    data, noise = np.array([0.02, 0.2, 0.1]), np.array([thickness, 0.3, 0.4])
    side = np.linspace(-1, 1, 801)[1::2]
    ab = grid(side, side)
    # Across the sheet the law is normal, but for what the other data change over its thickness.
    c = data[0] + 0.6 * np.sin(2.5 * ab[:, 0]) * np.cos(ab[:, 1])
    y = np.column_stack([ab, c])
    misfit = 0.5 * (((value(y) - data) / noise)[:, 1:] ** 2).sum(axis=1)
    return Hard(Model(space, value, slope), data, noise, None, *_weighted(y, np.where(np.abs(c) < 1, -misfit, -np.inf)))


def two_modes(noise=0.02):
    """The square of a parameter is observed, and the prior leans to one side: two modes of unequal weight."""
    space, laws = unbounded(2), {"p0": (0.3, 1.0), "p1": (0.0, 1.0)}

    def value(y):
        return np.stack([y[:, 0] ** 2, y[:, 0] * y[:, 1]], axis=1)

    def slope(y):
        return rows((2 * y[:, 0], 0 * y[:, 0]), (y[:, 1], y[:, 0]))

    data, spread = np.array([0.8, 0.5]), np.array([noise, 0.1])
    side = np.concatenate([s * np.linspace(0.6, 1.2, 1501) for s in (-1, 1)])
    y = grid(side, np.linspace(-2, 2, 801))
    density = -0.5 * (((value(y) - data) / spread) ** 2).sum(axis=1) - 0.5 * ((y - [0.3, 0]) ** 2).sum(axis=1)
    return Hard(Model(space, value, slope), data, spread, laws, *_weighted(y, density))


def banana(bend=3.0, noise=0.05):
    """Rosenbrock's valley."""
    space, laws = unbounded(2), {"p0": (0.0, 1.0), "p1": (0.0, 10.0)}

    def value(y):
        return np.stack([y[:, 1] - bend * y[:, 0] ** 2], axis=1)

    def slope(y):
        return rows((-2 * bend * y[:, 0], 1 + 0 * y[:, 0]))

    x = np.linspace(-6, 6, 20001)
    # Given x, the other is the product of two normal laws.
    inside = np.exp(-0.5 * x**2 - 0.5 * (bend * x**2) ** 2 / (100 + noise**2))
    precision = 1 / noise**2 + 1 / 100
    centre, spread = bend * x**2 / noise**2 / precision, precision**-0.5
    y = np.concatenate([np.column_stack([x, centre + s * spread]) for s in (-1, 1)])  # same mean and variance
    return Hard(
        Model(space, value, slope),
        np.zeros(1),
        np.array([noise]),
        laws,
        *_weighted(y, np.log(np.tile(inside, 2) + 1e-300)),
    )


def corner():
    """Data beyond the box: the posterior is pressed into a corner, exponential from two bounds."""
    space = box(2, 0.0, 1.0)
    data, noise = np.array([1.3, -0.2]), np.array([0.05, 0.05])
    model = Model(space, lambda y: 1.0 * y, lambda y: np.broadcast_to(np.eye(2), (len(y), 2, 2)))
    at = np.linspace(0, 1, 4001)[1::2]
    y = grid(1 - at[at < 0.1], at[at < 0.1])
    return Hard(model, data, noise, None, *_weighted(y, -0.5 * (((y - data) / noise) ** 2).sum(axis=1)))


def heavy_tail():
    """A sensor that saturates says that a parameter is large, and nothing else."""
    space, laws = unbounded(2), {"p0": (0.0, 20.0), "p1": (0.0, 1.0)}

    def value(y):
        return np.stack([np.tanh(y[:, 0]), y[:, 1] - 0.1 * y[:, 0]], axis=1)

    def slope(y):
        return rows((1 - np.tanh(y[:, 0]) ** 2, 0 * y[:, 0]), (-0.1 + 0 * y[:, 0], 1 + 0 * y[:, 0]))

    data, noise = np.array([0.99, -0.3]), np.array([0.01, 0.05])
    y = grid(np.linspace(0, 60, 3001), np.linspace(-5, 6, 1601))
    density = -0.5 * (((value(y) - data) / noise) ** 2).sum(axis=1) - 0.5 * ((y / [20, 1]) ** 2).sum(axis=1)
    return Hard(Model(space, value, slope), data, noise, laws, *_weighted(y, density))


def ring(noise=0.002):
    """A radius is observed: all angles are left, more or less."""
    space = box(2)

    def value(y):
        return np.stack([(y**2).sum(axis=1), y[:, 0]], axis=1)

    def slope(y):
        return rows((2 * y[:, 0], 2 * y[:, 1]), (1 + 0 * y[:, 0], 0 * y[:, 0]))

    data, spread = np.array([0.5, 0.3]), np.array([noise, 0.5])
    angle, radius = (
        (2 * np.pi * (np.arange(2000) + 0.5) / 2000),
        np.sqrt(0.5) + np.linspace(-6, 6, 61) * noise / np.sqrt(2),
    )
    polar = grid(angle, radius)
    y = polar[:, 1:] * np.column_stack([np.cos(polar[:, 0]), np.sin(polar[:, 0])])
    density = -0.5 * (((value(y) - data) / spread) ** 2).sum(axis=1) + np.log(polar[:, 1])
    return Hard(Model(space, value, slope), data, spread, None, *_weighted(y, density))


def funnel():
    """The noise-free datum of a product: Neal's funnel, its neck where the prior of the exponent ends."""
    space, laws = unbounded(2), {"p0": (0.0, 1.5), "p1": (0.0, 1.0)}

    def value(y):
        return (np.exp(1.5 * y[:, 0]) * y[:, 1])[:, None]

    def slope(y):
        return rows((1.5 * np.exp(1.5 * y[:, 0]) * y[:, 1], np.exp(1.5 * y[:, 0])))

    x = np.linspace(-12, 12, 40001)
    variance = 1 / (1 + np.exp(3 * x) / 0.1**2)  # of the other, given x; its integral is the root
    y = np.concatenate([np.column_stack([x, s * np.sqrt(variance)]) for s in (-1, 1)])
    density = np.tile(-0.5 * (x / 1.5) ** 2 + 0.5 * np.log(variance), 2)
    return Hard(Model(space, value, slope), np.zeros(1), np.array([0.1]), laws, *_weighted(y, density))


HARD = dict(
    near_zero=near_zero,
    two_modes=two_modes,
    banana=banana,
    corner=corner,
    heavy_tail=heavy_tail,
    ring=ring,
    funnel=funnel,
)
normal = stats.norm
