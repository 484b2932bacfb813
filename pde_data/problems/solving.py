"""A block of samples solved: at once, or one by one where one of them fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import Problem, SolveStatus
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True)
class SolvedBlock:
    """Observables (n, n_out), status (n,) and a message for every sample, empty where there is nothing to say."""

    observables: Array
    status: NDArray[np.int8]
    messages: tuple[str, ...]


def solve_block(problem: Problem, y: Array) -> SolvedBlock:
    """Solve a block of samples so that a bad sample costs one sample.

    The block is solved at once; where that raises or gives arrays of the wrong shape, it is solved again row by
    row. Observables of every failed sample are NaN. A missing library is raised, not recorded: no sample is at
    fault.
    """
    try:
        return _solve_at_once(problem, y)
    except ImportError:
        raise
    except Exception as error:
        if len(y) == 1:
            nothing = np.full((1, problem.observables.size), np.nan)
            status = np.array([SolveStatus.EXCEPTION], dtype=np.int8)
            return SolvedBlock(nothing, status, (f"{type(error).__name__}: {error}",))
    rows = [solve_block(problem, y[i : i + 1]) for i in range(len(y))]
    return SolvedBlock(
        np.concatenate([row.observables for row in rows]),
        np.concatenate([row.status for row in rows]),
        tuple(row.messages[0] for row in rows),
    )


def derivative_block(derivative: Callable[..., Array], arguments: tuple[Array, ...], size: int) -> Array:
    """`jvp` or `vjp` of a problem, (n, size), so that a bad sample costs one sample.

    All rows at once; where that raises or gives another shape, each alone, NaN for those that fail.

    Raises ImportError, NotImplementedError: a missing library, or no such derivative: no sample is at fault.
    """
    try:
        derivatives = numbers(derivative(*arguments), "the derivatives that the problem returns")
        if derivatives.shape != (len(arguments[0]), size):
            raise UsageError(f"expected derivatives {(len(arguments[0]), size)}, got {derivatives.shape}")
        return derivatives
    except (ImportError, NotImplementedError):
        raise
    except Exception:
        if len(arguments[0]) == 1:
            return np.full((1, size), np.nan)
    rows = zip(*arguments, strict=True)
    return np.concatenate([derivative_block(derivative, tuple(part[None] for part in row), size) for row in rows])


def _solve_at_once(problem: Problem, y: Array) -> SolvedBlock:
    observables, status = problem.solve(y)
    observables = numbers(observables, "the observables that the problem returns").copy()
    status = np.array(status, dtype=np.int8)
    expected = (len(y), problem.observables.size)
    if observables.shape != expected or status.shape != expected[:1]:
        raise UsageError(
            f"expected observables {expected} and status {expected[:1]}, got {observables.shape} and {status.shape}"
        )
    status[(status == SolveStatus.OK) & ~np.isfinite(observables).all(axis=1)] = SolveStatus.NOT_FINITE
    observables[status != SolveStatus.OK] = np.nan
    return SolvedBlock(observables, status, ("",) * len(y))
