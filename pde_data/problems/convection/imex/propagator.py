"""Applying (c M + τ A)⁻¹ M to many samples at once: dense blocks for small systems, a sparse factor for large.

Samples are rows. Rows are in *parity coordinates* where transport commutes with the half-turn of the square
about its centre, as it does for the flow of this problem: node i and its mirror image i′ are replaced by
(u_i + u_i′)/2 and (u_i − u_i′)/2. Even and odd functions then do not mix, and two products with half the
matrix do the work of one: half the multiplications. Columns are [even | nodes without a partner | odd].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from gnvpro.pde_data.problems.convection.forms import SemiDiscrete
from gnvpro.surrogate.spaces import Array

# Above this many unknowns the dense products cost more than triangular solves with a sparse factor.
DENSE_LIMIT = 2500


class Propagator(Protocol):
    """Solves (c M + τ A) U = M W, rows being samples."""

    def apply(self, W: Array, out: Array) -> None:
        """Write (c M + τ A)⁻¹ M W into `out`: (rows, n) both."""
        ...

    def apply_transposed(self, W: Array, out: Array) -> None:
        """Write M (c M + τ A)⁻ᵀ W into `out`: (rows, n) both."""
        ...


@dataclass(frozen=True)
class Parity:
    """An ordering of the nodes in which the half-turn is explicit.

    Attributes
    ----------
    pairs
        Number of mirrored pairs; 0 where transport does not commute with the half-turn.
    order
        Node numbers: first partners, nodes without a partner, second partners.
    """

    pairs: int
    order: NDArray[np.intp]

    @classmethod
    def none(cls, n: int) -> Parity:
        """Nodes in their own order."""
        return cls(0, np.arange(n))

    @classmethod
    def of(cls, system: SemiDiscrete) -> Parity:
        """Find the mirrored pairs, and whether M and A commute with the half-turn to rounding.

        Not looked for in large systems: it would not make their sparse factor any smaller.
        """
        n = len(system.nodes)
        if n > DENSE_LIMIT:
            return cls.none(n)
        keys, mirrored = (np.lexsort(np.round(x, 9).T) for x in (system.nodes, 1 - system.nodes))
        partner = np.empty(n, dtype=np.intp)
        partner[keys] = mirrored
        if not np.allclose(system.nodes[partner], 1 - system.nodes, rtol=0, atol=1e-9):
            return cls.none(n)
        for matrix in (system.mass, system.transport):
            if abs(matrix[partner][:, partner] - matrix).max() > 1e-11 * abs(matrix).max():
                return cls.none(n)
        first = np.flatnonzero(np.arange(n) < partner)
        alone = np.flatnonzero(np.arange(n) == partner)
        return cls(len(first), np.concatenate([first, alone, partner[first]]))

    def to_nodes(self) -> sp.csr_array:
        """T (n, n), nodal values = T · parity coordinates."""
        n, m = len(self.order), self.pairs
        i, last = np.arange(m), np.arange(n - m, n)
        middle = np.arange(m, n - m)
        rows = np.concatenate([i, i, last, last, middle])
        columns = np.concatenate([i, last, i, last, middle])
        values = np.concatenate([np.ones(3 * m), -np.ones(m), np.ones(len(middle))])
        return sp.csr_array((values, (self.order[rows], columns)), shape=(n, n))


class BlockProduct:
    """Rows times a matrix that is zero outside some blocks, in the precision of the rows.

    `blocks`: columns of the argument, columns of the result, matrix between them.
    """

    def __init__(self, blocks: list[tuple[slice, slice, Array]]) -> None:
        self._blocks = {np.float64: blocks, np.float32: [(a, b, block.astype(np.float32)) for a, b, block in blocks]}

    def apply(self, W: Array, out: Array) -> None:
        """Write the product into `out`."""
        for source, to, block in self._blocks[W.dtype.type]:
            np.matmul(W[:, source], block, out=out[:, to])

    def apply_transposed(self, W: Array, out: Array) -> None:
        """Write the product with the transpose into `out`."""
        for source, to, block in self._blocks[W.dtype.type]:
            np.matmul(W[:, to], block.T, out=out[:, source])


def dense_propagator(mass: sp.csr_array, matrix: sp.csr_array, pairs: int) -> BlockProduct:
    """The inverse itself, one dense block for even and one for odd functions."""
    # mass, matrix: in parity coordinates, where they have no entries between the blocks but rounding.
    n = mass.indptr.size - 1
    even, odd = slice(0, n - pairs), slice(n - pairs, n)
    blocks = [
        (part, part, np.ascontiguousarray(la.solve(matrix[part, part].toarray(), mass[part, part].toarray()).T))
        for part in (even, odd)
        if part.stop > part.start
    ]
    return BlockProduct(blocks)


class SparsePropagator:
    """A sparse LU factor, all samples as right-hand sides."""

    def __init__(self, mass: sp.csr_array, matrix: sp.csr_array) -> None:
        self._mass = mass
        # The minimum-degree ordering of AᵀA would ignore that the sparsity is symmetric: three times the fill.
        self._factor = splu(
            sp.csc_matrix(matrix),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.01,
            options=dict(SymmetricMode=True),
        )

    def apply(self, W: Array, out: Array) -> None:
        """One solve with many right-hand sides."""
        out[:] = self._factor.solve(np.ascontiguousarray(self._mass @ W.T)).T

    def apply_transposed(self, W: Array, out: Array) -> None:
        """One solve with many right-hand sides."""
        out[:] = (self._mass.T @ self._factor.solve(np.ascontiguousarray(W.T), trans="T")).T


def propagator(mass: sp.csr_array, matrix: sp.csr_array, load: Array, parity: Parity) -> tuple[Propagator, Array]:
    """(matrix)⁻¹ mass, and (matrix)⁻¹ load."""
    shift = splu(sp.csc_matrix(matrix)).solve(load)
    if len(load) > DENSE_LIMIT:
        return SparsePropagator(mass, matrix), shift
    return dense_propagator(mass, matrix, parity.pairs), shift
