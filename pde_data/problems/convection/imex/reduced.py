"""A reduced model of the production route: the same equations, Galerkin-projected on a few modes.

The modes are those of a proper orthogonal decomposition of states that the full route visits at parameters which are
in no data set. States are then coordinates a of U = Φ a, with Φᵀ M Φ = 1, and the equations are

    da/dt = −(Φᵀ A Φ) a + Φᵀ F + Φᵀ M r(Φ a),

the reaction still evaluated at every node. Even and odd functions keep modes of their own, so the products with Φ have
half the size. Its derivatives are those of these discrete equations. How far its observables are from the full route's
is measured with every data set: it is a model of a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from gnvpro.pde_data.problems.convection.imex.equations import DiscreteEquations
from gnvpro.pde_data.problems.convection.imex.march import march
from gnvpro.pde_data.problems.convection.imex.modes import Modes
from gnvpro.pde_data.problems.convection.imex.nodal_reaction import Block, NodalReaction
from gnvpro.pde_data.problems.convection.imex.propagator import Parity
from gnvpro.pde_data.problems.convection.imex.solver import ImexSolver
from gnvpro.pde_data.problems.convection.reactions import ReactionTable
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

_NO_WEIGHTS = np.zeros(0)


def reduced_solver(full: ImexSolver, y: Array, count: int) -> ImexSolver:
    """Solves blocks of samples in the coordinates of the modes; made from the full solver and its states.

    Parameters
    ----------
    full
        The solver whose equations are projected.
    y : (n, n_in)
        Parameters of the solutions that the modes are taken from.
    count
        Number of modes, of even and odd ones together.

    Raises
    ------
    ValueError
        A solution at `y` that fails, or more modes than these solutions have.
    """
    system, nodal = full.system, full.equations.reaction
    if not isinstance(nodal, NodalReaction):
        raise TypeError("expected the solver of the full route, got a reduced one")
    # One thread, so that every process makes the same bits.
    with threadpool_limits(limits=1):
        mass = full.to_nodes.T @ system.mass @ full.to_nodes
        modes = Modes(mass, nodal.parity.pairs, _states(full, y), count)
        to_nodes = full.to_nodes @ modes.matrix
        transport, load = sp.csr_array(to_nodes.T @ (system.transport @ to_nodes)), to_nodes.T @ system.load
        equations = DiscreteEquations.of(
            full.equations.observed,
            sp.csr_array(sp.eye_array(count)),
            transport,
            load,
            Parity.none(count),
            np.asarray(system.sensors @ to_nodes),
            ModalReaction(nodal, modes),
        )
    return ImexSolver(system, equations, to_nodes, full.width)


@dataclass(frozen=True)
class ModalReaction:
    """Of states in the coordinates of the modes: at the nodes, between two products with the modes."""

    nodal: NodalReaction
    modes: Modes

    @property
    def table(self) -> ReactionTable:
        """That at the nodes."""
        return self.nodal.table

    def advance(
        self, block: Block, stack: Array, state: int, reaction: int, weights: Array, out: Array, time: float
    ) -> None:
        """The history is combined in the coordinates of the modes."""
        nodal = self._scratch(block, block.rows)
        self.modes.expand(stack[state], nodal[0])
        self.nodal.advance(block, nodal, 0, 1, _NO_WEIGHTS, nodal[0, :, :0], time)
        self.modes.project(nodal[1], stack[reaction])
        np.dot(weights, stack.reshape(len(stack), -1), out=out.reshape(-1))

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
        """The transpose of `advance`."""
        bars += weights[:, None, None] * bar
        nodal = self._scratch(block, len(visited))
        at = block.scratch.setdefault("at", np.empty(nodal.shape[1:]))
        self.modes.expand(visited, at)
        nodal[0] = 0.0
        self.modes.project_transposed(bars[reaction], nodal[1])
        bars[reaction] = 0.0
        self.nodal.retreat(block, nodal, 0, 1, _NO_WEIGHTS, nodal[0, :, :0], at, gradient)
        passed = np.empty_like(visited)
        self.modes.expand_transposed(nodal[0], passed)
        bars[state] += passed

    def _scratch(self, block: Block, rows: int) -> Array:
        """A state and a reaction at the nodes, in parity coordinates."""
        if "nodal" not in block.scratch:
            block.scratch["nodal"] = np.empty((2, rows, len(self.modes.matrix)))
        return block.scratch["nodal"]


def _states(full: ImexSolver, y: Array) -> Array:
    """States at all reactions that are evaluated on the way, each of norm one: (evaluations · n, n_nodes)."""
    visited: list[Array] = []
    block = full.block(y)
    _, last = march(full.equations, block, visited)
    states = np.concatenate([*visited, last])
    if block.outside.any() or not np.isfinite(states).all():
        raise UsageError("a solution that the modes are to be taken from fails; widen the reaction table")
    sizes = np.linalg.norm(states, axis=1)
    return states[sizes > 0] / sizes[sizes > 0, None]
