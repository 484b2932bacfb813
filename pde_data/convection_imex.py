"""Production route: high-order elements, reaction at the nodes, implicit–explicit time stepping, many samples at once.

Transport is implicit and the same for all samples and steps: its propagator is built once (propagator.py).
The reaction is explicit and read from a table (reactions.py). Time stepping is SBDF4 (Ascher, Ruuth & Wetton 1995),

    Σ_i a_i U_{m+1−i} / τ + M⁻¹(A U_{m+1} − F) = Σ_i b_i r(U_{m−i}),

started by three steps of the Runge–Kutta pair ARS(4,4,3) (Ascher, Ruuth & Spiteri 1997). SBDF5 with fewer steps is
as accurate for typical parameters, but unstable for those near the corners of the simplex.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from pde_data.convection_coefficients import ConvectionCoefficients
from pde_data.convection_forms import SemiDiscrete, assemble
from pde_data.imex_kernels import advance
from pde_data.problem import SolveStatus
from pde_data.propagator import DENSE_LIMIT, DensePropagator, Parity, Propagator, SparsePropagator
from surrogate.forward_model import Array

if TYPE_CHECKING:
    from pde_data.convection import ImexSettings

# SBDF4: a_0 multiplies the new state, a_1 … a_4 and b_1 … b_4 the last four states and their reactions.
_A0, _A = 25 / 12, np.array([-4.0, 3.0, -4 / 3, 1 / 4])
_B = np.array([4.0, -6.0, 4.0, -1.0])
_K = len(_B)

# ARS(4,4,3): implicit tableau without its diagonal (which is 1/2), explicit tableau, times of the stages.
_ARS_IMPLICIT = ((), (1 / 6,), (-1 / 2, 1 / 2), (3 / 2, -3 / 2, 1 / 2))
_ARS_EXPLICIT = ((1 / 2,), (11 / 18, 1 / 18), (5 / 6, -5 / 6, 1 / 2), (1 / 4, 7 / 4, 3 / 4, -7 / 4))
_ARS_TIMES = (0.0, 1 / 2, 2 / 3, 1 / 2)

Forcing = Callable[[float], Array]


class ImexSolver:
    """Solves blocks of samples; everything that does not depend on the sample is prepared here.

    Attributes
    ----------
    system
        The finite-element matrices.
    forcing
        Gives nodal values (n_nodes,) at a time, which are added to the reaction: a known solution can be
        manufactured. None by default.
    """

    def __init__(self, coefficients: ConvectionCoefficients, settings: ImexSettings) -> None:
        observed = coefficients.observation_steps(settings.steps)
        self._observed = {step: i for i, step in enumerate(observed)}
        self._last, self._tau = observed[-1], coefficients.final_time / settings.steps
        self._table = settings.table(coefficients.reactions)
        self.system = assemble(coefficients, settings.cells, settings.degree, settings.element)
        self.forcing: Forcing | None = None
        self._parity = Parity.of(self.system) if len(self.system.nodes) <= DENSE_LIMIT else _no_parity(self.system)
        self._prepare_transport()

    def _prepare_transport(self) -> None:
        to_nodes = self._parity.to_nodes()
        M, A = (sp.csr_array(to_nodes.T @ B @ to_nodes) for B in (self.system.mass, self.system.transport))
        load = to_nodes.T @ self.system.load
        tau = self._tau
        self._multistep, self._multistep_load = _propagator(M, _A0 * M + tau * A, tau * load, self._parity)
        self._stage, self._stage_load = _propagator(M, M + tau / 2 * A, tau / 2 * load, self._parity)
        self._sensors = np.asarray(self.system.sensors @ to_nodes)

    def solve(self, y: Array) -> tuple[Array, NDArray[np.int8]]:
        """Observables (n, n_out) of admissible parameters (n, n_in), and the `SolveStatus` of each."""
        observables, outside, _ = self._march(y, np.zeros((len(y), 0, y.shape[1])))
        status = np.where(outside > 0, SolveStatus.RANGE_EXCEEDED, SolveStatus.OK).astype(np.int8)
        status[~np.isfinite(observables[:, 0]).all(axis=1)] = SolveStatus.NOT_FINITE
        return observables[:, 0], status

    def tangent(self, y: Array, directions: Array) -> Array:
        """Derivative of the discrete observables: (n, n_in), (n, k, n_in) -> (n, k, n_out).

        NaN for samples that `solve` cannot solve.
        """
        observables, outside, _ = self._march(y, directions)
        return np.where((outside > 0)[:, None, None], np.nan, observables[:, 1:])

    def final_state(self, y: Array) -> Array:
        """Nodal values at the last observation time: (n, n_in) -> (n, n_nodes)."""
        return self._march(y, np.zeros((len(y), 0, y.shape[1])))[2] @ self._parity.to_nodes().T

    def _march(self, y: Array, directions: Array) -> tuple[Array, NDArray[np.int64], Array]:
        """Observables (n, 1 + k, n_out), count of values outside the table (n,), last state (n, n_nodes)."""
        # A sample that blows up becomes infinite, then NaN, in its own row; its status says so.
        with np.errstate(over="ignore", invalid="ignore"):
            return _March(self, y, directions).run()


class _March:
    """One block of samples, with their tangents below them, on its way through time."""

    def __init__(self, solver: ImexSolver, y: Array, directions: Array) -> None:
        self.solver = solver
        self.samples, self.directions = directions.shape[:2]
        self.rows, self.n = self.samples * (1 + self.directions), len(solver.system.nodes)
        self.outside = np.zeros(self.samples, dtype=np.int64)
        table = solver._table
        self.table = table.coefficients(y)
        flat = directions.reshape(-1, y.shape[1])
        self.table_tangent = table.coefficients(flat).reshape(self.samples, self.directions, 4, table.cells)
        self.combined = np.empty((self.rows, self.n))
        times, sensors = len(solver._observed), len(solver._sensors)
        self.observed = np.full((self.rows, times, sensors), np.nan)

    def run(self) -> tuple[Array, NDArray[np.int64], Array]:
        solver = self.solver
        # Slots 0 … K−1 hold the last K states and slots K … 2K−1 their reactions, both cyclically.
        history = np.zeros((2 * _K, self.rows, self.n))
        for step in range(1, min(_K, solver._last + 1)):
            self._start(history, step)
            self._observe(step, history[step])
        for step in range(_K, solver._last + 1):
            newest = (step - 1) % _K
            age = (newest - np.arange(_K)) % _K
            weights = np.concatenate([-_A[age], solver._tau * _B[age]])
            self._advance(history, newest, _K + newest, weights, self.combined, (step - 1) * solver._tau)
            state = history[step % _K]
            solver._multistep.apply(self.combined, state)
            state[: self.samples] += solver._multistep_load
            self._observe(step, state)
        observed = self.observed.reshape(self.rows, self.observed[0].size)
        tangents = observed[self.samples :].reshape(self.samples, self.directions, observed.shape[1])
        values = np.concatenate([observed[: self.samples, None], tangents], axis=1)
        return values, self.outside, history[solver._last % _K][: self.samples]

    def _start(self, history: Array, step: int) -> None:
        """One Runge–Kutta step from state `step` − 1 to state `step`; stores the reaction of the former."""
        solver, tau = self.solver, self.solver._tau
        # Slots: stage values u_0 … u_4 (u_0 the old state), their reactions r_0 … r_3, and right-hand sides V_1 … V_3.
        # The implicit slope of stage i is (u_i − V_i)·2/τ, by the stage equation: no product with A.
        stages = np.zeros((12, self.rows, self.n))
        stages[0] = history[step - 1]
        for i in range(4):
            weights = np.zeros(12)
            weights[0] = 1.0
            weights[5 : 6 + i] = tau * np.array(_ARS_EXPLICIT[i])
            weights[1 : 1 + i] = 2 * np.array(_ARS_IMPLICIT[i])
            weights[9 : 9 + i] = -2 * np.array(_ARS_IMPLICIT[i])
            right = stages[9 + i] if i < 3 else self.combined
            self._advance(stages, i, 5 + i, weights, right, (step - 1 + _ARS_TIMES[i]) * tau)
            solver._stage.apply(right, stages[1 + i])
            stages[1 + i, : self.samples] += solver._stage_load
        history[step] = stages[4]
        history[_K + step - 1] = stages[5]

    def _advance(self, stack: Array, state: int, reaction: int, weights: Array, out: Array, time: float) -> None:
        solver = self.solver
        forcing = np.zeros(self.n) if solver.forcing is None else solver.forcing(time)[solver._parity.order]
        advance(
            stack,
            state,
            reaction,
            weights,
            out,
            solver._parity.pairs,
            self.table,
            self.table_tangent,
            solver._table.lower,
            solver._table.step,
            forcing,
            self.outside,
        )

    def _observe(self, step: int, state: Array) -> None:
        if step in self.solver._observed:
            self.observed[:, self.solver._observed[step]] = state @ self.solver._sensors.T


def _propagator(mass: sp.csr_array, matrix: sp.csr_array, load: Array, parity: Parity) -> tuple[Propagator, Array]:
    """(matrix)⁻¹ mass, and (matrix)⁻¹ load."""
    shift = splu(sp.csc_matrix(matrix)).solve(load)
    if len(load) > DENSE_LIMIT:
        return SparsePropagator(mass, matrix), shift
    return DensePropagator(mass, matrix, parity.pairs), shift


def _no_parity(system: SemiDiscrete) -> Parity:
    return Parity(0, np.arange(len(system.nodes)))
