"""A surrogate against fresh solves of the PDE it replaces: errors, derivatives, costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gnvpro.apps.comparison.comparison import Comparison, Interpolation
from gnvpro.apps.comparison.costs import measure_costs, one_thread
from gnvpro.apps.comparison.interpolation import chebyshev_nodes, interpolate
from gnvpro.apps.comparison.jacobian import check_jacobian
from gnvpro.apps.comparison.spent import Spent
from gnvpro.apps.comparison.sweeps import sweeps
from gnvpro.apps.trust.calibrate import own_parameters
from gnvpro.pde_data.problems.accuracy import ERROR_ESTIMATE_SAMPLES, estimated_error
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.scene import views_of
from gnvpro.pde_data.problems.solving import message_of, reasons, solve_block
from gnvpro.pde_data.sampling import draw
from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report, silent
from gnvpro.surrogate.spaces import Array

# Data sets hold samples 0, 1, 2, … of their seed; fresh ones begin here, so they are in no data set of any seed.
FRESH = 2**62


def fresh_points(surrogate: Surrogate, problem: Problem, n: int, seed: int) -> Array:
    """Parameters (n, n_in) drawn by the law of the problem that are in no data set.

    Raises
    ------
    UsageError
        One of them is among the surrogate's data all the same: the problem's law draws repeated points.
    """
    points = draw(problem.parameters, seed, FRESH + np.arange(n, dtype=np.int64))
    used = own_parameters(surrogate)
    if used is not None and {row.tobytes() for row in used} & {row.tobytes() for row in points}:
        raise UsageError("a fresh sample is also in the training data: the law of the parameters repeats points")
    return points


def compare_with_solves(
    surrogate: Surrogate,
    problem: Problem,
    n: int,
    seed: int,
    repeats: int = 5,
    interpolation: tuple[int, ...] | None = None,
    progress: Report = silent,
) -> Comparison:
    """Solve the PDE at n fresh parameters, evaluate the surrogate there, and time both.

    Parameters
    ----------
    interpolation
        Chebyshev nodes per parameter: interpolate through as many PDE solves and compare that too.

    Raises
    ------
    UsageError
        Nodes that do not fit the parameters.
    NumericalFailure
        No sample could be solved.
    """
    if interpolation:
        chebyshev_nodes(problem.parameters, interpolation)  # nodes that do not fit: before anything is solved
    progress(0, None, f"solving {n} fresh samples of {problem.name}")
    points = fresh_points(surrogate, problem, n, seed)
    with one_thread():
        block = solve_block(problem, points)
        expected, failures = block.observables, block.failures
        solved = np.isfinite(expected).all(axis=1)
        if not solved.any():
            raise NumericalFailure(f"the PDE could be solved at none of the {n} fresh samples ({reasons(failures)})")
        points, expected = points[solved], expected[solved]
        few, background = slice(ERROR_ESTIMATE_SAMPLES), getattr(problem, "background", None)
        pde_error, no_estimate = None, None
        try:
            pde_error = estimated_error(problem, points[few], expected[few])
        except ImportError:
            raise
        except Exception as failure:  # of a user's reference; the comparison is good without it
            no_estimate = str(failure) if isinstance(failure, ArithmeticError) else message_of(failure)
        swept = sweeps(surrogate, problem, background)
        jacobian = check_jacobian(surrogate, problem, points, seed)
        interpolated = no_interpolation = None
        if interpolation:
            interpolant = interpolate(problem, interpolation)
            if isinstance(interpolant, str):
                no_interpolation = interpolant
            else:
                interpolated = Interpolation(interpolation, interpolant.evaluate(points))
    progress(0, None, "timing")
    found = Comparison(
        problem=problem.name,
        parameter_space=surrogate.parameters,
        observables=surrogate.observables,
        parameters=points,
        expected=expected,
        predicted=surrogate.evaluate(points),
        n_failed=int((~solved).sum()),
        estimated_error=pde_error,
        no_estimate=no_estimate,
        costs=measure_costs(problem, surrogate, lambda m: np.resize(points, (m, points.shape[1])), repeats),
        n_generated=int(surrogate.provenance["n_samples"]),
        training_seconds=float(surrogate.training["cpu_seconds"]),
        background=background,
        sweeps=tuple(swept),
        interpolation=interpolated,
        no_interpolation=no_interpolation,
        failures=failures,
        bands=None if surrogate.trust is None else surrogate.trust.bands,
        jacobian=jacobian,
        measure=ErrorMeasure.of(surrogate.training),
        spent=Spent.of(surrogate),
    )
    return replace(found, views=views_of(problem, points[found.median]))
