"""A reduced model of the fast solver: the same equations, Galerkin-projected on a few modes.

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
import scipy.linalg as la
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from gnvpro.pde_data.problems.convection.imex.equations import DiscreteEquations
from gnvpro.pde_data.problems.convection.imex.march import march
from gnvpro.pde_data.problems.convection.imex.nodal_reaction import Block, NodalReaction
from gnvpro.pde_data.problems.convection.imex.propagator import BlockProduct, Parity
from gnvpro.pde_data.problems.convection.imex.scheme import Slots
from gnvpro.pde_data.problems.convection.imex.solver import ImexSolver
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# At the nodes nothing is combined.
_SLOTS = Slots(0, 1, np.zeros(0))


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

    Raises UsageError: a solution at `y` that fails, or more modes than these solutions have.
    """
    system, nodal = full.system, full.equations.reaction
    # One thread, so that every process makes the same bits.
    with threadpool_limits(limits=1):
        mass = full.to_nodes.T @ system.mass @ full.to_nodes
        modes = Modes(mass, nodal.parity.pairs, _states(full, y), count)
        to_nodes = full.to_nodes @ modes.matrix
        transport, load = sp.csr_array(to_nodes.T @ (system.transport @ to_nodes)), to_nodes.T @ system.load
        equations = DiscreteEquations.of(
            full.equations.observed,
            full.equations.tau,
            sp.csr_array(sp.eye_array(count)),
            transport,
            load,
            Parity.none(count),
            np.asarray(system.sensors @ to_nodes),
            ModalReaction(nodal.table, nodal.parity, nodal.forcing, modes=modes),
        )
    return ImexSolver(system, equations, to_nodes, full.width)


class Modes:
    """Φ in parity coordinates, where even and odd modes have entries in their own half only.

    `matrix` (n, count): Φ itself, with Φᵀ M Φ = 1. `expand`, `project`: rows times Φᵀ and times M Φ.
    """

    def __init__(self, mass: sp.csr_array, pairs: int, states: Array, count: int) -> None:
        # M-orthonormal left singular vectors of the states S: with M = L Lᵀ, of Lᵀ S.
        n = states.shape[1]
        halves = [part for part in (slice(0, n - pairs), slice(n - pairs, n)) if part.stop > part.start]
        vectors_and_sizes = []
        for part in halves:
            lower = la.cholesky(mass[part, part].toarray(), lower=True)
            # There are far more states than nodes: they enter by the triangle of their QR factors, not squared.
            vectors, sizes, _ = la.svd(np.linalg.qr(states[:, part] @ lower, mode="r").T)
            vectors_and_sizes.append((la.solve_triangular(lower.T, vectors), sizes))
        # The largest of both halves together.
        ranked = np.sort(np.concatenate([sizes for _, sizes in vectors_and_sizes]))[::-1]
        rank = int((ranked > 1e-12 * ranked[0]).sum())
        if count > rank:
            raise UsageError(f"expected at most {rank} modes, as many as the solutions have; got {count}")
        expand, project, first = [], [], 0
        self.matrix = np.zeros((n, count))
        for part, (vectors, sizes) in zip(halves, vectors_and_sizes, strict=True):
            kept = vectors[:, : int((sizes >= ranked[count - 1]).sum())]
            columns = slice(first, first + kept.shape[1])
            self.matrix[part, columns], first = kept, columns.stop
            expand.append((columns, part, np.ascontiguousarray(kept.T)))
            project.append((part, columns, np.ascontiguousarray(mass[part, part] @ kept)))
        self.expand, self.project = BlockProduct(expand), BlockProduct(project)


@dataclass(frozen=True, kw_only=True)
class ModalReaction(NodalReaction):
    """Of states in the coordinates of the modes: at the nodes, between two products with the modes."""

    modes: Modes

    def advance(self, block: Block, stack: Array, slots: Slots, out: Array, time: float) -> None:
        """The stack is combined in the coordinates of the modes."""
        nodal = self._scratch(block, "samples", stack)
        self.modes.expand.apply(stack[slots.state], nodal[0])
        super().advance(block, nodal, _SLOTS, nodal[0, :, :0], time)
        self._combine(nodal, stack, slots, out)

    def advance_tangents(self, block: Block, states: Array, stack: Array, slots: Slots, out: Array) -> None:
        """Likewise; `advance` has left the states of the samples at the nodes."""
        nodal = self._scratch(block, "tangents", stack)
        self.modes.expand.apply(stack[slots.state], nodal[0])
        super().advance_tangents(block, block.scratch["samples"][0], nodal, _SLOTS, nodal[0, :, :0])
        self._combine(nodal, stack, slots, out)

    def retreat(self, block: Block, bars: Array, slots: Slots, bar: Array, visited: Array, gradient: Array) -> None:
        """The transpose of `advance`."""
        bars += slots.weights[:, None, None] * bar
        nodal = self._scratch(block, "samples", bars)
        at = block.scratch.setdefault("at", np.empty(nodal.shape[1:]))
        self.modes.expand.apply(visited, at)
        nodal[0] = 0.0
        self.modes.project.apply_transposed(bars[slots.reaction], nodal[1])
        bars[slots.reaction] = 0.0
        super().retreat(block, nodal, _SLOTS, nodal[0, :, :0], at, gradient)
        passed = np.empty_like(visited)
        self.modes.expand.apply_transposed(nodal[0], passed)
        bars[slots.state] += passed

    def _combine(self, nodal: Array, stack: Array, slots: Slots, out: Array) -> None:
        self.modes.project.apply(nodal[1], stack[slots.reaction])
        np.dot(slots.weights.astype(stack.dtype), stack.reshape(len(stack), -1), out=out.reshape(-1))

    def _scratch(self, block: Block, of: str, stack: Array) -> Array:
        """States and reactions at the nodes, in parity coordinates, for the rows of a stack."""
        if of not in block.scratch:
            block.scratch[of] = np.zeros((2, stack.shape[1], len(self.modes.matrix)), stack.dtype)
        return block.scratch[of]


def _states(full: ImexSolver, y: Array) -> Array:
    """States at all reactions that are evaluated on the way, each of norm one: (evaluations · n, n_nodes)."""
    visited: list[Array] = []
    block = full.block(y)
    last = march(full.equations, block, visited).state
    states = np.concatenate([*visited, last])
    if block.outside.any() or not np.isfinite(states).all():
        raise UsageError("a solution that the modes are to be taken from fails; widen the reaction table")
    sizes = np.linalg.norm(states, axis=1)
    return states[sizes > 0] / sizes[sizes > 0, None]
