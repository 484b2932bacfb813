"""The PDE in place of the surrogate, where the surrogate is not to be trusted."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps.trust.predictions import Predictions, Reliability
from gnvpro.pde_data.problems.contract import Problem, SolveStatus
from gnvpro.pde_data.problems.solving import SolvedBlock, at_once, solve_block
from gnvpro.pde_data.storage.append import append, require_appendable
from gnvpro.surrogate.error_measure import ErrorMeasure
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report, silent
from gnvpro.surrogate.spaces import Array

_SHOWN = 10
# What a kill may cost, in seconds of solving: an append takes a twentieth of one.
_UNKEPT_SECONDS = 1.0


def doubtful(predictions: Predictions, tolerance: float | None = None) -> NDArray[np.bool_]:
    """Which points (n,) the PDE should solve: not trusted, or with a simultaneous band too wide for the tolerance.

    The band is too wide where its norm exceeds the tolerance times the norm of the (anomalous) observables: the
    relative error is then not known to be below the tolerance with the probability of the level.
    """
    surrogate, known = _with_bands(predictions)
    doubted = ~known.trusted
    if tolerance is not None:
        size = predictions.observables
        if surrogate.background is not None:
            size = size - surrogate.background.numpy()
        wide = ErrorMeasure.of(surrogate.training).errors(known.half_width_simultaneous, size)
        doubted |= ~(wide <= tolerance)
    return doubted


def with_pde(
    predictions: Predictions,
    problem: Problem,
    tolerance: float | None = None,
    data: Path | None = None,
    progress: Report = silent,
) -> Predictions:
    """The predictions with those of the PDE where they are doubtful; where it cannot be solved, the surrogate's, flagged.

    Parameters
    ----------
    data
        Data set that keeps the solves for the next training.

    Raises
    ------
    UsageError
        The model has no bands, or the data set cannot take the solves: before anything is solved.
    """
    _, known = _with_bands(predictions)
    if data is not None:
        require_appendable(problem, data.absolute())
    rows = np.flatnonzero(doubtful(predictions, tolerance))
    if not len(rows):
        return replace(predictions, log=())
    solved, total = _solve(problem, predictions.parameters[rows], data, progress)
    log = _log(problem.name, rows, predictions, solved)
    if data is not None:
        log.append(f"{len(rows)} solves added to {data}, {total} there now")
    ok = solved.status == SolveStatus.OK
    observables = predictions.observables.copy()
    observables[rows[ok]] = solved.observables[ok]
    by_pde, failed = (np.isin(np.arange(len(observables)), which) for which in (rows[ok], rows[~ok]))
    known = replace(
        known,
        half_width=np.where(by_pde[:, None], 0.0, known.half_width),
        half_width_simultaneous=np.where(by_pde[:, None], 0.0, known.half_width_simultaneous),
        by_pde=by_pde,
        failed=failed,
    )
    n_appended = len(rows) if data is not None else 0
    return replace(predictions, observables=observables, reliability=known, n_appended=n_appended, log=tuple(log))


def _with_bands(predictions: Predictions) -> tuple[Surrogate, Reliability]:
    if not isinstance(predictions.model, Surrogate) or predictions.reliability is None:
        raise UsageError(
            "this model cannot tell where to fall back: it has no error bands; gnvpro.calibrate makes a copy that has"
        )
    return predictions.model, predictions.reliability


def _solve(problem: Problem, y: Array, data: Path | None, progress: Report) -> tuple[SolvedBlock, int]:
    """Piece by piece, kept once they have cost a second or an error ends it; and how many samples the data set has then."""
    size = at_once(problem, getattr(problem, "block_size", None) or 1)
    total, kept, seconds, blocks = 0, 0, 0.0, []

    def keep() -> None:
        nonlocal total, kept, seconds
        if data is not None and kept < len(blocks):
            done = slice(kept * size, len(blocks) * size)
            total = append(problem, data, y[done], SolvedBlock.joined(blocks[kept:]), seconds)
            kept, seconds = len(blocks), 0.0

    try:
        for first in range(0, len(y), size):
            progress(first, len(y), f"solving {problem.name} at {len(y)} points")
            began = time.perf_counter()
            blocks.append(solve_block(problem, y[first : first + size]))
            seconds += time.perf_counter() - began
            if seconds >= _UNKEPT_SECONDS:
                keep()
    except BaseException as error:
        keep()
        if isinstance(error, KeyboardInterrupt):
            solves = f"; {total} solves are in {data}" if total else ""
            raise KeyboardInterrupt(f"no predictions were written{solves}") from None
        raise
    keep()
    return SolvedBlock.joined(blocks), total


def _log(problem: str, rows: NDArray[np.intp], predictions: Predictions, solved: SolvedBlock) -> list[str]:
    """Of each of the first points why the PDE was asked and what came of it, then how many more there are."""
    known, log = predictions.reliability, []
    assert known is not None
    for row, status, message in list(zip(rows, solved.status, solved.messages, strict=True))[:_SHOWN]:
        beyond = "" if predictions.inside[row] else "outside the training range, "
        why = "band too wide" if known.trusted[row] else f"{beyond}score {known.score[row]:.3g}"
        reason = message or SolveStatus(status).in_words
        became = "solved" if status == SolveStatus.OK else f"could not be solved: {reason}"
        log.append(f"row {row} ({why}): {problem} {became}")
    if len(rows) > _SHOWN:
        failed = int((solved.status != SolveStatus.OK).sum())
        log.append(f"and {len(rows) - _SHOWN} rows more, {failed} failed in all")
    return log
