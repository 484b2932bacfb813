"""Data generation that can be killed and resumed: parameters are drawn, solved and committed block by block.

A block always holds the same samples, however a run was cut, and its bits depend on nothing else; a resumed
data set therefore equals an undisturbed one bit for bit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg  # noqa: F401  loads scipy's own BLAS, so that the limit of one thread reaches it
from threadpoolctl import threadpool_limits

from pde_data import store
from pde_data.accuracy import estimated_error
from pde_data.lock import sole_writer
from pde_data.problem import Problem, SolveStatus, as_problem, solve_block
from pde_data.recipe import Recipe
from pde_data.sampling import draw
from pde_data.schema import count_by_status

# What a kill costs at most, for problems that do not name a size; a block should still be a second of work.
DEFAULT_BLOCK_SIZE = 32
ERROR_ESTIMATE_SAMPLES = 8


@dataclass(frozen=True)
class FinishedBlock:
    """What comes back of a committed block: plain numbers, whichever process or machine it was solved on."""

    block: int
    n_samples: int
    n_failed: int


Task = Callable[[int], FinishedBlock]
Engine = Callable[[Task, Iterable[int]], Iterator[FinishedBlock]]
Progress = Callable[[int, int, int], None]


def in_process(task: Task, blocks: Iterable[int]) -> Iterator[FinishedBlock]:
    """The engine that solves one block after the other, here."""
    return map(task, blocks)


def generate(
    problem: Any,
    out: str | os.PathLike[str],
    n_samples: int,
    seed: int,
    *,
    block_size: int | None = None,
    on_progress: Progress | None = None,
    run: Engine = in_process,
) -> dict[str, Any]:
    """Make the data set `out`, or finish the one that is there.

    Parameters
    ----------
    problem
        A `Problem`, or any object with `parameters`, `observables` and `evaluate`.
    out
        Zarr folder; missing, empty, or a data set with the same settings.
    block_size
        Samples solved and committed at once; the problem's own choice where it has one.
    on_progress
        Called with the samples done, those of them that failed, and all, at the start and after every block.
    run
        The engine: given a task and block numbers, yields what the task returned, in any order.

    Returns
    -------
    dict
        JSON-able: counts by status, what this run solved itself, its seconds in all (of waiting and of CPU),
        `samples_per_second` of the solves alone (set-up included), and the estimated error of the PDE solver.

    Raises
    ------
    ValueError
        Sizes that are not positive; `out` holds something else, other settings (the difference is named), or
        is being written by another process.
    OSError
        `out` cannot be written.
    KeyboardInterrupt
        After Ctrl-C; the finished blocks stay, and the same call resumes.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    problem, out = as_problem(problem), Path(out)
    recipe = _asked_recipe(problem, out, n_samples, seed, block_size)
    solved_now, solve_seconds = 0, 0.0
    if not _is_complete(out):
        _make_last_folder(out)
        with sole_writer(out):
            if not _is_data_set(out):
                store.create(out, recipe)
            began = time.perf_counter()
            solved_now = _solve_pending(problem, out, recipe, on_progress, run)
            solve_seconds = time.perf_counter() - began
            if "estimated_error" not in store.read_attributes(out):
                _record_error_estimate(problem, out, recipe.seed)
    return _summary(out, solved_now, solve_seconds, time.perf_counter() - wall, time.process_time() - cpu)


def solve_and_commit(problem: Problem, recipe: Recipe, out: Path, block: int) -> FinishedBlock:
    """Draw, solve and write one block: the task an engine runs, here or in a worker.

    One BLAS thread: faster for many small systems, and the same bits on every machine load.
    """
    first = block * recipe.block_size
    index = np.arange(first, min(first + recipe.block_size, recipe.n_samples))
    parameters = draw(problem.parameters, recipe.seed, index)
    began = time.perf_counter()
    with threadpool_limits(limits=1):
        solved = solve_block(problem, parameters)
    store.write_block(out, first, parameters, solved, (time.perf_counter() - began) / len(index))
    return FinishedBlock(block, len(index), int((solved.status != SolveStatus.OK).sum()))


