"""Fields by their modes: c ≈ a V', with V (n_out, r) orthonormal and the coefficients a (n, r) in place of 100,000 values.

The modes are found in passes over blocks of samples, which need not be in memory together, by a randomised range finder
(Halko, Martinsson & Tropp 2011; its adaptive form by Yu, Gu & Li 2018): every pass gives the exact error of the modes so far
and, from the same residuals, the next ones. As V is orthonormal, norms of coefficients are norms of fields, and everything
that is trained, measured or left out in coefficients is so in fields, up to the error of the modes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.error_measure import unit_groups
from gnvpro.surrogate.spaces import Array, Axis, Space

# Root mean square over the samples of ||c - a V'|| over the size of the sample: so far below the error of any surrogate.
FIELD_ERROR = 1e-5
# Modes found with a pass, less where they would have more numbers than the second: 256 MiB.
_MODES_A_PASS, _MOST_NUMBERS = 96, 1 << 25
# Values of a field that are worked on at a time.
_COLUMNS = 8192
# Of the largest eigenvalue of a Gram matrix: what is below is rounding.
_LOST = 1e-13
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
        cls, blocks: Blocks, space: Space, error: float = FIELD_ERROR, background: Array | None = None
    ) -> tuple[Modes, Array]:
        """Modes, and the coefficients (n, r) of all samples in their order.

        Parameters
        ----------
        blocks
            Gives the fields less the background, (m, n_out) at a time and the same at every call; one is in memory.
        error
            To be reached.
        background : (n_out,)
            Is exactly in the span of the modes, as the mean of the fields is.
        """
        mean, norms, sketch = _first_pass(blocks, space.size)
        n = len(norms)
        square = float((norms**2).mean())
        # Fields that differ little from their mean are wanted relative to how they differ, as far as rounding tells.
        sizes = np.minimum(norms, math.sqrt(max(square - float(mean @ mean), _LOST * square)))
        weights = np.divide(1.0, sizes, out=np.zeros(n), where=sizes > 0)
        columns = [*([] if background is None else [background]), mean if mean.any() else np.ones(space.size)]
        kept = _orthonormal(np.stack(columns, axis=1), [])
        basis, n_kept, random = [kept], kept.shape[1], np.random.default_rng(1)
        while True:
            basis.append(_orthonormal(sketch, basis))
            width, found, squares, shifts = sum(block.shape[1] for block in basis), [], [], []
            sketch = np.zeros((space.size, max(_modes_a_pass(space.size), width // 2)))
            for at, block in _numbered(blocks):
                # Without the mean where that makes them smaller: differences of squares are taken of them.
                shifts.append(2 * block @ mean > mean @ mean)
                rows = block - shifts[-1][:, None] * mean
                found.append(np.concatenate([rows @ block for block in basis], axis=1))
                squares.append((rows**2).sum(axis=1) - (found[-1] ** 2).sum(axis=1))
                combinations = random.standard_normal((len(rows), sketch.shape[1])) * weights[at, None]
                for part in _parts(space.size):
                    sketch[part] += rows[:, part].T @ combinations
            rest = np.maximum(np.concatenate(squares), 0.0)
            left = math.sqrt(float(rest @ weights**2) / n)
            if left <= _LEFT * error or width - n_kept >= min(n, space.size - n_kept):
                break
        coefficients = np.concatenate(found)
        of_mean = np.outer(np.concatenate(shifts), np.concatenate([mean @ block for block in basis]))
        # Of the modes that were found, those that matter, the largest first.
        _, shares, right = np.linalg.svd(coefficients[:, n_kept:] * weights[:, None], full_matrices=False)
        beyond = np.sqrt(np.append(np.cumsum(shares[::-1] ** 2)[::-1], 0.0) / n + left**2)
        r = int(np.argmax(beyond <= max(error, beyond[-1])))
        turned = np.zeros((width, n_kept + r))
        turned[:n_kept, :n_kept], turned[n_kept:, n_kept:] = np.eye(n_kept), right[:r].T
        # A field that differs little from its mean or background has to be summed up more exactly than it differs.
        most = norms if background is None else norms + np.linalg.norm(background)
        rounding = float(np.finfo(np.float32).eps) / 2 * math.sqrt(float(((most * weights) ** 2).mean()))
        is_single = rounding <= error
        values = np.empty((n_kept + r, space.size), np.float32 if is_single else np.float64)
        for part in _parts(space.size):
            values[:, part] = (np.concatenate([block[part] for block in basis], axis=1) @ turned).T
        rest = rest + ((coefficients[:, n_kept:] @ right[r:].T) ** 2).sum(axis=1)
        of_value = math.sqrt(float(rest.mean()) / space.size)
        modes = cls(values, space, math.hypot(float(beyond[r]), rounding if is_single else 0.0), of_value)
        return modes, (coefficients + of_mean) @ turned

    @property
    def coefficient_space(self) -> Space:
        """Of coefficients, which have the unit of the field; two axes, as they are one quantity and not several."""
        modes = Axis("mode", tuple(map(float, range(len(self.values)))))
        return Space((Axis("field", ("coefficients",)), modes), self.space.units)

    def coefficients(self, fields: Array) -> Array:
        """Of fields (n, n_out), (n, r)."""
        return sum((fields[:, part] @ self.values[:, part].T for part in _parts(self.space.size)), np.zeros(()))

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
    """How large misfits (n, n_out) are, some columns at a time, and which these are; an array's all at once."""
    if not isinstance(values, Fields):
        yield slice(0, values.shape[1]), np.abs(values)
        return
    modes = values.modes.values
    for part in _parts(values.modes.space.size):
        yield part, np.abs((modes[:, part].T @ values.coefficients.T.astype(modes.dtype)).T) + values.beside


