"""Exact first-order and total Sobol indices of test functions: by formula, or by Gauss quadrature to rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from gnvpro.apps.studies.surrogates.functions import FUNCTIONS
from gnvpro.surrogate.spaces import Array

# Nodes for each parameter of the borehole function, in its order; heads are left to a formula. Doubled, they change indices
# by less than 1e-7.
NODES = (20, 16, 5, 5, 7, 6)


def ishigami(a: float = 7.0, b: float = 0.1) -> tuple[Array, Array]:
    """First-order and total indices of sin y1 + a sin² y2 + b y3⁴ sin y1 in [-pi, pi]³ (Ishigami & Homma 1990)."""
    alone = np.array([0.5 * (1 + b * math.pi**4 / 5) ** 2, a**2 / 8, 0.0])
    together = 8 * b**2 * math.pi**8 / 225  # of y1 and y3
    variance = alone.sum() + together
    return alone / variance, (alone + np.array([together, 0, together])) / variance


def tensor_indices(values: Array, weights: list[Array]) -> tuple[Array, Array]:
    """Indices of a function known on a tensor grid, by quadrature weights (of sum one) along each axis."""

    def mean_over(array: Array, axes: set[int]) -> Array:
        for axis in sorted(axes, reverse=True):
            array = np.tensordot(array, weights[axis], ([axis], [0]))
        return array

    every = set(range(values.ndim))
    centred = values - mean_over(values, every)
    variance = float(mean_over(centred**2, every))
    first, total = [], []
    for j in sorted(every):
        first.append(float(weights[j] @ mean_over(centred, every - {j}) ** 2) / variance)
        without = mean_over(centred, {j})
        rest = [weight for k, weight in enumerate(weights) if k != j]
        for weight in reversed(rest):
            without = without**2 @ weight if without.ndim == values.ndim - 1 else without @ weight
        total.append(1 - float(without) / variance)
    return np.array(first), np.array(total)


def borehole(nodes: tuple[int, ...] = NODES) -> tuple[Array, Array]:
    """Indices of the borehole function, all parameters uniform.

    It is a product of the difference of heads and a function of the six others. With the relative variances v and v' of the
    factors, that of the product is (1 + v)(1 + v') - 1, and its parts follow from those of the factors.
    """
    function = FUNCTIONS["borehole"]
    names = list(function.bounds)
    heads = [names.index("upper head"), names.index("lower head")]
    others = [j for j in range(len(names)) if j not in heads]
    rules = [np.polynomial.legendre.leggauss(n) for n in nodes]
    weights = [weight / 2 for _, weight in rules]
    grid = np.meshgrid(*((x + 1) / 2 for x, _ in rules), indexing="ij")
    u = np.zeros((grid[0].size, len(names)))
    u[:, others] = np.stack([of.ravel() for of in grid], axis=1)
    u[:, heads] = [0.5, 0.5]
    y = function.parameters(u)
    values = function.observe(y)[:, 0].reshape(grid[0].shape)
    first, total = tensor_indices(values, weights)
    mean = values.copy()
    for weight in reversed(weights):
        mean = mean @ weight
    second = values**2
    for weight in reversed(weights):
        second = second @ weight
    of_others = float(second / mean**2) - 1
    widths = np.array([high - low for low, high in function.bounds.values()])[heads]
    difference = float(y[0, heads[0]] - y[0, heads[1]])
    alone = widths**2 / 12 / difference**2  # relative variances of the heads, whose difference is a sum of the two
    of_heads = float(alone.sum())
    whole = (1 + of_others) * (1 + of_heads) - 1
    answer = np.empty((2, len(names)))
    answer[0, others], answer[1, others] = first * of_others, total * of_others * (1 + of_heads)
    answer[0, heads], answer[1, heads] = alone, alone * (1 + of_others)
    return answer[0] / whole, answer[1] / whole


EXACT: Mapping[str, Callable[[], tuple[Array, Array]]] = {"ishigami": ishigami, "borehole": borehole}
