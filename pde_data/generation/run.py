"""Data generation that can be killed, resumed and extended: parameters are placed, solved and committed block by block.

A block always holds the same samples, however a run was cut, and its bits depend on nothing else; a resumed or
extended data set therefore equals an undisturbed one bit for bit.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from gnvpro.pde_data.generation.blocks import BlockTask
from gnvpro.pde_data.generation.engines import Engine, engine_of
from gnvpro.pde_data.generation.journal import journaled_samples, remove_journals
from gnvpro.pde_data.generation.request import is_data_set, problem_asked, recipe_asked
from gnvpro.pde_data.generation.result import Generation
from gnvpro.pde_data.problems.accuracy import ERROR_ESTIMATE_SAMPLES, estimated_error
from gnvpro.pde_data.problems.contract import Problem, SolveStatus, attributes_of, background_of, has_failed
from gnvpro.pde_data.problems.limited import solved_within
from gnvpro.pde_data.problems.solving import cpu_seconds, message_of
from gnvpro.pde_data.storage import layout, store
from gnvpro.pde_data.storage.integrity import Damage, find_damage, give_up, require_metadata, require_sound
from gnvpro.pde_data.storage.lock import sole_writer
from gnvpro.pde_data.storage.metadata import read_attributes, remove_leftovers
from gnvpro.pde_data.storage.provenance import GIVEN, Recipe
from gnvpro.surrogate.checks import integer, path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.progress import Report, silent

_OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def generate(
    problem: Any,
    path: str | os.PathLike[str],
    n_samples: int,
    seed: int = 0,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    time_limit: float | None = None,
    ranks: int = 1,
    threads_per_solve: int = 1,
    options: dict[str, Any] | None = None,
    block_size: int | None = None,
    design: str | None = None,
    derivatives: int | None = None,
    differences: bool = False,
    coarser: int = 0,
    placement: dict[str, Any] | None = None,
    retry_failed: bool = False,
    repair: bool = False,
    estimates_error: bool = True,
    progress: Report = silent,
    engine: Engine | None = None,
) -> Generation:
    """Make the data set `path`, finish the one that is there, or extend it to `n_samples`.

    Parameters
    ----------
    problem
        A registered name, `package.module:factory`, a `Problem`, or any object with `parameters`, `observables` and
        `evaluate`.
    path
        Zarr folder; missing, empty, or a data set with the same settings and at most as many samples.
    workers, scheduler
        Processes of this machine to solve in, or the address of a running Dask scheduler with workers of its own; this
        process without both. In a script, spawned workers need `if __name__ == "__main__":` around the call.
    time_limit, ranks, threads_per_solve
        How samples are solved: see `gnvpro.pde_data.problems.limited.solved_within`.
    options
        Of a problem that is named.
    block_size
        Samples solved and committed at once; the problem's own choice where it has one.
    design
        How the parameters are placed (`sampling.DESIGNS`); else that of the data set in place, else what
        `sampling.default_design` says.
    derivatives
        Directions along which the observables of every sample are differentiated, drawn with the sample
        (`sampling.directions`); else as many as in the data set in place, or none.
    differences
        By finite differences, two solves a direction, whatever else the problem offers.
    coarser
        Solve the version of the problem that is so many times coarser, by its `coarser()`.
    placement
        Which points of the design to solve at, in place of the first: `numbers`, one a sample, and `models`, whom they were
        placed for (see `Recipe`); else that of the data set in place.
    retry_failed
        Solve samples again that failed, or whose derivatives did; all others keep their bits.
    repair
        Look for damaged chunks first, and make their blocks again.
    estimates_error
        Estimate the error of the solves once all are there, by the problem's reference; a data set that is to grow in many
        steps has its estimate when the last of them asks for it.
    progress
        Called at the start and after every block with the samples done, all, and a note such as `8/10, 1 failed`.
    engine
        What runs the tasks, in place of workers or a scheduler; see `gnvpro.pde_data.generation.engines`.

    Raises
    ------
    UsageError
        Sizes that are not positive; a problem without derivatives or coarser versions; `path` holds something else, other
        settings or more samples (the difference is named), is damaged, or is being written by another process.
    ImportError
        Workers without Dask; says what to install.
    OSError
        `path` cannot be written; after a full disk the finished blocks stay, and the same call resumes.
    KeyboardInterrupt
        After Ctrl-C; the finished blocks stay, and the same call resumes.
    """
    integer("n_samples", n_samples)
    integer("seed", seed)
    if workers is not None:
        integer("workers", workers)
    engine = engine or engine_of(workers, scheduler)
    path = path_of(path, "the folder of a data set").absolute()
    if path.suffix.lower() == ".zip":
        raise UsageError(f"{path}: a data set is a folder that grows; leave out .zip, and pack it when it is finished")
    wall, cpu = time.perf_counter(), cpu_seconds()
    asked = problem_asked(problem, options, coarser)
    with solved_within(asked, time_limit, ranks, threads_per_solve, workers) as problem:
        recipe = recipe_asked(problem, path, n_samples, seed, block_size, design, derivatives, differences, placement)
        done, damage, solve_seconds = _Solved(), [], 0.0
        if repair or not _is_complete(path, recipe, retry_failed, estimates_error):
            _make_last_folder(path)
            with sole_writer(path) as alone, _saying_what_is_kept(path):
                damage = _prepare(problem, path, recipe, repair, alone)
                began = time.perf_counter()
                done = _solve_pending(BlockTask(problem, recipe, path, retry_failed), progress, engine)
                solve_seconds = time.perf_counter() - began
                remove_journals(path)
                if estimates_error and _lacks_estimate(path):
                    _record_error_estimate(problem, path, recipe.seed)
    return Generation(
        path,
        read_attributes(path),
        store.read_status(path),
        n_solved_now=done.n_samples,
        repaired=[asdict(chunk) for chunk in damage] if repair else None,
        wall_seconds=time.perf_counter() - wall,
        cpu_seconds=cpu_seconds() - cpu + done.cpu_seconds,
        samples_per_second=done.n_samples / solve_seconds if done.n_samples else None,
    )


def _is_complete(out: Path, recipe: Recipe, retry_failed: bool, estimates_error: bool) -> bool:
    """Whether nothing is left to solve, nor to say of the whole."""
    if not is_data_set(out):
        return False
    require_metadata(out)
    if not store.has_size(out, recipe.n_samples):
        return False
    status, again = _status_in(out, retry_failed)
    estimated = not estimates_error or not _lacks_estimate(out)
    return estimated and not (again | (status == SolveStatus.PENDING)).any()


def _lacks_estimate(out: Path) -> bool:
    """Whether the error of the solves is to be estimated; not of samples that were given, which follow no law."""
    attributes = read_attributes(out)
    return attributes["design"] != GIVEN and "estimated_error" not in attributes


def _status_in(out: Path, retry_failed: bool) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """Status of every sample, and which are to be tried again; where that cannot be read, the error names the damage."""
    try:
        status = store.read_status(out)
        return status, store.read_failures(out) if retry_failed else np.zeros(len(status), dtype=bool)
    except ValueError:
        require_sound(out)
        raise


def _make_last_folder(out: Path) -> None:
    """The last folder on the way to `out` is made if need be; a longer missing way is more likely a slip."""
    folder = out.parent
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"the folder {folder.parent} does not exist; create it, or choose another place")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {folder} ({error.strerror}); choose one you may write in") from error


def _prepare(problem: Problem, out: Path, recipe: Recipe, repair: bool, alone: bool) -> list[Damage]:
    """Have the data set in place, in its size, and without the damage that is to be repaired; returns that.

    `alone`: no other process writes it; unknown where the file system has no locks.
    """
    if not is_data_set(out):
        try:
            layout.create(
                out,
                recipe,
                background_of(problem),
                alone=alone,
                mesh=problem.observables.mesh,
                about=attributes_of(problem),
            )
            remove_journals(out)
            return []
        except OSError as error:
            if alone or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if store.recipe_in(out) != recipe:
            raise UsageError(f"{out} was made by another run meanwhile, with other settings; choose another place")
    if alone:
        remove_leftovers(out)
    damage = find_damage(out) if repair else []
    if damage:
        give_up(out, damage, background_of(problem), problem.observables.mesh)
    require_metadata(out)
    if not store.has_size(out, recipe.n_samples):
        store.resize(out, recipe.n_samples, placement=recipe.placement)
    if recipe.design == GIVEN and not repair:
        require_sound(out)  # samples that were given are never pending
    return damage


@dataclass
class _Solved:
    """What a run has solved itself, and the CPU seconds of other processes in it."""

    n_samples: int = 0
    cpu_seconds: float = 0.0


@contextmanager
def _saying_what_is_kept(out: Path) -> Iterator[None]:
    """Tell how to go on after Ctrl-C and after a full disk."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{_progress_in(out)}; generating it again resumes there") from None
    except OSError as error:
        if error.errno not in _OUT_OF_SPACE:
            raise
        why = f"cannot write {out} ({os.strerror(error.errno)})"
        raise OSError(f"{why}; {_progress_in(out)}: free some space, and generating it again resumes there") from error