def _first_pass(blocks: Blocks, n_out: int) -> tuple[Array, Array, Array]:
    """Mean (n_out,) of the fields, their norms (n,), and random combinations (n_out, k) of them, each over its norm."""
    total, norms, random = np.zeros(n_out), [], np.random.default_rng(0)
    sketch = np.zeros((n_out, _modes_a_pass(n_out)))
    for rows in blocks():
        norms.append(np.linalg.norm(rows, axis=1))
        total += rows.sum(axis=0)
        combinations = random.standard_normal((len(rows), sketch.shape[1]))
        combinations /= np.where(norms[-1] > 0, norms[-1], 1.0)[:, None]
        for part in _parts(n_out):
            sketch[part] += rows[:, part].T @ combinations
    return total / sum(map(len, norms)), np.concatenate(norms), sketch


def _modes_a_pass(n_out: int) -> int:
    return min(_MODES_A_PASS, max(1, _MOST_NUMBERS // n_out))


def _numbered(blocks: Blocks) -> Iterator[tuple[slice, Array]]:
    """Blocks of samples, and which samples these are."""
    first = 0
    for rows in blocks():
        yield slice(first, first + len(rows)), rows
        first += len(rows)


def _parts(size: int) -> list[slice]:
    return [slice(first, min(first + _COLUMNS, size)) for first in range(0, size, _COLUMNS)]


def _orthonormal(sketch: Array, basis: Sequence[Array]) -> Array:
    """What is new in a sketch (n_out, k) beside a basis in blocks, as orthonormal columns; the sketch is overwritten.

    By Gram matrices, twice, as QR would need copies of the whole. What rounding hides of a direction comes again with the
    next pass.
    """
    parts = _parts(len(sketch))
    for _ in range(2):
        for block in basis:
            shared = sum((block[part].T @ sketch[part] for part in parts), np.zeros(()))
            for part in parts:
                sketch[part] -= block[part] @ shared
        gram = sum((sketch[part].T @ sketch[part] for part in parts), np.zeros(()))
        squares, directions = np.linalg.eigh(gram)
        kept = squares > max(_LOST * squares.max(initial=0.0), np.finfo(float).tiny)
        scaled = directions[:, kept] / np.sqrt(squares[kept])
        for part in parts:
            sketch[part, : scaled.shape[1]] = sketch[part] @ scaled
        sketch = sketch[:, : scaled.shape[1]]
    return sketch
