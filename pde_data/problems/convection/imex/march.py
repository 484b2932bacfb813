"""A block of samples, with any tangents, taken forward in time (the scheme is in imex_scheme.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.convection.imex.scheme import (
    STAGE_SLOTS,
    STAGE_TIMES,
    K,
    multistep_weights,
    stage_weights,
)
from gnvpro.surrogate.spaces import Array

if TYPE_CHECKING:
    from gnvpro.pde_data.problems.convection.imex.solver import ImexSolver


@dataclass(frozen=True)
class Block:
    """The reactions of a block of samples, and of their tangents, which stand below the samples in every array.

    Attributes
    ----------
    table : (samples, 4, cells)
    table_tangent : (samples, directions, 4, cells)
        The same with the directions in place of the parameters.
    outside : (samples,)
        Counts the values that were looked up outside the table.
    scratch
        Arrays that a solver uses again and again while it takes this block through time.
    """

    table: Array
    table_tangent: Array
    outside: NDArray[np.int64]
    scratch: dict[str, Array] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Samples and tangents."""
        return len(self.table) * (1 + self.table_tangent.shape[1])


class March:
    """One block of samples, with their tangents below them, on its way through time.

    Parameters
    ----------
    visited
        Receives every state (samples, size) that a reaction is evaluated at, stages included, in this order.
    """

    def __init__(self, solver: ImexSolver, block: Block, visited: list[Array] | None) -> None:
        self.solver, self.block, self.visited = solver, block, visited
        sensors, size = solver.sensors.shape
        self.combined = np.empty((block.rows, size))
        self.observed = np.full((block.rows, len(solver.observed), sensors), np.nan)

    def run(self) -> tuple[Array, Array]:
        """Observables (samples, 1 + directions, n_out), and the last state (samples, size)."""
        solver = self.solver
        samples, directions = self.block.table_tangent.shape[:2]
        # Slots 0 … K−1 hold the last K states and slots K … 2K−1 their reactions, both cyclically.
        history = np.zeros((2 * K, *self.combined.shape))
        for step in range(1, min(K, solver.last + 1)):
            self._start(history, step)
            self._observe(step, history[step])
        for step in range(K, solver.last + 1):
            newest = (step - 1) % K
            weights = multistep_weights(step, solver.tau)
            self._advance(history, newest, K + newest, weights, self.combined, (step - 1) * solver.tau)
            state = history[step % K]
            solver.multistep.apply(self.combined, state)
            state[:samples] += solver.multistep_load
            self._observe(step, state)
        observed = self.observed.reshape(len(self.observed), -1)
        tangents = observed[samples:].reshape(samples, directions, observed.shape[1])
        values = np.concatenate([observed[:samples, None], tangents], axis=1)
        return values, history[solver.last % K][:samples]

    def _start(self, history: Array, step: int) -> None:
        """One Runge–Kutta step from state `step` − 1 to state `step`; stores the reaction of the former."""
        solver, samples = self.solver, len(self.block.table)
        stages = np.zeros((STAGE_SLOTS, *self.combined.shape))
        stages[0] = history[step - 1]
        for i in range(4):
            right = stages[9 + i] if i < 3 else self.combined
            weights = stage_weights(i, solver.tau)
            self._advance(stages, i, 5 + i, weights, right, (step - 1 + STAGE_TIMES[i]) * solver.tau)
            solver.stage.apply(right, stages[1 + i])
            stages[1 + i, :samples] += solver.stage_load
        history[step] = stages[4]
        history[K + step - 1] = stages[5]

    def _advance(self, stack: Array, state: int, reaction: int, weights: Array, out: Array, time: float) -> None:
        if self.visited is not None:
            self.visited.append(stack[state, : len(self.block.table)].copy())
        self.solver.advance(self.block, stack, state, reaction, weights, out, time)

    def _observe(self, step: int, state: Array) -> None:
        if step in self.solver.observed:
            self.observed[:, self.solver.observed[step]] = state @ self.solver.sensors.T
