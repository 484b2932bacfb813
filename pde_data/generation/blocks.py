"""One block of a data set, drawn, solved and committed: the task an engine runs, here or in a worker."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg  # noqa: F401  loads scipy's own BLAS, so that the limit of one thread reaches it
from threadpoolctl import threadpool_limits

from gnvpro.pde_data.generation.journal import Journal
from gnvpro.pde_data.generation.pieces import Piece, solved_piece
from gnvpro.pde_data.problems.contract import Problem, SolveStatus, has_observables
from gnvpro.pde_data.problems.pickled import PickledProblem
from gnvpro.pde_data.problems.solving import SolvedBlock, at_once, cpu_seconds
from gnvpro.pde_data.sampling import directions, place
from gnvpro.pde_data.storage import store
from gnvpro.pde_data.storage.integrity import damage_of_block, raise_damage, read_sound
from gnvpro.pde_data.storage.provenance import GIVEN, Recipe, definition_hash
from gnvpro.pde_data.storage.schema import lacks_derivatives
from gnvpro.pde_data.storage.store import Block
from gnvpro.surrogate.spaces import Array, Space

# A running scheduler may have workers of several threads; solvers are made for one.
_ONE_AT_A_TIME = threading.Lock()
# Problems that have solved something in this process.
_SET_UP: set[int] = set()
# One in so many pieces tells what values and derivatives cost, where they come out of one call.
_TOLD_APART = 32
# Of a sample that was given and whose parameters are damaged: nothing makes them again.
_LOST = "its parameters are lost: the data set was damaged where they stood"


@dataclass(frozen=True)
class FinishedBlock:
    """What comes back of a committed block: plain numbers, whichever process or machine it was solved on.

    Attributes
    ----------
    n_samples, n_failed
        Samples that are finished now, and those of them that failed.
    n_solved
        Samples that were solved for that; the others were solved before, by a run that was interrupted.
    cpu_seconds, process
        What it cost, and the process that did it.
    """

    block: int
    n_samples: int
    n_failed: int
    n_solved: int
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
            cpu = cpu_seconds()
            problem = self.problem.unpack() if isinstance(self.problem, PickledProblem) else self.problem
            size = at_once(problem, self.recipe.block_size)
            if self.recipe.n_directions and size > 1 and id(problem) not in _SET_UP:
                self._set_up(problem, block * self.recipe.block_size)
            finished = self._finish(block, partial(self._solved, problem, size), size)
            return replace(finished, cpu_seconds=cpu_seconds() - cpu, process=os.getpid())

    def _set_up(self, problem: Problem, first: int) -> None:
        """Solve a sample for nothing: else the first piece, often the only one, tells what set-up costs."""
        y, v = self._parameters(first)[:1], self._directions(first, 1)
        if np.isfinite(y).all():
            solved_piece(problem, y, v, self.recipe.derivative_method)
            _SET_UP.add(id(problem))

    def record_failure(self, block: int, reason: str) -> FinishedBlock:
        """Commit a block that cannot be solved: what no journal holds of it has failed for this reason."""
        return self._finish(block, lambda first, y, v: self._failed(len(y), reason), 1)

    def _finish(self, block: int, solve: Callable[[int, Array, Array], Piece], size: int) -> FinishedBlock:
        """Commit the block: what is solved of it stays, the rest is solved, `size` samples at once.

        `solve` is given the number of the first of them, parameters and directions.
        """
        first = block * self.recipe.block_size
        parameters = self._parameters(first)
        along = self._directions(first, len(parameters))
        now = self._there(block, parameters, along)
        observables, status, messages = now.solved.observables, now.solved.status, list(now.solved.messages)
        pending = status == SolveStatus.PENDING
        again = (status != SolveStatus.OK) | lacks_derivatives(status, messages) if self.retry_failed else pending
        solved_now = np.zeros(len(status), dtype=bool)
        journal = Journal(self.out, block, definition_hash(self.recipe.definition))
        with journal:
            for begin in range(0, len(parameters), size):
                rows = np.arange(begin, min(begin + size, len(parameters)))
                if not again[rows].any():
                    continue
                y, v = parameters[rows], along[rows]
                piece = journal.get(y, v, solved_only=self.retry_failed)
                if piece is None:
                    piece = solve(first + begin, y, v) if np.isfinite(y).all() else self._failed(len(y), _LOST)
                    journal.add(y, v, piece)
                    solved_now[rows] = True
                # Beside a failed sample the others keep their bits; beside a pending one those of another piece go.
                taken = np.ones(len(y), dtype=bool) if pending[rows].any() else again[rows]
                kept = rows[taken]
                observables[kept], status[kept] = piece.solved.observables[taken], piece.solved.status[taken]
                now.derivatives[kept] = piece.derivatives[taken]
                now.wall_time[kept] = piece.seconds / len(y)
                now.derivative_wall_time[kept] = piece.derivative_seconds / len(y)
                for i in np.flatnonzero(taken):
                    messages[begin + i] = piece.solved.messages[i]
        solved = SolvedBlock(observables, status, tuple(messages))
        store.write_block(self.out, first, self.recipe.n_samples, replace(now, solved=solved))
        journal.remove()
        done = np.ones(len(status), dtype=bool) if pending.any() else again
        return FinishedBlock(
            block, int(done.sum()), int((done & ~has_observables(status)).sum()), int((done & solved_now).sum())
        )

    def _solved(self, problem: Problem, size: int, first: int, y: Array, along: Array) -> Piece:
        """A piece; of one in many it is told apart what its derivatives cost."""
        n_pieces = -(-self.recipe.n_samples // size)
        apart = first // size % _TOLD_APART == min(_TOLD_APART, n_pieces) - 1
        return solved_piece(problem, y, along, self.recipe.derivative_method, apart)

    def _failed(self, n: int, reason: str) -> Piece:
        nothing = np.full((n, self.recipe.n_directions, self._n_out), np.nan)
        return Piece(SolvedBlock.failed(n, self._n_out, reason), 0.0, nothing)

    @property
    def _n_out(self) -> int:
        return Space.from_dict(self.recipe.observable_space).size

    @property
    def _space(self) -> Space:
        return Space.from_dict(self.recipe.parameter_space)

    def _directions(self, first: int, n: int) -> Array:
        return directions(self._space, self.recipe.seed, first + np.arange(n), self.recipe.n_directions)

    def _parameters(self, first: int) -> Array:
        index = np.arange(first, min(first + self.recipe.block_size, self.recipe.n_samples))
        if self.recipe.design == GIVEN:  # NaN where they are lost
            block = first // self.recipe.block_size
            return read_sound(self.out, "parameters", np.nan, block).reshape(len(index), -1)
        return place(self._space, self.recipe.design, self.recipe.seed, self.recipe.points(index))

    def _there(self, block: int, parameters: Array, along: Array) -> Block:
        """The block as it is stored; all of it pending where it is damaged and to be written anew in any case.

        Raises UsageError: it is damaged, and some of its samples would stay.
        """
        first, n = block * self.recipe.block_size, len(parameters)
        status = store.read_status(self.out, slice(first, first + n))
        pending = status == SolveStatus.PENDING
        if not pending.all():
            damage = damage_of_block(self.out, block)
            if not damage:
                # What is drawn is written as it is drawn, whatever a pending sample may hold.
                return replace(store.read_block(self.out, first, n), parameters=parameters, directions=along)
            if not pending.any():
                raise_damage(self.out, damage)
        nothing = self._failed(n, "")
        all_pending = np.full(n, SolveStatus.PENDING, dtype=np.int8)
        solved = SolvedBlock(nothing.solved.observables, all_pending, ("",) * n)
        return Block(parameters, solved, np.full(n, np.nan), along, nothing.derivatives, np.full(n, np.nan))
