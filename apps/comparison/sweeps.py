"""One parameter varied through its range, the others in the middle of theirs: PDE beside surrogate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.surrogate.admissible import box
from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array

# Above this many parameters a line through the middle says little of the space, and costs as many lines of solves.
MOST_PARAMETERS = 5
_SOLVES, _EVALUATIONS = 9, 101


@dataclass(frozen=True, eq=False)
class Sweep:
    """Observables along a line through the middle of the parameter space.

    Attributes
    ----------
    name, unit
        Of the parameter that varies.
    at, predicted
        Its values (m,) and the surrogate's observables there (m, n_out).
    solved_at, expected
        Its values (k,) and the PDE's observables there (k, n_out); NaN where it could not be solved.
    error
        Largest norm of a difference, relative to the largest norm of the anomalous observables on the line.
    """

    name: str
    unit: str
    at: Array
    predicted: Array
    solved_at: Array
    expected: Array
    error: float


def sweeps(surrogate: Surrogate, problem: Problem, background: Array | None) -> list[Sweep]:
    """A sweep of every parameter that varies smoothly; none for simplices, unbounded spaces and more than `MOST_PARAMETERS`.

    Of a law without bounds, nearly all of it; all other parameters are in the middle of their bounds or laws.
    """
    space = problem.parameters
    if space.simplexes or space.size > MOST_PARAMETERS:
        return []
    (lower, upper), sweeping = (box(space) if space.laws else (space.lower_bounds, space.upper_bounds)), ~space.fixed
    if not np.isfinite([lower, upper]).all():
        return []
    middle = (lower + upper) / 2
    if space.laws:
        laws = space.own_laws
        middle, sweeping = laws.of_normal(np.zeros((1, space.size)))[0], sweeping & ~laws.discrete
    return [_sweep(surrogate, problem, background, int(j), lower, upper, middle) for j in np.flatnonzero(sweeping)]


def _sweep(
    surrogate: Surrogate,
    problem: Problem,
    background: Array | None,
    j: int,
    lower: Array,
    upper: Array,
    middle: Array,
) -> Sweep:
    def along(n: int) -> Array:
        points = np.tile(middle, (n, 1))
        points[:, j] = np.linspace(lower[j], upper[j], n)
        return points

    solved, dense = along(_SOLVES), along(_EVALUATIONS)
    expected = solve_block(problem, solved).observables
    scale = 1.0 if (by_unit := ErrorMeasure.of(surrogate.training).output_scale) is None else by_unit
    difference = np.linalg.norm((surrogate.evaluate(solved) - expected) / scale, axis=1)
    size = np.linalg.norm((expected if background is None else expected - background) / scale, axis=1)
    return Sweep(
        problem.parameters.names[j],
        problem.parameters.unit(j),
        dense[:, j],
        surrogate.evaluate(dense),
        solved[:, j],
        expected,
        float(np.nanmax(difference) / np.nanmax(size)) if np.isfinite(size).any() else float("nan"),
    )