def _asked_recipe(problem: Problem, out: Path, n_samples: int, seed: int, block_size: int | None) -> Recipe:
    """What is asked for, once it is known to fit what is in place."""
    for what, size in (("samples", n_samples), ("samples per block", block_size)):
        if size is not None and size < 1:
            raise ValueError(f"expected at least 1 {what}, got {size}")
    draw(problem.parameters, seed, [0])  # a law or seed that cannot be drawn from: before anything is written
    there = store.recipe_in(out) if _is_data_set(out) else None
    usual = there.block_size if there else getattr(problem, "block_size", DEFAULT_BLOCK_SIZE)
    asked = Recipe.of(problem, n_samples, seed, min(block_size or usual, n_samples))
    if there and (difference := there.difference(asked)):
        raise ValueError(
            f"{out} was made with other settings: {difference}; repeat them to resume, or choose another place"
        )
    return asked


def _is_data_set(out: Path) -> bool:
    """Whether `out` is a data set; False for nothing or an empty folder, an error for anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    store.read_attributes(out)
    return True


def _is_complete(out: Path) -> bool:
    return (
        _is_data_set(out)
        and not (store.read_status(out) == SolveStatus.PENDING).any()
        and "estimated_error" in store.read_attributes(out)
    )


def _make_last_folder(out: Path) -> None:
    """The last folder on the way to `out` is made if need be; a longer missing way is more likely a slip."""
    folder = out.absolute().parent
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"the folder {folder.parent} does not exist; create it, or choose another place")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {folder} ({error.strerror}); choose one you may write in") from error


def _solve_pending(problem: Problem, out: Path, recipe: Recipe, on_progress: Progress | None, run: Engine) -> int:
    """Solve what is pending; returns how many samples that were."""
    status = store.read_status(out)
    pending = store.pending_blocks(status, recipe.block_size)
    n_pending = sum(len(status[b * recipe.block_size : (b + 1) * recipe.block_size]) for b in pending)
    done = len(status) - n_pending
    failed = int((status > SolveStatus.OK).sum())
    report = on_progress or (lambda done, failed, total: None)
    report(done, failed, len(status))
    try:
        for finished in run(partial(solve_and_commit, problem, recipe, out), pending):
            done, failed = done + finished.n_samples, failed + finished.n_failed
            report(done, failed, len(status))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{done} of {len(status)} samples are in {out}; the same command resumes there"
        ) from None
    return n_pending


def _record_error_estimate(problem: Problem, out: Path, seed: int) -> None:
    """The error of a few solved samples, chosen at random, against the problem's references; null if it has none."""
    solved = np.flatnonzero(store.read_status(out) == SolveStatus.OK)
    found = None
    if len(solved):
        few = min(ERROR_ESTIMATE_SAMPLES, len(solved))
        chosen = np.sort(np.random.default_rng(seed).choice(solved, few, replace=False))
        try:
            with threadpool_limits(limits=1):
                found = estimated_error(
                    problem, store.read_parameters(out, chosen), store.read_observables(out, chosen)
                )
        except ImportError:
            raise
        except Exception as failure:  # the data are good without an estimate; say why there is none
            store.write_attribute(out, "estimated_error_failure", f"{type(failure).__name__}: {failure}")
    store.write_attribute(out, "estimated_error", found)


def _summary(
    out: Path, solved_now: int, solve_seconds: float, wall_seconds: float, cpu_seconds: float
) -> dict[str, Any]:
    attributes, status = store.read_attributes(out), store.read_status(out)
    return {
        "out": str(out),
        "problem": attributes["problem"],
        "n_samples": len(status),
        "n_ok": int((status == SolveStatus.OK).sum()),
        "n_failed": int((status > SolveStatus.OK).sum()),
        "counts": count_by_status(status),
        "n_solved_now": solved_now,
        "already_complete": solved_now == 0,
        "wall_seconds": wall_seconds,
        "cpu_seconds": cpu_seconds,
        "samples_per_second": solved_now / solve_seconds if solved_now else None,
        "estimated_error": attributes["estimated_error"],
    }