def _progress_in(out: Path) -> str:
    if not out.exists():
        return "nothing is there yet"
    status = store.read_status(out)
    n_kept = int((status != SolveStatus.PENDING).sum()) + journaled_samples(out)
    return f"{n_kept} of {len(status)} samples are in {out}"


def _solve_pending(task: BlockTask, progress: Report, engine: Engine) -> _Solved:
    """Solve what is pending, and what failed if it is to be tried again."""
    (status, again), size = _status_in(task.out, task.retry_failed), task.recipe.block_size
    work = _samples_to_solve(status, again, size)
    in_work = np.concatenate([status[b * size : (b + 1) * size] for b in work]) if work else status[:0]
    done, failed = (
        len(status) - sum(work.values()),
        int(has_failed(status).sum() - has_failed(in_work).sum()),
    )
    if work:  # an estimate would be of samples that are about to change
        store.begin_solving(task.out, sum(work.values()))
    solved = _Solved()
    progress(done, len(status), f"{done}/{len(status)}, {failed} failed")
    finished_blocks = engine(task, list(work))
    try:
        for finished in finished_blocks:
            done, failed = done + finished.n_samples, failed + finished.n_failed
            solved.n_samples += finished.n_solved
            solved.cpu_seconds += finished.cpu_seconds if finished.process != os.getpid() else 0.0
            progress(done, len(status), f"{done}/{len(status)}, {failed} failed")
    finally:
        getattr(finished_blocks, "close", lambda: None)()  # workers of a run that was stopped here are stopped too
    return solved


