"""Fields by their modes: c ≈ a V', with V (n_out, r) orthonormal and the coefficients a (n, r) in place of 100,000 values.

The modes are found in passes over blocks of samples, which need not be in memory together, by a randomised range finder
(Halko, Martinsson & Tropp 2011; its adaptive form by Yu, Gu & Li 2018): every pass gives the exact error of the modes so far
and, from the same residuals, the next ones. As V is orthonormal, norms of coefficients are norms of fields, and everything
that is trained, measured or left out in coefficients is so in fields, up to the error of the modes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.error_measure import unit_groups
from gnvpro.surrogate.range_finder import (
    LOST,
    ONE_PROCESS,
    OneProcess,
    Range,
    add_combinations,
    directions_a_pass,
    numbered,
    parts,
    range_of,
)
from gnvpro.surrogate.spaces import Array, Axis, Space

# Root mean square over the samples of ||c - a V'|| over the size of the sample: so far below the error of any surrogate.
FIELD_ERROR = 1e-5
# Misfits that are worked on at a time: 32 MiB.
_NUMBERS = 1 << 22
# Standard deviations of what modes leave of a value, within which it is taken to be.
_DEVIATIONS = 3.0
# Of the error asked for: what the modes found may leave, before those that do not matter are left out.
_LEFT = 0.8

# Observables without a mesh that are fields all the same: as many of one unit, and more than there are samples.
FEWEST_VALUES = 10_000

type Blocks = Callable[[], Iterable[Array]]


def is_field(space: Space, n_samples: int) -> bool:
    """Whether samples are trained on by modes: values on a mesh, or very many of one unit."""
    if space.mesh is not None:
        return True
    return space.size >= max(FEWEST_VALUES, n_samples + 1) and unit_groups(space) is None


@dataclass(frozen=True, eq=False)
class Modes(ComparedByValue):
    """The modes of a field.

    Attributes
    ----------
    values : (r, n_out)
        Orthonormal rows: background and mean first, then by their share in the samples; in single precision where its
        rounding is below the error.
    space
        Of the field.
    error
        What they leave of the samples they are of: the root mean square of the relative errors.
    rest
        The root mean square of what they leave of a value, in the unit of the field.
    """

    values: NDArray[np.floating]
    space: Space
    error: float
    rest: float

    @classmethod
    def of(
        cls,
        blocks: Blocks,
        space: Space,
        error: float = FIELD_ERROR,
        background: Array | None = None,
        processes: OneProcess = ONE_PROCESS,
    ) -> tuple[Modes, Array]:
        """Modes of the samples of all processes, and the coefficients (n, r) of this one's, in their order.

        Parameters
        ----------
        blocks
            Gives the fields less the background, (m, n_out) at a time and the same at every call; one is in memory.
        error
            To be reached.
        background : (n_out,)
            Is exactly in the span of the modes, as the mean of the fields is.
        """
        mean, norms, square, n, sketch = _first_pass(blocks, space.size, processes)
        # Fields that differ little from their mean are wanted relative to how they differ, as far as rounding tells.
        sizes = np.minimum(norms, math.sqrt(max(square - float(mean @ mean), LOST * square)))
        weights = np.divide(1.0, sizes, out=np.zeros(len(sizes)), where=sizes > 0)
        columns = [*([] if background is None else [background]), mean if mean.any() else np.ones(space.size)]
        shifts = np.zeros(len(sizes), bool)

        def differences() -> Iterator[Array]:
            for at, block in numbered(blocks()):
                # Without the mean where that makes them smaller: differences of squares are taken of them.
                shifts[at] = 2 * block @ mean > mean @ mean
                yield (block - shifts[at, None] * mean) * weights[at, None]

        def is_enough(found: Range) -> bool:
            return found.left <= _LEFT * error * math.sqrt(n)

        kept = np.stack(columns, axis=1)
        found = range_of(differences, space.size, is_enough, kept, sketch, processes)
        n_kept = found.basis[0].shape[1]
        # Of the modes that were found, those that matter, the largest first.
        triangle = processes.triangle(found.coordinates[:, n_kept:])
        _, shares, right = np.linalg.svd(triangle, full_matrices=False)
        beyond = np.sqrt((np.append(np.cumsum(shares[::-1] ** 2)[::-1], 0.0) + found.left**2) / n)
        r = int(np.argmax(beyond <= max(error, beyond[-1])))
        turned = np.zeros((n_kept + right.shape[1], n_kept + r))
        turned[:n_kept, :n_kept], turned[n_kept:, n_kept:] = np.eye(n_kept), right[:r].T
        # A field that differs little from its mean or background has to be summed up more exactly than it differs.
        most = norms if background is None else norms + np.linalg.norm(background)
        (excess,) = processes.sum(np.array([((most * weights) ** 2).sum()]))
        rounding = float(np.finfo(np.float32).eps) / 2 * math.sqrt(excess / n)
        is_single = rounding <= error
        values = np.empty((n_kept + r, space.size), np.float32 if is_single else np.float64)
        for part in parts(space.size):
            values[:, part] = (np.concatenate([block[part] for block in found.basis], axis=1) @ turned).T
        coefficients, rest = found.coordinates * sizes[:, None], found.rest * sizes**2
        rest = rest + ((coefficients[:, n_kept:] @ right[r:].T) ** 2).sum(axis=1)
        (rest,) = processes.sum(np.array([rest.sum()]))
        of_mean = np.outer(shifts, np.concatenate([mean @ block for block in found.basis]))
        left = math.hypot(float(beyond[r]), rounding if is_single else 0.0)
        return cls(values, space, left, math.sqrt(rest / n / space.size)), (coefficients + of_mean) @ turned

    @property
    def coefficient_space(self) -> Space:
        """Of coefficients, which have the unit of the field; two axes, as they are one quantity and not several."""
        modes = Axis("mode", tuple(map(float, range(len(self.values)))))
        return Space((Axis("field", ("coefficients",)), modes), self.space.units)

    def coefficients(self, fields: Array) -> Array:
        """Of fields (n, n_out), (n, r)."""
        return sum((fields[:, part] @ self.values[:, part].T for part in parts(self.space.size)), np.zeros(()))

    def fields(self, coefficients: Array) -> Array:
        """Of coefficients (n, r), (n, n_out)."""
        return (coefficients.astype(self.values.dtype) @ self.values).astype(float)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: how many there are, and what they leave."""
        return {"number": len(self.values), "values": self.space.size, "error": self.error}


