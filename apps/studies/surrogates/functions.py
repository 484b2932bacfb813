"""Test functions of the surrogate literature, with the names, bounds and scales of their parameters.

Most are collected by Surjanovic & Bingham, Virtual Library of Simulation Experiments (2013), where the formulas and their
sources stand; `kink`, `disc` and `noisy` are ours, for what smooth functions do not ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from gnvpro.surrogate.spaces import Array, Space

# Of the points that measure errors; the same for every design.
TEST_SEED = 99
DESIGN_SEED = 1000


@dataclass(frozen=True, eq=False)
class Function:
    """Observables of parameters that are uniform in a box, or in the box of their logarithms.

    Attributes
    ----------
    evaluate
        Parameters (n, n_in) to observables (n,) or (n, n_out).
    logarithmic
        Names of the parameters that are uniform in their logarithm.
    noise
        Standard deviation of what is added to the observables of the design; test points have none.
    """

    name: str
    evaluate: Callable[[Array], Array]
    bounds: Mapping[str, tuple[float, float]]
    observables: tuple[str, ...] = ("value",)
    units: tuple[str, ...] = ("1",)
    logarithmic: tuple[str, ...] = ()
    noise: float = 0.0

    @property
    def parameter_space(self) -> Space:
        """Names and bounds; the law is uniform where no parameter is uniform in its logarithm."""
        lower, upper = zip(*self.bounds.values(), strict=True)
        law = "unknown" if self.logarithmic else "uniform"
        return Space.vector(list(self.bounds), lower=lower, upper=upper, law=law)

    @property
    def observable_space(self) -> Space:
        """Names and units."""
        return Space.vector(self.observables, axis="observable", units=self.units)

    def parameters(self, u: Array) -> Array:
        """Points of the unit cube (n, n_in) placed in the box."""
        lower, upper = np.array(list(self.bounds.values()), float).T
        logarithmic = np.isin(list(self.bounds), self.logarithmic)
        placed = lower + u * (upper - lower)
        if logarithmic.any():
            ratio = np.log(upper[logarithmic] / lower[logarithmic])
            placed[:, logarithmic] = lower[logarithmic] * np.exp(u[:, logarithmic] * ratio)
        return placed

    def observe(self, parameters: Array) -> Array:
        """Observables (n, n_out)."""
        return np.asarray(self.evaluate(parameters)).reshape(len(parameters), -1)

    def design(self, n: int, seed: int) -> tuple[Array, Array]:
        """A Latin hypercube of n parameters and their observables, with noise where the function has some."""
        # `seed`, for whose numbers SciPy keeps the stream that `rng` has not.
        cube = qmc.LatinHypercube(len(self.bounds), seed=DESIGN_SEED + seed)  # pyright: ignore[reportCallIssue]
        y = self.parameters(cube.random(n))
        c = self.observe(y)
        return y, c + self.noise * np.random.default_rng(seed).standard_normal(c.shape)

    def test(self, n: int = 3000) -> tuple[Array, Array]:
        """Uniform points, without noise."""
        y = self.parameters(np.random.default_rng(TEST_SEED).random((n, len(self.bounds))))
        return y, self.observe(y)


def _borehole(y: Array) -> Array:
    radius, reach, t_upper, h_upper, t_lower, h_lower, length, conductivity = y.T
    logarithm = np.log(reach / radius)
    leak = 2 * length * t_upper / (logarithm * radius**2 * conductivity)
    return 2 * np.pi * t_upper * (h_upper - h_lower) / (logarithm * (1 + leak + t_upper / t_lower))


def _otl_circuit(y: Array) -> Array:
    b1, b2, f, c1, c2, beta = y.T
    base, gain = 12 * b2 / (b1 + b2), beta * (c2 + 9)
    return (base + 0.74) * gain / (gain + f) + 11.35 * f / (gain + f) + 0.74 * f * gain / ((gain + f) * c1)


def _wing_weight(y: Array) -> Array:
    area, fuel, aspect, sweep, pressure, taper, thickness, load, weight, paint = y.T
    cosine = np.cos(sweep * np.pi / 180)
    shape = area**0.758 * fuel**0.0035 * (aspect / cosine**2) ** 0.6 * pressure**0.006 * taper**0.04
    return 0.036 * shape * (100 * thickness / cosine) ** -0.3 * (load * weight) ** 0.49 + area * paint


def _piston(y: Array) -> Array:
    mass, surface, volume, spring, pressure, ambient, temperature = y.T
    force = pressure * surface + 19.62 * mass - spring * volume / surface
    ratio = pressure * volume * ambient / temperature
    gas = surface / (2 * spring) * (np.sqrt(force**2 + 4 * spring * ratio) - force)
    return 2 * np.pi * np.sqrt(mass / (spring + surface**2 * ratio / gas**2))


def _ishigami(y: Array) -> Array:
    return np.sin(y[:, 0]) + 7 * np.sin(y[:, 1]) ** 2 + 0.1 * y[:, 2] ** 4 * np.sin(y[:, 0])


def _sobol_g(y: Array) -> Array:
    a = np.array([0, 1, 4.5, 9, 99, 99, 99, 99])
    return np.prod((np.abs(4 * y - 2) + a) / (1 + a), axis=1)


def _friedman(y: Array) -> Array:
    return 10 * np.sin(np.pi * y[:, 0] * y[:, 1]) + 20 * (y[:, 2] - 0.5) ** 2 + 10 * y[:, 3] + 5 * y[:, 4]


def _welch(y: Array) -> Array:
    x = dict(enumerate(y.T, 1))
    curved = 5 * x[12] / (1 + x[1]) + 5 * (x[4] - x[20]) ** 2 + x[5] + 40 * x[19] ** 3 - 5 * x[19]
    slight = 0.05 * x[2] + 0.08 * x[3] - 0.03 * x[6] + 0.03 * x[7] - 0.09 * x[9] - 0.01 * x[10] - 0.07 * x[11]
    return curved + slight + 0.25 * x[13] ** 2 - 0.04 * x[14] + 0.06 * x[15] - 0.01 * x[17] - 0.03 * x[18]


def _kink(y: Array) -> Array:
    return np.abs(y[:, 0] - 0.3) + 0.5 * np.abs(y[:, 1] + 0.4 - y[:, 2]) + 0.3 * y[:, 3] ** 2


def _disc(y: Array) -> Array:
    return np.sin(3 * y[:, 0]) + y[:, 1] * y[:, 2] + 0.3 * y[:, 3] + 1.5 * (y[:, 0] + y[:, 1] > 0.2)


def cube(n: int, lower: float, upper: float) -> dict[str, tuple[float, float]]:
    """So many parameters with the same bounds."""
    return {f"y{j}": (lower, upper) for j in range(1, n + 1)}


FUNCTIONS = {
    function.name: function
    for function in (
        Function("borehole", _borehole, {
            "radius": (0.05, 0.15), "reach": (100, 50000), "upper transmissivity": (63070, 115600),
            "upper head": (990, 1110), "lower transmissivity": (63.1, 116), "lower head": (700, 820),
            "length": (1120, 1680), "conductivity": (9855, 12045),
        }),
        Function("otl", _otl_circuit, {
            "b1": (50, 150), "b2": (25, 70), "f": (0.5, 3), "c1": (1.2, 2.5), "c2": (0.25, 1.2), "beta": (50, 300),
        }),
        Function("wing", _wing_weight, {
            "area": (150, 200), "fuel": (220, 300), "aspect": (6, 10), "sweep": (-10, 10), "pressure": (16, 45),
            "taper": (0.5, 1), "thickness": (0.08, 0.18), "load": (2.5, 6), "weight": (1700, 2500),
            "paint": (0.025, 0.08),
        }),
        Function("piston", _piston, {
            "mass": (30, 60), "surface": (0.005, 0.02), "volume": (0.002, 0.01), "spring": (1000, 5000),
            "pressure": (90000, 110000), "ambient": (290, 296), "temperature": (340, 360),
        }),
        Function("ishigami", _ishigami, cube(3, -np.pi, np.pi)),
        Function("sobolg", _sobol_g, cube(8, 0, 1)),
        Function("friedman", _friedman, cube(5, 0, 1)),
        Function("welch20", _welch, cube(20, -0.5, 0.5)),
        Function("noisy", _friedman, cube(10, 0, 1), noise=1.0),
        Function("kink", _kink, cube(4, -1, 1)),
        Function("disc", _disc, cube(4, -1, 1)),
    )
}  # fmt: skip
