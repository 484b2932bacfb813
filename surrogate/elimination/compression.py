"""Targets in fewer coordinates: rotated onto their right singular vectors, without those of small singular values.

The left singular vectors, as large as the targets, are never made. Of few columns the triangular factor R of the rows has the
singular values and right vectors of all of them, to rounding; it is factored anew with every block of rows, and with those of
other processes. Of few rows it is the R of the columns that has the values and left vectors. (Gram matrices would resolve
values down to 1e-8 alone.) Where both are many, the rows are seen in passes (`gnvpro.surrogate.range_finder`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, override

import numpy as np
import torch
from torch import Tensor

from gnvpro.surrogate.coupling import ALONE, Coupling
from gnvpro.surrogate.elimination.losses import random_signs
from gnvpro.surrogate.range_finder import Array, OneProcess, Range, parts, range_of

# Rows (m, p), some at a time; called once a pass, with the same rows.
type Rows = Callable[[], Iterable[Tensor]]

# Up to this size R is made, 32 MiB; numbers that are worked on at a time otherwise.
_MOST, _NUMBERS = 2048, 1 << 17
# What singular values below this fraction of the largest are.
_ROUNDING = 1e-15
# Of the fraction, times the largest singular value: what passes may leave; and of the size of all rows, which they resolve.
_LEFT, _RESOLVED = 0.1, 3e-8


class Compressed(NamedTuple):
    """Targets (n, k) in the coordinates of a rotation (k, m) with orthonormal rows, and the norm (n,) of what each lost."""

    rotation: Tensor
    targets: Tensor
    dropped: Tensor


def compressed(targets: Tensor, row_weights: Tensor, fraction: float, coupling: Coupling = ALONE) -> Compressed:
    """Targets (n, m) in the coordinates in which they matter.

    `row_weights` (n,) are those by which rows matter, `fraction` that of the largest singular value below which directions
    are dropped. The rotation has the same bits in all processes.
    """
    rotation = _rotation(targets, row_weights, fraction, coupling)
    kept = targets @ rotation.t()
    lost = [torch.linalg.vector_norm(targets[part] - kept[part] @ rotation, dim=1) for part in _blocks(*targets.shape)]
    return Compressed(rotation, kept, torch.cat(lost))


def rotation_of_arrays(targets: Array, row_weights: Array, fraction: float) -> Array:
    """The rotation (k, m) of targets (n, m) with weights (n,): the most important direction first."""
    return _rotation(torch.from_numpy(targets), torch.from_numpy(row_weights), fraction, ALONE).numpy()


def _rotation(targets: Tensor, row_weights: Tensor, fraction: float, coupling: Coupling) -> Tensor:
    n, m = targets.shape

    def rows() -> Iterator[Tensor]:
        for part in _blocks(n, m, 2 * min(n, m, _MOST)):  # a factorisation again and again adds little to it
            yield targets[part] * row_weights[part].unsqueeze(1)

    if coupling.size == 1 and n < m and n <= _MOST:
        return _of_few_rows(targets, row_weights, fraction)
    return rotation_of(rows, fraction, coupling)


def rotation_of(rows: Rows, fraction: float, coupling: Coupling = ALONE) -> Tensor:
    """The rotation (k, m) of weighted rows (., m) that are seen some at a time: once for few columns, else in passes.

    In memory are a block of rows and R, or k directions and the coordinates of all rows in them.
    """
    stacked = None
    for block in rows():
        if block.shape[1] > _MOST:
            return _of_passes(rows, block, fraction, coupling)
        stacked = block if stacked is None else torch.cat([torch.linalg.qr(stacked, mode="r").R, block])
    assert stacked is not None
    _, singular, right = torch.linalg.svd(coupling.triangle(stacked), full_matrices=False)
    return _signed(right[: _rank(singular, fraction)])


def _of_few_rows(targets: Tensor, row_weights: Tensor, fraction: float) -> Tensor:
    """From X' = Q R by blocks of columns: with R' = U S V', the rotation is S^-1 U' X."""
    n, m = targets.shape
    weights, triangle, pieces = row_weights.unsqueeze(1), targets.new_zeros(0, n), _blocks(m, n, 2 * n)
    for part in pieces:
        triangle = torch.linalg.qr(torch.cat([triangle, (targets[:, part] * weights).t()]), mode="r").R
    left, singular, _ = torch.linalg.svd(triangle.t(), full_matrices=False)
    k = _rank(singular, fraction)
    factors = (left[:, :k] / singular[:k].clamp(min=torch.finfo(left.dtype).tiny) * weights).t()
    rotation = targets.new_empty(k, m)
    for part in pieces:
        torch.mm(factors, targets[:, part], out=rotation[:, part])
    # A row is orthogonal to those before it up to the rounding of the largest; by Cholesky, twice, it is to its own.
    for _ in range(2):
        gram = sum((rotation[:, part] @ rotation[:, part].t() for part in pieces), rotation.new_zeros(()))
        lower, failed = torch.linalg.cholesky_ex(gram)
        if int(failed):  # of directions that are rounding throughout, such as those of zeros
            return _signed(torch.linalg.qr(rotation.t()).Q.t().contiguous())
        for part in pieces:
            rotation[:, part] = torch.linalg.solve_triangular(lower, rotation[:, part], upper=False)
    return _signed(rotation)


def _of_passes(rows: Rows, like: Tensor, fraction: float, coupling: Coupling) -> Tensor:
    """From a subspace that leaves a tenth of what may be dropped; on the host."""
    processes, n_columns = Processes(coupling), like.shape[1]

    def is_enough(found: Range) -> bool:
        if not found.coordinates.shape[1]:  # of zeros, or before the first direction
            return not found.left
        singular = np.linalg.svd(processes.triangle(found.coordinates), compute_uv=False)
        return found.left <= max(_LEFT * fraction * singular[0], _RESOLVED * float(np.linalg.norm(singular)))

    found = range_of(lambda: (block.numpy(force=True) for block in rows()), n_columns, is_enough, processes=processes)
    if not found.coordinates.shape[1]:
        return torch.eye(1, n_columns).to(like)
    _, singular, right = np.linalg.svd(processes.triangle(found.coordinates), full_matrices=False)
    turned = right[: _rank(torch.from_numpy(singular), fraction)]
    rotation = np.empty((len(turned), n_columns))
    for part in parts(n_columns):
        rotation[:, part] = turned @ np.concatenate([block[part] for block in found.basis], axis=1).T
    return _signed(torch.from_numpy(rotation).to(like))


class Processes(OneProcess):
    """The processes of a coupling, for arrays."""

    def __init__(self, coupling: Coupling) -> None:
        self._coupling, self.rank = coupling, coupling.rank

    @override
    def sum(self, values: Array) -> Array:
        return self._coupling.sum(torch.from_numpy(values)).numpy()

    @override
    def triangle(self, rows: Array) -> Array:
        return self._coupling.triangle(torch.from_numpy(rows)).numpy()


def _rank(singular: Tensor, fraction: float) -> int:
    return max(1, int((singular > max(fraction, _ROUNDING) * singular[0]).sum()))


def _signed(rotation: Tensor) -> Tensor:
    """Each row or its negative, by the sign of a sum that is hardly ever near zero: none is left to rounding. In place."""
    along = rotation @ random_signs(rotation[:1], 0)[0]
    return rotation.mul_(torch.where(along < 0, -1.0, 1.0).unsqueeze(1))


def _blocks(n: int, m: int, least: int = 1) -> list[slice]:
    """n rows of m numbers, some at a time and so many at least; one empty block of none."""
    together = max(1, least, _NUMBERS // max(m, 1))
    return [slice(first, first + together) for first in range(0, max(n, 1), together)]