def _samples_to_solve(status: NDArray[np.int8], again: NDArray[np.bool_], block_size: int) -> dict[int, int]:
    """Blocks with something to solve, and how many samples that is: all of a block with a pending one."""
    work = {}
    for block, first in enumerate(range(0, len(status), block_size)):
        of_block = slice(first, first + block_size)
        if (status[of_block] == SolveStatus.PENDING).any():
            work[block] = len(status[of_block])
        elif again[of_block].any():
            work[block] = int(again[of_block].sum())
    return work


def _record_error_estimate(problem: Problem, out: Path, seed: int) -> None:
    """The error of a few solved samples, chosen at random, against the problem's references; null if it has none."""
    solved = np.flatnonzero(store.read_status(out) == SolveStatus.OK)
    error = None
    if len(solved):
        few = min(ERROR_ESTIMATE_SAMPLES, len(solved))
        chosen = np.sort(np.random.default_rng(seed).choice(solved, few, replace=False))
        try:
            with threadpool_limits(limits=1):
                error = estimated_error(
                    problem, *(store.read_rows(out, name, chosen) for name in ("parameters", "observables"))
                )
        except ImportError:
            raise
        except Exception as failure:  # the data are good without an estimate; say why there is none
            store.write_attribute(out, "estimated_error_failure", message_of(failure))
    store.write_attribute(out, "estimated_error", error)
