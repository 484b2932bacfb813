"""More functions of the literature, at which nobody looked while the default was made: what they say is said afresh.

Formulas as in Surjanovic & Bingham (2013), but for `beam`, `chain` and `noisy-otl`, which are ours.
"""

from __future__ import annotations

import numpy as np

from gnvpro.apps.studies.surrogates.functions import FUNCTIONS, Function, cube
from gnvpro.surrogate.spaces import Array


def _morris(y: Array) -> Array:
    w = 2 * (y - 0.5)
    w[:, [2, 4, 6]] = 2 * (1.1 * y[:, [2, 4, 6]] / (y[:, [2, 4, 6]] + 0.1) - 0.5)
    d, n_first = y.shape[1], 10
    first = np.where(np.arange(1, d + 1) <= n_first, 20.0, (-1.0) ** np.arange(1, d + 1))
    pair = np.where(np.arange(d) < 6, 1.0, 0.0)
    i, j = np.triu_indices(d, 1)
    signs = (-1.0) ** (i + j + 2)
    second = np.where(pair[i] * pair[j] > 0, -15.0, signs)
    total = w @ first + (w[:, i] * w[:, j]) @ second
    triples = [(a, b, c) for a in range(5) for b in range(a + 1, 5) for c in range(b + 1, 5)]
    total -= 10 * sum(w[:, a] * w[:, b] * w[:, c] for a, b, c in triples)
    return total + 5 * w[:, 0] * w[:, 1] * w[:, 2] * w[:, 3]


def _bratley(y: Array) -> Array:
    return np.cumprod(y, axis=1) @ (-1.0) ** np.arange(1, y.shape[1] + 1)


def _linkletter(y: Array) -> Array:
    return np.sin(y[:, 0]) + np.sin(5 * y[:, 1])


def _gramacy_lee(y: Array) -> Array:
    return np.exp(np.sin((0.9 * (y[:, 0] + 0.48)) ** 10)) + y[:, 1] * y[:, 2] + y[:, 3]


def _spill(y: Array) -> Array:
    """Concentrations at three places and three times after two spills into a channel (Bliznyuk et al. 2008)."""
    mass, diffusion, place, when = (column[:, None, None] for column in y.T)
    s, t = np.array([0.5, 1.5, 2.5])[:, None], np.array([40.0, 50.0, 60.0])

    def spilt(x: Array, after: Array) -> Array:
        return mass / np.sqrt(4 * np.pi * diffusion * after) * np.exp(-(x**2) / (4 * diffusion * after))

    return np.sqrt(4 * np.pi) * (spilt(s + 0 * t, t + 0 * s) + spilt(s - place, t - when))


def _robot_arm(y: Array) -> Array:
    angles, lengths = np.cumsum(y[:, :4], axis=1), y[:, 4:]
    return np.hypot((lengths * np.cos(angles)).sum(1), (lengths * np.sin(angles)).sum(1))


def _rosenbrock(y: Array) -> Array:
    return (100 * (y[:, 1:] - y[:, :-1] ** 2) ** 2 + (y[:, :-1] - 1) ** 2).sum(1)


def _branin(y: Array) -> Array:
    a, b = y.T
    curve = b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6
    return curve**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10


def _park(y: Array) -> Array:
    a, b, c, d = y.T
    return a / 2 * (np.sqrt(1 + (b + c**2) * d / a**2) - 1) + (a + 3 * d) * np.exp(1 + np.sin(c))


def _dette_pepelyshev(y: Array) -> Array:
    a, b, c = y[:, :3].T
    partial = np.cumsum(y, axis=1)[:, 3:]
    curved = 4 * (a - 2 + 8 * b - 8 * b**2) ** 2 + (3 - 4 * b) ** 2 + 16 * np.sqrt(c + 1) * (2 * c - 1) ** 2
    return curved + np.log(1 + partial - a[:, None] - b[:, None]) @ np.arange(4, 9)


def _beam(y: Array) -> Array:
    """Stress, tip displacement and volume of a cantilever beam of 2.5 m with two loads at its tip."""
    width, height, sideways, down, modulus = y.T
    length = 2.5
    stress = 6 * length * (down / (width * height**2) + sideways / (width**2 * height))
    bent = np.hypot(down / height**2, sideways / width**2)
    return np.stack([stress, 4 * length**3 / (modulus * width * height) * bent, width * height * length], axis=1)


def _chain(y: Array) -> Array:
    """Amounts of B and C of the chain A → B → C after one unit of time, from an amount of A; rates span four decades."""
    first, second, amount = y.T
    between = amount * first * np.exp(-first) * _expm1_ratio(first - second)
    return np.stack([between, amount * (1 - np.exp(-first)) - between], axis=1)


def _expm1_ratio(x: Array) -> Array:
    """(exp(x) - 1) / x, also at 0."""
    safe = np.where(np.abs(x) < 1e-8, 1.0, x)
    return np.where(np.abs(x) < 1e-8, 1 + x / 2, np.expm1(safe) / safe)


_ANGLES = {f"angle {j}": (0, 2 * np.pi) for j in range(1, 5)}
_LENGTHS = {f"length {j}": (0, 1) for j in range(1, 5)}
_SPILL = {"mass": (7, 13), "diffusion": (0.02, 0.12), "place": (0.01, 3), "time": (30.01, 30.295)}
_SECTION = {"width": (0.05, 0.08), "height": (0.08, 0.1)}
_LOADS = {"sideways": (1e3, 3e3), "down": (3e3, 6e3), "modulus": (1.8e11, 2.2e11)}
_RATES = {"first": (1e-2, 1e2), "second": (1e-2, 1e2), "amount": (0.5, 2)}

KEPT_ASIDE = {
    function.name: function
    for function in (
        Function("morris", _morris, cube(20, 0, 1)),
        Function("bratley", _bratley, cube(8, 0, 1)),
        Function("linkletter", _linkletter, cube(10, 0, 1)),
        Function("gramacy-lee", _gramacy_lee, cube(6, 0, 1)),
        Function(
            "spill", _spill, _SPILL, tuple(f"c({s}, {t})" for s in (0.5, 1.5, 2.5) for t in (40, 50, 60)), ("kg/m3",)
        ),
        Function("robot-arm", _robot_arm, _ANGLES | _LENGTHS),
        Function("rosenbrock", _rosenbrock, cube(4, -2, 2)),
        Function("branin", _branin, {"y1": (-5, 10), "y2": (0, 15)}),
        Function("park", _park, cube(4, 1e-6, 1)),
        Function("dette-pepelyshev", _dette_pepelyshev, cube(8, 0, 1)),
        Function("beam", _beam, _SECTION | _LOADS, ("stress", "displacement", "volume"), ("Pa", "m", "m3")),
        Function("chain", _chain, _RATES, ("B", "C"), ("mol",), logarithmic=("first", "second")),
        Function("noisy-otl", FUNCTIONS["otl"].evaluate, FUNCTIONS["otl"].bounds, noise=0.1),
    )
}
