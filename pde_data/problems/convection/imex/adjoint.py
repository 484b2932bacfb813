"""The discrete adjoint of the production route: its time steps transposed, and taken backwards.

For a functional J of the observables, λ_m and μ_m are the derivatives of J by the state U_m and by its reaction
R_m = r(U_m). A step U_{m+1} = P (Σ_i −a_i U_{m+1−i} + τ b_i R_{m+1−i}) + const is passed in the reverse direction by

    w = Pᵀ λ_{m+1},   λ_{m+1−i} −= a_i w,   μ_{m+1−i} += τ b_i w,   λ_m += r'(U_m)ᵀ μ_m,

and μ_m, at U_m, gives the derivative by the reaction itself, that is, by the coefficients of its table. These are
linear in the parameters, so one sweep costs the same for any number of them. All rows are samples.
"""

from __future__ import annotations

import numpy as np

from gnvpro.pde_data.problems.convection.imex.equations import DiscreteEquations
from gnvpro.pde_data.problems.convection.imex.march import march
from gnvpro.pde_data.problems.convection.imex.nodal_reaction import Block
from gnvpro.pde_data.problems.convection.imex.scheme import STAGE_SLOTS, K, multistep_weights, stage_weights
from gnvpro.surrogate.spaces import Array


def sweep_back(equations: DiscreteEquations, y: Array, weights: Array) -> Array:
    """Derivative of <weights, observables> by the parameters: (n, n_in), (n, n_out) -> (n, n_in).

    NaN for samples that leave the table or become infinite.
    """
    table = equations.reaction.table
    visited: list[Array] = []
    block = Block.of(table, y)
    observables = march(equations, block, visited)[0][:, 0]
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
        self.times = equations.observed
        self.seeds = weights.reshape(len(weights), len(self.times.steps), -1)
        self.gradient = np.zeros_like(block.table)

    def run(self) -> None:
        last, tau = self.times.last, self.times.tau
        # λ and μ of the last K states, in the slots that the states and their reactions have on the way forward.
        bars = np.zeros((2 * K, *self.visited[0].shape))
        passed = np.empty(self.visited[0].shape)
        for step in range(last, K - 1, -1):
            here, before = step % K, (step - 1) % K
            self._add_seeds(step, bars[here])
            self.equations.multistep.apply_transposed(bars[here], passed)
            bars[here] = 0.0  # from now on the slot is that of state step − K
            self._retreat(bars, before, K + before, multistep_weights(step, tau), passed)
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
            self._retreat(stages, i, 5 + i, stage_weights(i, self.times.tau), passed)
        bars[step - 1] += stages[0]

    def _retreat(self, bars: Array, state: int, reaction: int, weights: Array, passed: Array) -> None:
        visited = self.visited.pop()
        self.equations.reaction.retreat(self.block, bars, state, reaction, weights, passed, visited, self.gradient)

    def _add_seeds(self, step: int, bar: Array) -> None:
        if step in self.times.steps:
            bar += self.seeds[:, self.times.steps[step]] @ self.equations.sensors
