"""Problems that solve each sample apart, in another process or on a server: several at a time, by threads that wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import NoSampleAtFault, SolveFailed, SolveStatus
from gnvpro.pde_data.problems.solving import message_of
from gnvpro.surrogate.spaces import Array

# For each thread, of the samples that are solved together and that an interrupt may cost: enough that none waits long.
_SHARE = 4


def block_size_for(at_once: int) -> int:
    """Samples of a block of a data set, such that workers have equally much to do."""
    return _SHARE * max(at_once, 2)


def piece_size_for(at_once: int) -> int:
    """Samples that are handed over together; one where they are solved one after the other."""
    return 1 if at_once == 1 else _SHARE * at_once


def each(
    function: Callable[..., Any],
    rows: Iterable[tuple[Any, ...]],
    at_once: int,
    stop: Callable[[], object] = lambda: None,
) -> list[Any]:
    """`function(*row)` of every row, so many of them at a time; `stop` ends those that run when this is interrupted."""
    if at_once == 1:
        return [function(*row) for row in rows]
    with ThreadPoolExecutor(at_once) as threads:
        futures = [threads.submit(function, *row) for row in rows]
        try:
            return [future.result() for future in futures]
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            stop()
            raise


def solve_rows(
    solve_row: Callable[[Array], Array],
    y: Array,
    inside: NDArray[np.bool_],
    n_out: int,
    at_once: int = 1,
    stop: Callable[[], object] = lambda: None,
) -> tuple[Array, NDArray[np.int8], list[str]]:
    """What `Problem.solve` returns, by a function that gives the observables (n_out,) of a sample or raises.

    `inside` (n,): which samples are to be solved, as they lie in the space.
    """

    def solved(row: Array) -> tuple[Array | float, SolveStatus, str]:
        try:
            return solve_row(row), SolveStatus.OK, ""
        except SolveFailed as error:
            return np.nan, error.status, message_of(error)
        except (ImportError, NoSampleAtFault):
            raise
        except Exception as error:
            return np.nan, SolveStatus.EXCEPTION, message_of(error)

    observables = np.full((len(y), n_out), np.nan)
    status = np.where(inside, SolveStatus.OK, SolveStatus.OUTSIDE_PARAMETER_SPACE).astype(np.int8)
    messages = [""] * len(y)
    numbers = np.flatnonzero(inside)
    for i, result in zip(numbers, each(solved, [(y[i],) for i in numbers], at_once, stop), strict=True):
        observables[i], status[i], messages[i] = result
    return observables, status, messages
