"""Tensor Chebyshev interpolation: what a surrogate of few, smooth parameters has to be compared with.

It solves at a grid of Chebyshev points and needs no training. A surrogate of three parameters is only useful where it is more
accurate than this from as many solves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.polynomial import chebyshev

from gnvpro.pde_data.problems.loading import as_problem
from gnvpro.pde_data.problems.solving import reasons, solve_block
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Array, Space


@dataclass(frozen=True, eq=False)
class ChebyshevInterpolant:
    """The tensor polynomial through a grid of solves.

    Attributes
    ----------
    coefficients : (n_1, …, n_d, n_out)
        Of products of Chebyshev polynomials in the parameters mapped to [-1, 1].
    """

    parameters: Space
    observables: Space
    coefficients: Array

    @property
    def n_solves(self) -> int:
        """What it cost to make."""
        return math.prod(self.coefficients.shape[:-1])

    @classmethod
    def fit(cls, parameters: Space, observables: Space, counts: Sequence[int], values: Array) -> ChebyshevInterpolant:
        """From observables at `chebyshev_nodes(parameters, counts)`, (product of counts, n_out).

        Raises
        ------
        UsageError
            Values that are not one row per node, or not finite: a hole in the grid cannot be interpolated.
        """
        nodes = chebyshev_nodes(parameters, counts)
        values = observables.rows(values)
        if len(values) != len(nodes):
            raise UsageError(f"expected observables at the {len(nodes)} nodes of the grid, got {len(values)} rows")
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values).all(axis=1)).sum())
            raise UsageError(f"{bad} of {len(values)} nodes have no observables; interpolation needs all of them")
        coefficients = values.reshape(*counts, observables.size)
        for axis, n in enumerate(counts):
            # At Chebyshev points the Vandermonde matrix has orthogonal columns: this solve is as stable as a cosine sum.
            inverse = np.linalg.inv(chebyshev.chebvander(chebyshev.chebpts1(n), n - 1))
            coefficients = np.moveaxis(np.tensordot(inverse, coefficients, (1, axis)), 0, axis)
        return cls(parameters, observables, coefficients)

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out) at parameters (n, n_in)."""
        y = self.parameters.rows(y)
        lower, upper = _bounds(self.parameters)
        # A parameter that is fixed has no length to be mapped by, and one node.
        length, shape = np.where(upper > lower, upper - lower, 1.0), self.coefficients.shape
        x = (2 * y - lower - upper) / length
        tables = [chebyshev.chebvander(x[:, j], n - 1) for j, n in enumerate(shape[:-1])]
        # Row by row the outer product of all tables, (n, number of coefficients).
        products = reduce(lambda a, b: (a[:, :, None] * b[:, None, :]).reshape(len(y), -1), tables)
        return products @ self.coefficients.reshape(-1, shape[-1])


def chebyshev_nodes(space: Space, counts: Sequence[int]) -> Array:
    """The grid of Chebyshev points of the first kind in a box, (product of counts, n_in), the last parameter fastest.

    Raises
    ------
    UsageError
        A space that is no bounded box, or counts that are not one positive number per parameter.
    """
    lower, upper = _bounds(space)
    if len(counts) != space.size or min(counts) < 1:
        raise UsageError(f"expected {space.size} positive numbers of nodes, one per parameter; got {list(counts)}")
    for name, low, high, n in zip(space.names, lower, upper, counts, strict=True):
        if low == high and n != 1:
            raise UsageError(f"{name} is fixed at {low:g}: expected 1 node for it, got {n}")
    grids = np.meshgrid(*(chebyshev.chebpts1(n) for n in counts), indexing="ij")
    return lower + (upper - lower) * (np.stack(grids, -1).reshape(-1, space.size) + 1) / 2


def interpolate(model: ForwardModel, counts: Sequence[int]) -> ChebyshevInterpolant | str:
    """Solve at every node of the grid, and interpolate; or why that cannot be done: a node that could not be solved."""
    solved = solve_block(as_problem(model), chebyshev_nodes(model.parameters, counts))
    if solved.failures:
        n, total = sum(solved.failures.values()), len(solved.status)
        return f"{n} of {total} nodes could not be solved ({reasons(solved.failures)})"
    return ChebyshevInterpolant.fit(model.parameters, model.observables, counts, solved.observables)


def _bounds(space: Space) -> tuple[Array, Array]:
    single = space.transport is not None and bool(space.transport.discrete.any())
    if space.simplexes or single or not np.isfinite([space.lower_bounds, space.upper_bounds]).all():
        raise UsageError(
            "tensor interpolation needs parameters in a box with bounds; a simplex has no tensor grid, nor have single values"
        )
    return space.lower_bounds, space.upper_bounds
