"""A block of samples, with any tangents, taken forward in time, and the discrete adjoint, which goes backwards.

The scheme is in scheme.py. For a functional J of the observables, λ_m and μ_m are the derivatives of J by the state
U_m and by its reaction R_m = r(U_m). A step U_{m+1} = P (Σ_i −a_i U_{m+1−i} + τ b_i R_{m+1−i}) + const is passed in
the reverse direction by

    w = Pᵀ λ_{m+1},   λ_{m+1−i} −= a_i w,   μ_{m+1−i} += τ b_i w,   λ_m += r'(U_m)ᵀ μ_m,

and μ_m, at U_m, gives the derivative by the reaction itself, that is, by the coefficients of its table. These are
linear in the parameters, so one sweep costs the same for any number of them. All rows are samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gnvpro.pde_data.problems.convection.imex.equations import DiscreteEquations
from gnvpro.pde_data.problems.convection.imex.nodal_reaction import Block
from gnvpro.pde_data.problems.convection.imex.propagator import Propagator
from gnvpro.pde_data.problems.convection.imex.scheme import (
    STAGE_SLOTS,
    STAGE_TIMES,
    K,
    Slots,
    multistep_slots,
    stage_slots,
)
from gnvpro.surrogate.spaces import Array


class Marched(NamedTuple):
    """Observables (samples, n_out), tangents (samples that have them, directions, n_out), last state (samples, size)."""

    observables: Array
    tangents: Array
    state: Array


def march(equations: DiscreteEquations, block: Block, visited: list[Array] | None = None) -> Marched:
    """Take a block to its last observation.

    `visited`: receives every state (samples, size) that a reaction is evaluated at, stages included, in this order.
    """
    # A sample that blows up becomes infinite, then NaN, in its own row; its status says so.
    with np.errstate(over="ignore", invalid="ignore"):
        return _March(equations, block, visited).run()


class _March:
    """One block of samples on its way through time. Lists have an array for the samples and one for their tangents."""

    def __init__(self, equations: DiscreteEquations, block: Block, visited: list[Array] | None) -> None:
        self.equations, self.block, self.visited = equations, block, visited
        sensors, size = equations.sensors.shape
        kinds = list(zip(block.rows, (np.float64, block.knots.dtype), strict=False))
        self.combined = [np.zeros((rows, size), kind) for rows, kind in kinds]
        self.history, self.stages = self._stacks(2 * K), self._stacks(STAGE_SLOTS)
        self.observed = [np.full((rows, len(equations.observed), sensors), np.nan) for rows, _ in kinds]

    def run(self) -> Marched:
        equations, tau, last = self.equations, self.equations.tau, self.equations.last
        history = self.history
        for step in range(1, min(K, last + 1)):
            self._start(history, step)
            self._observe(step, [stack[step] for stack in history])
        for step in range(K, last + 1):
            self._advance(history, multistep_slots(step, tau), self.combined, (step - 1) * tau)
            states = [stack[step % K] for stack in history]
            self._propagate(equations.multistep, self.combined, states)
            states[0] += equations.multistep_load
            self._observe(step, states)
        values, *tangents = (observed.reshape(len(observed), -1) for observed in self.observed)
        samples, directions = self.block.knots.shape[:2]
        rows = tangents[0][: samples * directions] if tangents else np.empty(0)
        return Marched(values, rows.reshape(samples, directions, values.shape[1]), history[0][last % K])

    def _stacks(self, slots: int) -> list[Array]:
        return [np.zeros((slots, *rows.shape), rows.dtype) for rows in self.combined]

    def _start(self, history: list[Array], step: int) -> None:
        """One Runge–Kutta step from state `step` − 1 to state `step`; stores the reaction of the former."""
        equations, tau = self.equations, self.equations.tau
        stages = self.stages
        for stack, before in zip(stages, history, strict=True):
            stack[0] = before[step - 1]
        for i in range(4):
            rights = [stack[9 + i] for stack in stages] if i < 3 else self.combined
            self._advance(stages, stage_slots(i, tau), rights, (step - 1 + STAGE_TIMES[i]) * tau)
            self._propagate(equations.stage, rights, [stack[1 + i] for stack in stages])
            stages[0][1 + i] += equations.stage_load
        for stack, after in zip(stages, history, strict=True):
            after[step], after[K + step - 1] = stack[4], stack[5]

    def _advance(self, stacks: list[Array], slots: Slots, outs: list[Array], time: float) -> None:
        reaction, states = self.equations.reaction, stacks[0][slots.state]
        if self.visited is not None:
            self.visited.append(states.copy())
        reaction.advance(self.block, stacks[0], slots, outs[0], time)
        for stack, out in zip(stacks[1:], outs[1:], strict=True):
            reaction.advance_tangents(self.block, states, stack, slots, out)

    def _propagate(self, propagator: Propagator, rights: list[Array], states: list[Array]) -> None:
        for right, state, together in zip(rights, states, (len(rights[0]), self.block.together), strict=False):
            for first in range(0, len(right), together):
                propagator.apply(right[first : first + together], state[first : first + together])

    def _observe(self, step: int, states: list[Array]) -> None:
        if step in self.equations.observed:
            for observed, state in zip(self.observed, states, strict=True):
                observed[:, self.equations.observed[step]] = state @ self.equations.sensors.T


def sweep_back(equations: DiscreteEquations, y: Array, weights: Array) -> Array:
    """Derivative of <weights, observables> by the parameters: (n, n_in), (n, n_out) -> (n, n_in).

    NaN for samples that leave the table or become infinite.
    """
    table = equations.reaction.table
    visited: list[Array] = []
    block = Block.of(table, y)
    observables = march(equations, block, visited).observables
    with np.errstate(over="ignore", invalid="ignore"):
        sweep = _Sweep(equations, block, visited, weights)
        sweep.run()
        gradient = table.pull_back(sweep.gradient)
    failed = (block.outside > 0) | ~np.isfinite(observables).all(axis=1)
    return np.where(failed[:, None], np.nan, gradient)


class _Sweep:
    """One block of samples on its way back; uses up the states that were visited."""

    def __init__(self, equations: DiscreteEquations, block: Block, visited: list[Array], weights: Array) -> None:
        self.equations, self.block, self.visited = equations, block, visited
        self.seeds = weights.reshape(len(weights), len(equations.observed), -1)
        self.gradient = np.zeros_like(block.table)

    def run(self) -> None:
        last, tau = self.equations.last, self.equations.tau
        # λ and μ of the last K states, in the slots that the states and their reactions have on the way forward.
        bars = np.zeros((2 * K, *self.visited[0].shape))
        passed = np.empty(self.visited[0].shape)
        for step in range(last, K - 1, -1):
            here = step % K
            self._add_seeds(step, bars[here])
            self.equations.multistep.apply_transposed(bars[here], passed)
            bars[here] = 0.0  # from now on the slot is that of state step − K
            self._retreat(bars, multistep_slots(step, tau), passed)
        for step in range(min(K - 1, last), 0, -1):
            self._add_seeds(step, bars[step])
            self._start(bars, step)

    def _start(self, bars: Array, step: int) -> None:
        """Back over the Runge–Kutta step from state `step` − 1 to state `step`."""
        stages, passed = np.zeros((STAGE_SLOTS, *bars.shape[1:])), np.empty(bars.shape[1:])
        stages[4], stages[5] = bars[step], bars[K + step - 1]
        for i in range(3, -1, -1):
            self.equations.stage.apply_transposed(stages[1 + i], passed)
            if i < 3:
                passed += stages[9 + i]
            self._retreat(stages, stage_slots(i, self.equations.tau), passed)
        bars[step - 1] += stages[0]

    def _retreat(self, bars: Array, slots: Slots, passed: Array) -> None:
        self.equations.reaction.retreat(self.block, bars, slots, passed, self.visited.pop(), self.gradient)

    def _add_seeds(self, step: int, bar: Array) -> None:
        if step in self.equations.observed:
            bar += self.seeds[:, self.equations.observed[step]] @ self.equations.sensors