@dataclass(frozen=True, eq=False)
class Fields:
    """Misfits (n, n_out) of fields as coefficients (n, r) of modes: too many values to have them at once."""

    coefficients: Array
    modes: Modes

    def __len__(self) -> int:
        return len(self.coefficients)

    @property
    def beside(self) -> float:
        """What a value may be off besides, as it is in no mode."""
        return _DEVIATIONS * self.modes.rest


def sizes_by_block(values: Array | Fields) -> Iterator[tuple[slice, Array]]:
    """How large misfits (n, n_out) are, some columns at a time, and which these are."""
    if not isinstance(values, Fields):
        together = max(1, _NUMBERS // max(1, len(values)))
        for first in range(0, values.shape[1], together):
            part = slice(first, min(first + together, values.shape[1]))
            yield part, np.abs(values[:, part])
        return
    modes = values.modes.values
    for part in parts(values.modes.space.size):
        yield part, np.abs((modes[:, part].T @ values.coefficients.T.astype(modes.dtype)).T) + values.beside


def _first_pass(blocks: Blocks, n_out: int, processes: OneProcess) -> tuple[Array, Array, float, int, Array]:
    """Mean (n_out,) of the fields; norms (n,) of this process's; mean square and number of all; their random combinations."""
    total, norms, random = np.zeros(n_out), [], np.random.default_rng((0, processes.rank))
    sketch = np.zeros((n_out, directions_a_pass(n_out)))
    for rows in blocks():
        norms.append(np.linalg.norm(rows, axis=1))
        total += rows.sum(axis=0)
        combinations = random.standard_normal((len(rows), sketch.shape[1]))
        add_combinations(sketch, rows, combinations / np.where(norms[-1] > 0, norms[-1], 1.0)[:, None])
    sizes = np.concatenate(norms)
    n, square = processes.sum(np.array([float(len(sizes)), (sizes**2).sum()])).tolist()
    return processes.sum(total) / n, sizes, square / n, int(n), processes.sum(sketch)
