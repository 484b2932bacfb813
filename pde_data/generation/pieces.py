"""Samples that are solved together, with derivatives along their directions: by tangents, by `jvp` or by differences."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gnvpro.pde_data.problems.contract import Problem, SolveStatus
from gnvpro.pde_data.problems.solving import SolvedBlock, checked, derivative_block, solve_block, solve_piece
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import offers
from gnvpro.surrogate.spaces import Array, Space

# How derivatives are made: with the solve, by one call more for each direction, or by differences of solves.
TANGENTS, JVP, DIFFERENCES = "tangents", "jvp", "differences"

# Of a difference, as a share of the direction, which is a standard deviation long: of second order, so that 1e-6 of its
# third derivative is lost, and a solver's error of 1e-8 costs 1e-5. A shorter one than the least is no derivative.
_STEP, _LEAST_STEP = 1e-3, 1e-6

# Tells of a row which reason its derivative failed for.
_Failed = Callable[[int, str], object]


@dataclass(frozen=True, eq=False)
class Piece:
    """Samples that were solved together.

    Attributes
    ----------
    seconds
        How long that took.
    derivatives : (n, r, n_out)
        NaN where one could not be made: `solved` then has the reason as the sample's message, beside status 0.
    derivative_seconds
        How long all of these took; NaN where it is part of `seconds`.
    """

    solved: SolvedBlock
    seconds: float
    derivatives: Array
    derivative_seconds: float = np.nan

    @property
    def is_whole(self) -> bool:
        """Whether nothing failed."""
        return bool((self.solved.status == SolveStatus.OK).all()) and not any(self.solved.messages)


def derivative_method(problem: Problem, differences: bool, there: str | None = None) -> str:
    """How derivatives of this problem are made: as those that are `there`, if it can, else in the cheapest way.

    Raises UsageError: it offers none, and differences are not asked for.
    """
    if differences or there == DIFFERENCES:
        return DIFFERENCES
    offered = [method for method in (TANGENTS, JVP) if offers(problem, method)]
    if not offered:
        raise UsageError(
            f"problem {problem.name!r} offers no derivatives (jvp); ask for --differences (differences=True) of its "
            "solves, two for each direction"
        )
    return there if there in offered else offered[0]


def solved_piece(problem: Problem, y: Array, directions: Array, method: str | None, apart: bool = False) -> Piece:
    """Solve samples y (n, n_in), and differentiate them along directions (n, r, n_in); a bad sample costs one sample.

    `apart`: solve them once more where values and derivatives come out of one call, to tell what each of them costs.

    Raises UsageError: the problem says that it has no derivatives after all.
    """
    if not directions.shape[1]:
        began = time.perf_counter()
        solved = solve_piece(problem, y, partial=True)
        return Piece(solved, time.perf_counter() - began, np.empty((len(y), 0, problem.observables.size)))
    reasons: dict[int, str] = {}
    try:
        if method == TANGENTS:
            piece = _with_tangents(problem, y, directions, apart, reasons.setdefault)
        else:
            along = _by_differences if method == DIFFERENCES else _by_jvp
            piece = _after_the_solve(problem, y, directions, along, reasons.setdefault)
    except NotImplementedError as error:
        raise UsageError(
            f"problem {problem.name!r} has no derivatives ({error}); ask for --differences (differences=True)"
        ) from error
    finite = np.isfinite(piece.derivatives).all(axis=2)
    piece.derivatives[~finite] = np.nan
    messages = list(piece.solved.messages)
    for i in np.flatnonzero((piece.solved.status == SolveStatus.OK) & ~finite.all(axis=1)):
        messages[i] = f"derivatives: {reasons.get(int(i), 'not finite')}"
    return replace(piece, solved=replace(piece.solved, messages=tuple(messages)))


def _with_tangents(problem: Any, y: Array, directions: Array, apart: bool, failed: _Failed) -> Piece:
    """Values and derivatives by one call; samples that it cannot solve are solved without their derivatives."""
    n_out, r = problem.observables.size, directions.shape[1]

    def side_by_side(y: Array, directions: Array) -> Array:
        both = problem.tangents(y, directions)
        if not isinstance(both, tuple) or len(both) != 2:
            raise UsageError(f"expected observables and derivatives of tangents, got a {type(both).__name__}")
        values, derivatives = checked(both[0], "observables", (len(y), n_out)), numbers(both[1], "the derivatives")
        if derivatives.shape != (len(y), r, n_out):
            raise UsageError(f"expected derivatives {(len(y), r, n_out)}, got {derivatives.shape}")
        return np.concatenate([values, derivatives.reshape(len(y), -1)], axis=1)

    began = time.perf_counter()
    both = _by_rows(side_by_side, (y, directions), n_out * (1 + r), failed)
    values, derivatives = both[:, :n_out].copy(), both[:, n_out:].reshape(len(y), r, n_out)
    status, messages = np.full(len(y), SolveStatus.OK, dtype=np.int8), np.full(len(y), "", dtype=object)
    if len(rest := np.flatnonzero(~np.isfinite(values).all(axis=1))):
        alone = solve_piece(problem, y[rest], partial=True)
        values[rest], status[rest], messages[rest] = alone.observables, alone.status, alone.messages
        derivatives[rest] = np.nan
    solved, ended = SolvedBlock(values, status, tuple(messages)), time.perf_counter()
    if not apart:
        return Piece(solved, ended - began, derivatives)
    solve_piece(problem, y)
    seconds = min(time.perf_counter() - ended, ended - began)
    return Piece(solved, seconds, derivatives, ended - began - seconds)


def _after_the_solve(
    problem: Problem, y: Array, directions: Array, along: Callable[..., Array], failed: _Failed
) -> Piece:
    """Values, then the derivatives of the samples that are solved."""
    began = time.perf_counter()
    solved = solve_piece(problem, y, partial=True)
    seconds = time.perf_counter() - began
    derivatives = np.full((*directions.shape[:2], problem.observables.size), np.nan)
    if len(rows := np.flatnonzero(solved.status == SolveStatus.OK)):
        values = solved.observables[rows]
        columns = [
            along(problem, y[rows], values, v, lambda i, reason: failed(int(rows[i]), reason))
            for v in directions[rows].swapaxes(0, 1)
        ]
        derivatives[rows] = np.stack(columns, axis=1)
    return Piece(solved, seconds, derivatives, time.perf_counter() - began - seconds)


def _by_jvp(problem: Problem, y: Array, values: Array, v: Array, failed: _Failed) -> Array:
    """Derivatives (n, n_out) along v (n, n_in)."""
    return _by_rows(problem.jvp, (y, v), values.shape[1], failed)


def _by_differences(problem: Problem, y: Array, values: Array, v: Array, failed: _Failed) -> Array:
    """The same, of the parabola through the values and two solves in the space."""
    space = problem.parameters
    first, second = steps(space, y, v)
    inside = np.flatnonzero(np.minimum(np.abs(first), np.abs(second)) >= _LEAST_STEP)
    for i in set(range(len(y))) - set(inside):
        failed(i, "no step along the direction stays in the space")
    derivatives = np.full_like(values, np.nan)
    if not len(inside):
        return derivatives
    f, s, t = values[inside], first[inside, None], second[inside, None]
    points = np.concatenate([y[inside] + step * v[inside] for step in (s, t)])
    solved = solve_block(problem, np.clip(points, space.lower_bounds, space.upper_bounds))
    for row, (status, message) in enumerate(zip(solved.status, solved.messages, strict=True)):
        if status != SolveStatus.OK:
            failed(int(inside[row % len(inside)]), message or SolveStatus(status).in_words)
    g, h = np.split(solved.observables, 2)
    # The derivative at 0 of the parabola through (0, f), (s, g) and (t, h).
    derivatives[inside] = (g - f) * t / (s * (t - s)) - (h - f) * s / (t * (t - s))
    return derivatives


def steps(space: Space, y: Array, v: Array) -> tuple[Array, Array]:
    """Two steps (n,) for each row, as shares of v, that stay in the space: to both sides, or to one, or shorter ones."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        up, down = (space.upper_bounds - y) / v, (space.lower_bounds - y) / v
    ahead = np.where(v > 0, up, np.where(v < 0, down, np.inf)).min(axis=1)
    behind = np.where(v > 0, -down, np.where(v < 0, -up, np.inf)).min(axis=1)
    both_sides = np.minimum(np.minimum(ahead, behind), _STEP)
    one_side = np.minimum(np.maximum(ahead, behind) / 2, _STEP)
    side = np.where(ahead >= behind, 1.0, -1.0)
    symmetric = both_sides >= one_side
    return np.where(symmetric, both_sides, side * one_side), np.where(symmetric, -both_sides, 2 * side * one_side)


def _by_rows(derivative: Callable[..., Array], arguments: tuple[Array, ...], size: int, failed: _Failed) -> Array:
    """`derivative_block`, which tells the row too that a reason is of."""
    rows = np.arange(len(arguments[0]), dtype=np.float64)

    def called(of: Array, *arguments: Array) -> Array:
        nonlocal rows
        rows = of
        return derivative(*arguments)

    return derivative_block(called, (rows, *arguments), size, lambda reason: failed(int(rows[0]), reason))
