"""The last layer of many samples, solved for while no more than one chunk of their features is in memory.

The triangular factor R of [A B] is all that the solution needs: it is factored again with the rows of every new chunk, and
over processes (TSQR; Demmel, Grigori, Hoemmen & Langou 2012). Orthogonal throughout, so as accurate as a factorisation of all
rows at once; A'A, which would be cheaper, has the square of its condition number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.elimination.least_squares import factorised


class StreamedSolution(NamedTuple):
    """The last layer of rows that are not in memory.

    Attributes
    ----------
    outer : (p, k)
        W.
    value
        1/2 ||A W - B||² + alpha_w/2 ||W||² there, a scalar tensor.
    inverse : (p, r)
        T, with which A T are the data rows of an orthonormal basis, and T T' = (A'A + alpha_w I)^+.
    """

    outer: Tensor
    value: Tensor
    inverse: Tensor


def solve_streamed(
    chunks: Iterable[tuple[Tensor, Tensor]], alpha_w: float, coupling: Coupling = ALONE
) -> StreamedSolution:
    """The W that minimises 1/2 ||A W - B||² + alpha_w/2 ||W||², of minimum norm where columns are dependent.

    `chunks` are rows of A (m, p) and B (m, k), weighted; there is at least one, and they may differ in size.
    """
    triangle, n_columns = None, 0
    for columns, targets in chunks:
        n_columns, rows = columns.shape[1], torch.cat([columns, targets], 1)
        triangle = torch.linalg.qr(rows if triangle is None else torch.cat([triangle, rows]), mode="r").R
    assert triangle is not None
    if coupling.size > 1:
        triangle = coupling.triangle(triangle)
    # Fewer rows than columns give a wide R, whose last rows are those of B alone where there are enough.
    top, rest = triangle[:n_columns], triangle[n_columns:, n_columns:]
    ridge = math.sqrt(alpha_w) * torch.eye(n_columns).to(triangle)
    columns, targets = torch.cat([top[:, :n_columns], ridge]), top[:, n_columns:]
    _, outer, inverse = factorised(columns, targets)
    misfit = torch.linalg.vector_norm(columns[: len(top)] @ outer - targets) ** 2
    misfit = misfit + torch.linalg.vector_norm(rest) ** 2 + alpha_w * torch.linalg.vector_norm(outer) ** 2
    return StreamedSolution(outer, 0.5 * misfit, inverse)
