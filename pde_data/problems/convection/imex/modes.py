"""Modes of a reduced model: an orthonormal basis of the states that the full route visits."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array


class Modes:
    """Φ in parity coordinates, where even and odd modes have entries in their own half only.

    Attributes
    ----------
    matrix : (n, count)
        Φ itself, with Φᵀ M Φ = 1.
    """

    def __init__(self, mass: sp.csr_array, pairs: int, states: Array, count: int) -> None:
        # M-orthonormal left singular vectors of the states S: with M = L Lᵀ, of Lᵀ S.
        n = states.shape[1]
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
            raise UsageError(f"expected at most {rank} modes, as many as the solutions have; got {count}")
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
