"""One block of a data set, drawn, solved and committed: the task an engine runs, here or in a worker."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg  # noqa: F401  loads scipy's own BLAS, so that the limit of one thread reaches it
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from gnvpro.pde_data.problems.contract import Problem, SolveStatus
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.pde_data.problems.solving import SolvedBlock, solve_block
from gnvpro.pde_data.sampling import place
from gnvpro.pde_data.storage import store
from gnvpro.pde_data.storage.provenance import Recipe, definition_hash
from gnvpro.pde_data.storage.store import Block
from gnvpro.surrogate.errors import UsageError
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
class PickledProblem:
    """A problem on its way to a worker process: small to send, built once where it arrives.

    Attributes
    ----------
    pickled
        The problem itself, without its solver; None where it cannot be pickled and its factory is called instead.
    factory
        `package.module:factory`.
    folder
        The driver's working directory: modules are found there as they were by the driver.
    """

    pickled: bytes | None
    factory: str | None
    folder: str
    definition_hash: str

    @classmethod
    def of(cls, problem: Problem) -> PickledProblem:
        """Pack it.

        Raises UsageError: it can neither be pickled nor named by a factory.
        """
        import cloudpickle  # comes with Dask

        factory = getattr(problem, "factory", None)
        pickled = None
        try:
            pickled = cloudpickle.dumps(problem)
        except Exception as error:  # whatever the user's class, or a library's object in it, raises
            if factory is None:
                raise UsageError(
                    f"problem {problem.name!r} cannot be sent to workers ({error}); build its solver at the first "
                    "solve and leave it out of the pickle (__getstate__)"
                ) from error
        return cls(pickled, factory, os.getcwd(), definition_hash(problem.definition))

    def unpack(self) -> Problem:
        """The problem, the same object for every block.

        Raises UsageError: its definition is another one here: the worker finds another version of the code.
        """
        return _unpacked(self)


@lru_cache(maxsize=1)  # a worker holds the one problem it works on, and with it the solver
def _unpacked(sent: PickledProblem) -> Problem:
    if sent.folder not in sys.path:
        sys.path.insert(0, sent.folder)
    problem = pickle.loads(sent.pickled) if sent.pickled else load_problem(str(sent.factory))
    if (here := definition_hash(problem.definition)) != sent.definition_hash:
        raise UsageError(
            f"the worker's problem {problem.name!r} has the definition {here[:12]}, the driver's "
            f"{sent.definition_hash[:12]}; install the same code for both, and restart the workers"
        )
    return problem


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

    problem: Problem | PickledProblem
    recipe: Recipe
    out: Path
    retry_failed: bool = False

    def __reduce__(self) -> tuple[type[BlockTask], tuple[Any, ...]]:
        problem = self.problem if isinstance(self.problem, PickledProblem) else PickledProblem.of(self.problem)
        return BlockTask, (problem, self.recipe, self.out, self.retry_failed)

    def __call__(self, block: int) -> FinishedBlock:
        """Draw, solve and write.

        One BLAS thread: faster for many small systems, and the same bits on every machine load.
        """
        with _ONE_AT_A_TIME, threadpool_limits(limits=1):
            cpu, began = time.process_time(), time.perf_counter()
            parameters = self._parameters(block)
            problem = self.problem.unpack() if isinstance(self.problem, PickledProblem) else self.problem
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
        new = Block(parameters, solved, np.full(len(parameters), seconds_per_sample))
        again = np.ones(len(parameters), dtype=bool)
        if self.retry_failed:
            there = store.read_block(self.out, first, len(parameters))
            if not (there.solved.status == SolveStatus.PENDING).any():
                again = there.solved.status > SolveStatus.OK
                new = _replaced(there, new, again)
        store.write_block(self.out, first, self.recipe.n_samples, new)
        failed = again & (new.solved.status != SolveStatus.OK)
        return FinishedBlock(block, int(again.sum()), int(failed.sum()))


def _replaced(there: Block, other: Block, rows: NDArray[np.bool_]) -> Block:
    """`there` with some rows of another."""

    def merged[T: np.generic](old: NDArray[T], new: NDArray[T]) -> NDArray[T]:
        return np.where(rows.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    old, new = there.solved, other.solved
    messages = tuple(n if row else o for row, o, n in zip(rows, old.messages, new.messages, strict=True))
    solved = SolvedBlock(merged(old.observables, new.observables), merged(old.status, new.status), messages)
    return Block(there.parameters, solved, merged(there.wall_time, other.wall_time))
