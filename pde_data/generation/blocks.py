"""One block of a data set, drawn, solved and committed: the task an engine runs, here or in a worker."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg  # noqa: F401  loads scipy's own BLAS, so that the limit of one thread reaches it
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from gnvpro.pde_data.generation.shipped import ShippedProblem
from gnvpro.pde_data.problems.contract import Problem, SolveStatus
from gnvpro.pde_data.problems.solving import SolvedBlock, solve_block
from gnvpro.pde_data.sampling import place
from gnvpro.pde_data.storage import store
from gnvpro.pde_data.storage.recipe import Recipe
from gnvpro.pde_data.storage.store import Block
from gnvpro.surrogate.spaces import Array, Space

# A running scheduler may have workers of several threads; solvers are made for one.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class FinishedBlock:
    """What comes back of a committed block: plain numbers, whichever process or machine it was solved on.

    Attributes
    ----------
    n_samples, n_failed
        Samples that were solved, and those of them that failed.
    cpu_seconds, process
        What it cost, and the process that did it.
    """

    block: int
    n_samples: int
    n_failed: int
    cpu_seconds: float = 0.0
    process: int = 0


@dataclass(frozen=True)
class BlockTask:
    """Makes any block of one data set; travels to a worker as the description of its problem.

    Attributes
    ----------
    out
        Absolute: a worker has a working directory of its own.
    retry_failed
        In a block without pending samples, failed ones are replaced by what comes out now and no other is touched.
    """

    problem: Problem | ShippedProblem
    recipe: Recipe
    out: Path
    retry_failed: bool = False

    def __reduce__(self) -> tuple[type[BlockTask], tuple[Any, ...]]:
        problem = self.problem if isinstance(self.problem, ShippedProblem) else ShippedProblem.of(self.problem)
        return BlockTask, (problem, self.recipe, self.out, self.retry_failed)

    def __call__(self, block: int) -> FinishedBlock:
        """Draw, solve and write.

        One BLAS thread: faster for many small systems, and the same bits on every machine load.
        """
        with _ONE_AT_A_TIME, threadpool_limits(limits=1):
            cpu, began = time.process_time(), time.perf_counter()
            parameters = self._parameters(block)
            problem = self.problem.unpack() if isinstance(self.problem, ShippedProblem) else self.problem
            solved = solve_block(problem, parameters)
            finished = self._commit(block, parameters, solved, (time.perf_counter() - began) / len(parameters))
            return replace(finished, cpu_seconds=time.process_time() - cpu, process=os.getpid())

    def record_failure(self, block: int, reason: str) -> FinishedBlock:
        """Commit a block that cannot be solved, every sample failed for this reason."""
        parameters = self._parameters(block)
        nothing = np.full((len(parameters), Space.from_dict(self.recipe.observable_space).size), np.nan)
        status = np.full(len(parameters), SolveStatus.EXCEPTION, dtype=np.int8)
        return self._commit(block, parameters, SolvedBlock(nothing, status, (reason,) * len(status)), np.nan)

    def _parameters(self, block: int) -> Array:
        first = block * self.recipe.block_size
        index = np.arange(first, min(first + self.recipe.block_size, self.recipe.n_samples))
        return place(Space.from_dict(self.recipe.parameter_space), self.recipe.design, self.recipe.seed, index)

    def _commit(self, block: int, parameters: Array, solved: SolvedBlock, seconds_per_sample: float) -> FinishedBlock:
        first = block * self.recipe.block_size
        made = Block(parameters, solved, np.full(len(parameters), seconds_per_sample))
        again = np.ones(len(parameters), dtype=bool)
        if self.retry_failed:
            there = store.read_block(self.out, first, len(parameters))
            if not (there.solved.status == SolveStatus.PENDING).any():
                again = there.solved.status > SolveStatus.OK
                made = _replaced(there, made, again)
        store.write_block(self.out, first, self.recipe.n_samples, made)
        failed = again & (made.solved.status != SolveStatus.OK)
        return FinishedBlock(block, int(again.sum()), int(failed.sum()))


def _replaced(there: Block, made: Block, rows: NDArray[np.bool_]) -> Block:
    """`there` with some rows of `made`."""

    def merged[T: np.generic](old: NDArray[T], new: NDArray[T]) -> NDArray[T]:
        return np.where(rows.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    old, new = there.solved, made.solved
    messages = tuple(n if row else o for row, o, n in zip(rows, old.messages, new.messages, strict=True))
    solved = SolvedBlock(merged(old.observables, new.observables), merged(old.status, new.status), messages)
    return Block(there.parameters, solved, merged(there.wall_time, made.wall_time))
