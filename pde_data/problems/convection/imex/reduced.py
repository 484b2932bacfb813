"""A reduced model of the production route: the same equations, Galerkin-projected on a few modes.

The modes are those of a proper orthogonal decomposition of states that the full route visits at parameters which are
in no data set. States are then coordinates a of U = Φ a, with Φᵀ M Φ = 1, and the equations are

    da/dt = −(Φᵀ A Φ) a + Φᵀ F + Φᵀ M r(Φ a),

the reaction still evaluated at every node. Even and odd functions keep modes of their own, so the products with Φ have
half the size. Its derivatives are those of these discrete equations. How far its observables are from the full route's
is measured with every data set: it is a model of a model.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from gnvpro.pde_data.problems.convection.imex.kernels import advance, retreat
from gnvpro.pde_data.problems.convection.imex.march import Block
from gnvpro.pde_data.problems.convection.imex.propagator import Parity
from gnvpro.pde_data.problems.convection.imex.scheme import A0
from gnvpro.pde_data.problems.convection.imex.solver import ImexSolver, propagator
from gnvpro.surrogate.spaces import Array

_NO_WEIGHTS = np.zeros(0)


class ReducedSolver(ImexSolver):
    """Solves blocks of samples in the coordinates of the modes; made from the full solver and its states.

    Parameters
    ----------
    full
        The solver whose equations are projected.
    y : (n, n_in)
        Parameters of the solutions that the modes are taken from.
    modes
        Their number, of even and odd ones together.

    Raises
    ------
    ValueError
        A solution at `y` that fails, or more modes than these solutions have.
    """

    def __init__(self, full: ImexSolver, y: Array, modes: int) -> None:
        # Everything that is not transport, in the coordinates of the modes, stays as it is.
        vars(self).update(vars(full))
        # One thread, so that every process makes the same bits.
        with threadpool_limits(limits=1):
            self._modes = _Modes(full, _states(full, y), modes)
            self._prepare_transport()

    def _prepare_transport(self) -> None:
        phi = self._modes.matrix
        to_modes = self._to_nodes @ phi
        A, load = sp.csr_array(to_modes.T @ (self.system.transport @ to_modes)), to_modes.T @ self.system.load
        one, tau, mixed = sp.csr_array(sp.eye_array(phi.shape[1])), self.tau, Parity(0, np.arange(phi.shape[1]))
        self.multistep, self.multistep_load = propagator(one, A0 * one + tau * A, tau * load, mixed)
        self.stage, self.stage_load = propagator(one, one + tau / 2 * A, tau / 2 * load, mixed)
        self.sensors = np.asarray(self.system.sensors @ to_modes)
        self._to_nodes = to_modes

    def advance(
        self, block: Block, stack: Array, state: int, reaction: int, weights: Array, out: Array, time: float
    ) -> None:
        """Reaction at the nodes between two products with the modes; the history is combined in their coordinates."""
        nodal = self._scratch(block, block.rows)
        self._modes.expand(stack[state], nodal[0])
        advance(
            nodal,
            0,
            1,
            _NO_WEIGHTS,
            nodal[0, :, :0],
            self._parity.pairs,
            block.table,
            block.table_tangent,
            self.table.lower,
            self.table.step,
            self._forcing(time),
            block.outside,
        )
        self._modes.project(nodal[1], stack[reaction])
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
        self._modes.expand(visited, at)
        nodal[0] = 0.0
        self._modes.project_transposed(bars[reaction], nodal[1])
        bars[reaction] = 0.0
        retreat(
            nodal,
            0,
            1,
            _NO_WEIGHTS,
            nodal[0, :, :0],
            at,
            self._parity.pairs,
            block.table,
            self.table.lower,
            self.table.step,
            gradient,
        )
        passed = np.empty_like(visited)
        self._modes.expand_transposed(nodal[0], passed)
        bars[state] += passed

    def _scratch(self, block: Block, rows: int) -> Array:
        """A state and a reaction at the nodes, in parity coordinates."""
        if "nodal" not in block.scratch:
            block.scratch["nodal"] = np.empty((2, rows, len(self.system.nodes)))
        return block.scratch["nodal"]


class _Modes:
    """Φ in parity coordinates, where even and odd modes have entries in their own half only."""

    def __init__(self, full: ImexSolver, states: Array, count: int) -> None:
        # M-orthonormal left singular vectors of the states S: with M = L Lᵀ, of Lᵀ S.
        n, pairs = len(full.system.nodes), full._parity.pairs
        mass = full._to_nodes.T @ full.system.mass @ full._to_nodes
        halves = [part for part in (slice(0, n - pairs), slice(n - pairs, n)) if part.stop > part.start]
        found = []
        for part in halves:
            lower = la.cholesky(mass[part, part].toarray(), lower=True)
            # There are far more states than nodes: they enter by the triangle of their QR factors, not squared.
            vectors, sizes, _ = la.svd(np.linalg.qr(states[:, part] @ lower, mode="r").T)
            found.append((la.solve_triangular(lower.T, vectors), sizes))
        # The largest of both halves together.
        ranked = np.sort(np.concatenate([sizes for _, sizes in found]))[::-1]
        rank = int((ranked > 1e-12 * ranked[0]).sum())
        if count > rank:
            raise ValueError(f"expected at most {rank} modes, as many as the solutions have; got {count}")
        self._expand, self._project, first = [], [], 0
        self.matrix = np.zeros((n, count))
        for part, (vectors, sizes) in zip(halves, found, strict=True):
            kept = vectors[:, : int((sizes >= ranked[count - 1]).sum())]
            columns = slice(first, first + kept.shape[1])
            self.matrix[part, columns], first = kept, columns.stop
            self._expand.append((columns, part, np.ascontiguousarray(kept.T)))
            self._project.append((part, columns, np.ascontiguousarray(mass[part, part] @ kept)))

    def expand(self, a: Array, out: Array) -> None:
        """Φ a: (rows, modes) to (rows, n)."""
        _multiply(a, self._expand, out)

    def project(self, r: Array, out: Array) -> None:
        """Φᵀ M r: (rows, n) to (rows, modes)."""
        _multiply(r, self._project, out)

    def expand_transposed(self, bar: Array, out: Array) -> None:
        """The transpose of `expand`."""
        _multiply(bar, [(to, source, block.T) for source, to, block in self._expand], out)

    def project_transposed(self, bar: Array, out: Array) -> None:
        """The transpose of `project`."""
        _multiply(bar, [(to, source, block.T) for source, to, block in self._project], out)


def _multiply(rows: Array, blocks: list[tuple[slice, slice, Array]], out: Array) -> None:
    for source, to, block in blocks:
        np.matmul(rows[:, source], block, out=out[:, to])


def _states(full: ImexSolver, y: Array) -> Array:
    """States at all reactions that are evaluated on the way, each of norm one: (evaluations · n, n_nodes)."""
    visited: list[Array] = []
    block = full.block(y)
    _, last = full.march(block, visited)
    states = np.concatenate([*visited, last])
    if block.outside.any() or not np.isfinite(states).all():
        raise ValueError("a solution that the modes are to be taken from fails; widen the reaction table")
    sizes = np.linalg.norm(states, axis=1)
    return states[sizes > 0] / sizes[sizes > 0, None]
