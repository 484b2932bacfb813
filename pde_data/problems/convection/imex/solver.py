"""Production route: high-order elements, reaction at the nodes, implicit–explicit time stepping, many samples at once.

Transport is implicit and the same for all samples and steps: its propagator is built once (propagator.py).
The reaction is explicit and read from a table (reactions.py). The scheme is SBDF4, started by ARS(4,4,3) (imex_scheme.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.convection.coefficients import ConvectionCoefficients
from gnvpro.pde_data.problems.convection.forms import SemiDiscrete, assemble
from gnvpro.pde_data.problems.convection.imex.adjoint import sweep_back
from gnvpro.pde_data.problems.convection.imex.kernels import advance, retreat
from gnvpro.pde_data.problems.convection.imex.march import Block, March
from gnvpro.pde_data.problems.convection.imex.propagator import (
    DENSE_LIMIT,
    DensePropagator,
    Parity,
    Propagator,
    SparsePropagator,
)
from gnvpro.pde_data.problems.convection.imex.scheme import A0, K
from gnvpro.surrogate.spaces import Array

if TYPE_CHECKING:
    from gnvpro.pde_data.problems.convection.settings import ImexSettings

# Bytes of trajectory that a backward sweep may keep, by which the samples swept at once are bounded.
TRAJECTORY_BYTES = 2**26

Forcing = Callable[[float], Array]


class ImexSolver:
    """Solves blocks of samples; everything that does not depend on the sample is prepared here.

    States are rows of `size` coordinates: of parity here (propagator.py), of modes in a reduced model.

    Attributes
    ----------
    system
        The finite-element matrices.
    observed, last, tau
        Observed steps with the number of their observation, the last of them, and the length of a step.
    multistep, stage
        What the implicit part of a step multiplies with, (a_0 M + τ A)⁻¹ M and (M + ½ τ A)⁻¹ M;
        `multistep_load` and `stage_load` are what the source adds.
    sensors : (n_sensors, size)
        Observations of a state.
    table
        Of the reactions.
    forcing
        Gives nodal values (n_nodes,) at a time, which are added to the reaction: a known solution can be
        manufactured. None by default.
    """

    def __init__(self, coefficients: ConvectionCoefficients, settings: ImexSettings) -> None:
        observed = coefficients.observation_steps(settings.steps)
        self.observed = {step: i for i, step in enumerate(observed)}
        self.last, self.tau = observed[-1], coefficients.final_time / settings.steps
        self.table = settings.table(coefficients.reactions)
        self.system = assemble(coefficients, settings.cells, settings.degree, settings.element)
        self.forcing: Forcing | None = None
        self._width = settings.width
        self._parity = Parity.of(self.system) if len(self.system.nodes) <= DENSE_LIMIT else _no_parity(self.system)
        self._prepare_transport()

    def _prepare_transport(self) -> None:
        to_nodes = self._parity.to_nodes()
        M, A = (sp.csr_array(to_nodes.T @ B @ to_nodes) for B in (self.system.mass, self.system.transport))
        load = to_nodes.T @ self.system.load
        tau = self.tau
        self.multistep, self.multistep_load = propagator(M, A0 * M + tau * A, tau * load, self._parity)
        self.stage, self.stage_load = propagator(M, M + tau / 2 * A, tau / 2 * load, self._parity)
        self.sensors = np.asarray(self.system.sensors @ to_nodes)
        self._to_nodes = to_nodes

    def solve(self, y: Array) -> tuple[Array, NDArray[np.int8]]:
        """Observables (n, n_out) of admissible parameters (n, n_in), and the `SolveStatus` of each."""
        block = self.block(y)
        observables, _ = self.march(block)
        status = np.where(block.outside > 0, SolveStatus.RANGE_EXCEEDED, SolveStatus.OK).astype(np.int8)
        status[~np.isfinite(observables[:, 0]).all(axis=1)] = SolveStatus.NOT_FINITE
        return observables[:, 0], status

    def tangent(self, y: Array, directions: Array) -> Array:
        """Derivative of the discrete observables: (n, n_in), (n, k, n_in) -> (n, k, n_out).

        NaN for samples that `solve` cannot solve.
        """
        block = self.block(y, directions)
        observables, _ = self.march(block)
        return np.where((block.outside > 0)[:, None, None], np.nan, observables[:, 1:])

    def final_state(self, y: Array) -> Array:
        """Nodal values at the last observation time: (n, n_in) -> (n, n_nodes)."""
        return self.march(self.block(y))[1] @ self._to_nodes.T

    def gradient(self, y: Array, weights: Array) -> Array:
        """Derivative of <weights, observables> by one backward sweep: (n, n_in), (n, n_out) -> (n, n_in).

        The transpose of `tangent`, of the discrete equations. NaN for samples that `solve` cannot solve.
        """
        out = np.empty_like(y)
        fitting = TRAJECTORY_BYTES // (8 * self.sensors.shape[1] * (self.last + 4 * K))
        together = max(1, min(self._width, fitting))
        for start in range(0, len(y), together):
            block = slice(start, start + together)
            out[block] = sweep_back(self, y[block], weights[block])
        return out

    def advance(
        self, block: Block, stack: Array, state: int, reaction: int, weights: Array, out: Array, time: float
    ) -> None:
        """Evaluate the reaction of a slot of the history, then combine the history (`imex_kernels.advance`)."""
        advance(
            stack,
            state,
            reaction,
            weights,
            out,
            self._parity.pairs,
            block.table,
            block.table_tangent,
            self.table.lower,
            self.table.step,
            self._forcing(time),
            block.outside,
        )

    def retreat(
        self,
        block: Block,
        bars: Array,
        state: int,
        reaction: int,
        weights: Array,
        bar: Array,
        visited: Array,
        gradient: Array,
    ) -> None:
        """The transpose of `advance` (`imex_kernels.retreat`)."""
        retreat(
            bars,
            state,
            reaction,
            weights,
            bar,
            visited,
            self._parity.pairs,
            block.table,
            self.table.lower,
            self.table.step,
            gradient,
        )

    def block(self, y: Array, directions: Array | None = None) -> Block:
        """The reactions at parameters (n, n_in) and along directions (n, k, n_in), none by default."""
        directions = np.zeros((len(y), 0, y.shape[1])) if directions is None else directions
        flat = self.table.coefficients(directions.reshape(-1, y.shape[1]))
        tangent = flat.reshape(*directions.shape[:2], 4, self.table.cells)
        return Block(self.table.coefficients(y), tangent, np.zeros(len(y), dtype=np.int64))

    def _forcing(self, time: float) -> Array:
        if self.forcing is None:
            return np.zeros(len(self.system.nodes))
        return self.forcing(time)[self._parity.order]

    def march(self, block: Block, visited: list[Array] | None = None) -> tuple[Array, Array]:
        """Observables (n, 1 + k, n_out) and the last state (n, size) of a block.

        Appends every state (n, size) that a reaction is evaluated at to `visited`, stages included.
        """
        # A sample that blows up becomes infinite, then NaN, in its own row; its status says so.
        with np.errstate(over="ignore", invalid="ignore"):
            return March(self, block, visited).run()


def propagator(mass: sp.csr_array, matrix: sp.csr_array, load: Array, parity: Parity) -> tuple[Propagator, Array]:
    """(matrix)⁻¹ mass, and (matrix)⁻¹ load."""
    shift = splu(sp.csc_matrix(matrix)).solve(load)
    if len(load) > DENSE_LIMIT:
        return SparsePropagator(mass, matrix), shift
    return DensePropagator(mass, matrix, parity.pairs), shift


def _no_parity(system: SemiDiscrete) -> Parity:
    return Parity(0, np.arange(len(system.nodes)))
