"""The PDE in place of the surrogate, where the surrogate is not to be trusted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps.progress import Watch, unwatched
from gnvpro.apps.trust.origin import problem_of
from gnvpro.pde_data.problems.contract import Problem, SolveStatus
from gnvpro.pde_data.problems.solving import SolvedBlock, solve_block
from gnvpro.pde_data.storage.append import BLOCK_SIZE, append, require_appendable
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array

_SHOWN = 10


@dataclass(frozen=True)
class Answers:
    """Predictions with how far they can be trusted, or PDE solves in their place.

    Attributes
    ----------
    observables, half_width, half_width_simultaneous : (n, n_out)
        Bands of level `level`; of width zero where the PDE answered, NaN where the model has no bands.
    score : (n,)
        NaN where the model has none.
    trusted, by_pde, failed : (n,)
        Inside the training range with a score of at most 1; answered by the PDE; it was asked and could not.
    """

    observables: Array
    half_width: Array
    half_width_simultaneous: Array
    score: Array
    trusted: NDArray[np.bool_]
    by_pde: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    level: float
    n_appended: int = 0


def predicted(surrogate: Surrogate, parameters: Array, level: float) -> Answers:
    """What the surrogate says at parameters (n, n_in), with its bands where it has any."""
    observables, none = surrogate.evaluate(parameters), np.zeros(len(parameters), dtype=bool)
    if surrogate.trust is None:
        unknown = np.full_like(observables, np.nan)
        return Answers(
            observables, unknown, unknown, np.full(len(parameters), np.nan), none, none.copy(), none.copy(), level
        )
    n = len(parameters)
    half, together = (np.tile(surrogate.half_width(level, simultaneous=s), (n, 1)) for s in (False, True))
    score = surrogate.score(parameters)
    return Answers(observables, half, together, score, surrogate.trusted(parameters, score), none, none.copy(), level)


def doubtful(surrogate: Surrogate, answers: Answers, tolerance: float | None) -> NDArray[np.bool_]:
    """Which answers (n,) the PDE should give: not trusted, or with a simultaneous band too wide for the tolerance.

    The band is too wide where its norm exceeds the tolerance times the norm of the (anomalous) observables: the
    relative error is then not known to be below the tolerance with the probability of the level.
    """
    doubted = ~answers.trusted
    if tolerance is not None:
        size = answers.observables
        if surrogate.background is not None:
            size = size - surrogate.background.numpy()
        wide = np.linalg.norm(answers.half_width_simultaneous, axis=1)
        doubted |= ~(wide <= tolerance * np.linalg.norm(size, axis=1))
    return doubted


class Fallback:
    """Solves of the PDE behind a surrogate, kept for the next training.

    Parameters
    ----------
    tolerance
        See `doubtful`.
    data
        Data set that keeps the solves.
    problem
        See `gnvpro.apps.trust.origin.problem_of`.
    watch, say
        Told how far the solving is, and what became of each of the first points.

    Raises
    ------
    ValueError
        The model has no bands, its PDE cannot be made again, or the data set cannot take the solves: all of it
        before anything is solved.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        tolerance: float | None = None,
        data: Path | None = None,
        problem: str | None = None,
        *,
        watch: Watch = unwatched,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        if surrogate.trust is None:
            raise UsageError(
                "this model cannot tell where to fall back: it has no error bands; `gnvpro calibrate MODEL DATA` makes "
                "a copy that has"
            )
        self._surrogate, self._tolerance, self._data = surrogate, tolerance, data
        self._watch, self._say = watch, say
        self._problem: Problem = problem_of(surrogate, problem)
        if data is not None:
            require_appendable(self._problem, data.absolute())

    def complete(self, parameters: Array, answers: Answers) -> Answers:
        """The answers with those of the PDE where they are doubtful; a failed solve leaves the surrogate's, flagged."""
        rows = np.flatnonzero(doubtful(self._surrogate, answers, self._tolerance))
        if not len(rows):
            return answers
        solved, total = self._solve(parameters[rows])
        ok = solved.status == SolveStatus.OK
        self._log(rows, self._surrogate.inside(parameters[rows]), answers, solved)
        if self._data is not None:
            self._say(f"{len(rows)} solves added to {self._data}, {total} there now")
        observables, half, together = (
            array.copy() for array in (answers.observables, answers.half_width, answers.half_width_simultaneous)
        )
        by_pde, failed = answers.by_pde.copy(), answers.failed.copy()
        good = rows[ok]
        observables[good], half[good], together[good] = solved.observables[ok], 0.0, 0.0
        by_pde[good], failed[rows[~ok]] = True, True
        added = len(rows) if self._data is not None else 0
        return Answers(
            observables, half, together, answers.score, answers.trusted, by_pde, failed, answers.level, added
        )

    def _solve(self, y: Array) -> tuple[SolvedBlock, int]:
        """Block by block, each kept before the next is begun; and how many samples the data set has then."""
        size, total, blocks = getattr(self._problem, "block_size", BLOCK_SIZE), 0, []
        try:
            with self._watch(f"solving {self._problem.name} at {len(y)} points") as report:
                for first in range(0, len(y), size):
                    report(first, len(y), "")
                    part, began = y[first : first + size], time.perf_counter()
                    blocks.append(solve_block(self._problem, part))
                    if self._data is not None:
                        spent = time.perf_counter() - began
                        total = append(self._problem, self._data, part, blocks[-1], spent)
        except KeyboardInterrupt:
            kept = f"; {total} solves are in {self._data}" * bool(total)
            raise KeyboardInterrupt(f"no predictions were written{kept}") from None
        status = np.concatenate([block.status for block in blocks])
        messages = tuple(message for block in blocks for message in block.messages)
        return SolvedBlock(np.concatenate([block.observables for block in blocks]), status, messages), total

    def _log(
        self,
        rows: NDArray[np.intp],
        inside: NDArray[np.bool_],
        answers: Answers,
        solved: SolvedBlock,
    ) -> None:
        for i, row in list(enumerate(rows))[:_SHOWN]:
            beyond = "" if inside[i] else "outside the training range, "
            why = "band too wide" if answers.trusted[row] else f"{beyond}score {answers.score[row]:.3g}"
            self._say(f"row {row} ({why}): {self._problem.name} {_outcome(solved.status[i], solved.messages[i])}")
        if len(rows) > _SHOWN:
            failed = int((solved.status != SolveStatus.OK).sum())
            self._say(f"and {len(rows) - _SHOWN} rows more, {failed} failed in all")


def _outcome(status: int, message: str) -> str:
    """What became of a solve, in words: its message, else its status."""
    if status == SolveStatus.OK:
        return "solved"
    return f"could not be solved: {message or SolveStatus(status).name.lower().replace('_', ' ')}"
