"""A block of samples, with any tangents, taken forward in time (the scheme is in scheme.py)."""

from __future__ import annotations

import numpy as np

from gnvpro.pde_data.problems.convection.imex.equations import DiscreteEquations
from gnvpro.pde_data.problems.convection.imex.nodal_reaction import Block
from gnvpro.pde_data.problems.convection.imex.scheme import (
    STAGE_SLOTS,
    STAGE_TIMES,
    K,
    multistep_weights,
    stage_weights,
)
from gnvpro.surrogate.spaces import Array


def march(equations: DiscreteEquations, block: Block, visited: list[Array] | None = None) -> tuple[Array, Array]:
    """Observables (samples, 1 + directions, n_out), and the last state (samples, size).

    Parameters
    ----------
    visited
        Receives every state (samples, size) that a reaction is evaluated at, stages included, in this order.
    """
    # A sample that blows up becomes infinite, then NaN, in its own row; its status says so.
    with np.errstate(over="ignore", invalid="ignore"):
        return _March(equations, block, visited).run()


class _March:
    """One block of samples, with their tangents below them, on its way through time."""

    def __init__(self, equations: DiscreteEquations, block: Block, visited: list[Array] | None) -> None:
        self.equations, self.block, self.visited = equations, block, visited
        self.times = equations.observed
        sensors, size = equations.sensors.shape
        self.combined = np.empty((block.rows, size))
        self.observed = np.full((block.rows, len(self.times.steps), sensors), np.nan)

    def run(self) -> tuple[Array, Array]:
        equations, tau, last = self.equations, self.times.tau, self.times.last
        samples, directions = self.block.table_tangent.shape[:2]
        # Slots 0 … K−1 hold the last K states and slots K … 2K−1 their reactions, both cyclically.
        history = np.zeros((2 * K, *self.combined.shape))
        for step in range(1, min(K, last + 1)):
            self._start(history, step)
            self._observe(step, history[step])
        for step in range(K, last + 1):
            newest = (step - 1) % K
            self._advance(history, newest, K + newest, multistep_weights(step, tau), self.combined, (step - 1) * tau)
            state = history[step % K]
            equations.multistep.apply(self.combined, state)
            state[:samples] += equations.multistep_load
            self._observe(step, state)
        observed = self.observed.reshape(len(self.observed), -1)
        tangents = observed[samples:].reshape(samples, directions, observed.shape[1])
        values = np.concatenate([observed[:samples, None], tangents], axis=1)
        return values, history[last % K][:samples]

    def _start(self, history: Array, step: int) -> None:
        """One Runge–Kutta step from state `step` − 1 to state `step`; stores the reaction of the former."""
        equations, tau, samples = self.equations, self.times.tau, len(self.block.table)
        stages = np.zeros((STAGE_SLOTS, *self.combined.shape))
        stages[0] = history[step - 1]
        for i in range(4):
            right = stages[9 + i] if i < 3 else self.combined
            self._advance(stages, i, 5 + i, stage_weights(i, tau), right, (step - 1 + STAGE_TIMES[i]) * tau)
            equations.stage.apply(right, stages[1 + i])
            stages[1 + i, :samples] += equations.stage_load
        history[step] = stages[4]
        history[K + step - 1] = stages[5]

    def _advance(self, stack: Array, state: int, reaction: int, weights: Array, out: Array, time: float) -> None:
        if self.visited is not None:
            self.visited.append(stack[state, : len(self.block.table)].copy())
        self.equations.reaction.advance(self.block, stack, state, reaction, weights, out, time)

    def _observe(self, step: int, state: Array) -> None:
        if step in self.times.steps:
            self.observed[:, self.times.steps[step]] = state @ self.equations.sensors.T
