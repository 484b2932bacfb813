"""The fast solver: high-order elements, reaction at the nodes, implicit–explicit time stepping, many samples at once.

Transport is implicit and the same for all samples and steps: its propagator is built once (propagator.py). The
reaction is explicit and read from a table (reactions.py). The scheme is SBDF4, started by ARS(4,4,3) (scheme.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.convection.coefficients import ConvectionCoefficients
from gnvpro.pde_data.problems.convection.forms import SemiDiscrete, assemble
from gnvpro.pde_data.problems.convection.imex.equations import DiscreteEquations
from gnvpro.pde_data.problems.convection.imex.march import march, sweep_back
from gnvpro.pde_data.problems.convection.imex.nodal_reaction import Block, NodalReaction
from gnvpro.pde_data.problems.convection.imex.propagator import Parity
from gnvpro.pde_data.problems.convection.imex.scheme import K
from gnvpro.pde_data.problems.convection.settings import ImexSettings
from gnvpro.surrogate.spaces import Array

# Bytes of trajectory that a backward sweep may keep, by which the samples swept at once are bounded.
TRAJECTORY_BYTES = 2**26


@dataclass(frozen=True)
class ImexSolver:
    """Solves blocks of samples; everything that does not depend on the sample is in it, prepared.

    Attributes
    ----------
    system
        The finite-element matrices.
    equations
        What is taken through time.
    to_nodes : (n_nodes, size)
        Nodal values of a state.
    width
        Samples that are swept back at once, at most.
    """

    system: SemiDiscrete
    equations: DiscreteEquations
    to_nodes: sp.csr_array | Array
    width: int

    @classmethod
    def of(
        cls,
        coefficients: ConvectionCoefficients,
        settings: ImexSettings,
        forcing: Callable[[Array, float], Array] | None = None,
    ) -> ImexSolver:
        """The full route: a coordinate for every node.

        `forcing`: values at positions (n, 2) and a time, which are added to the reaction.
        """
        steps = coefficients.observation_steps(settings.steps)
        observed, tau = {step: i for i, step in enumerate(steps)}, coefficients.final_time / settings.steps
        system = assemble(coefficients, settings.cells, settings.degree, settings.element)
        parity = Parity.of(system)
        at_nodes = None if forcing is None else lambda time: forcing(system.nodes, time)
        reaction = NodalReaction(settings.table(coefficients.reactions), parity, at_nodes)
        to_nodes = parity.to_nodes()
        mass, transport = (sp.csr_array(to_nodes.T @ B @ to_nodes) for B in (system.mass, system.transport))
        sensors = np.asarray(system.sensors @ to_nodes)
        load = to_nodes.T @ system.load
        equations = DiscreteEquations.of(observed, tau, mass, transport, load, parity, sensors, reaction)
        return cls(system, equations, to_nodes, settings.width)

    def solve(self, y: Array) -> tuple[Array, NDArray[np.int8]]:
        """Observables (n, n_out) of admissible parameters (n, n_in), and the `SolveStatus` of each."""
        return self.with_tangents(y)[:2]

    def with_tangents(
        self, y: Array, directions: NDArray[np.floating] | None = None, together: int = 0
    ) -> tuple[Array, NDArray[np.int8], Array]:
        """`solve`, and derivatives of the discrete observables along directions (n or fewer, k, n_in): (…, k, n_out).

        Derivatives have the precision of the directions, and are NaN for samples that cannot be solved. With `together`,
        so many tangents are multiplied at once, and their bits depend on no others.
        """
        block = Block.of(self.equations.reaction.table, y, directions, together)
        observables, tangents, _ = march(self.equations, block)
        status = np.where(block.outside > 0, SolveStatus.RANGE_EXCEEDED, SolveStatus.OK).astype(np.int8)
        status[~np.isfinite(observables).all(axis=1)] = SolveStatus.NOT_FINITE
        tangents[status[: len(tangents)] != SolveStatus.OK] = np.nan
        return observables, status, tangents

    def final_state(self, y: Array) -> Array:
        """Nodal values at the last observation time: (n, n_in) -> (n, n_nodes)."""
        return march(self.equations, self.block(y)).state @ self.to_nodes.T

    def gradient(self, y: Array, weights: Array) -> Array:
        """Derivative of <weights, observables> by one backward sweep: (n, n_in), (n, n_out) -> (n, n_in).

        The transpose of `tangent`, of the discrete equations. NaN for samples that `solve` cannot solve.
        """
        out = np.empty_like(y)
        size, last = self.equations.sensors.shape[1], self.equations.last
        fitting = TRAJECTORY_BYTES // (8 * size * (last + 4 * K))
        together = max(1, min(self.width, fitting))
        for start in range(0, len(y), together):
            block = slice(start, start + together)
            out[block] = sweep_back(self.equations, y[block], weights[block])
        return out

    def block(self, y: Array) -> Block:
        """The reactions at parameters (n, n_in)."""
        return Block.of(self.equations.reaction.table, y)
