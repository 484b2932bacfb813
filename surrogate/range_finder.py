"""The range of rows that are seen in passes, by random combinations of them.

Halko, Martinsson & Tropp 2011, in the adaptive form of Yu, Gu & Li 2018: every pass gives the exact error of the subspace so
far and, from the same rows, the next directions. In memory are one block of rows, the subspace and its coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

type Array = NDArray[np.float64]
# Rows (m, p), some at a time; called once a pass, with the same rows.
type Rows = Callable[[], Iterable[Array]]

# Directions found with a pass, less where they would have more numbers than the second: 256 MiB.
_DIRECTIONS_A_PASS, _MOST_NUMBERS = 96, 1 << 25
# Columns of the rows that are worked on at a time.
_COLUMNS = 8192
# Of the largest eigenvalue of a Gram matrix: what is below is rounding.
LOST = 1e-13


class OneProcess:
    """What couples the rows, as arrays: here, that this process has all. Others sum and factorise over several."""

    rank = 0

    def sum(self, values: Array) -> Array:
        """Over the processes, elementwise."""
        return values

    def triangle(self, rows: Array) -> Array:
        """R of the rows (n, p) of all processes."""
        return np.linalg.qr(rows, mode="r")


ONE_PROCESS = OneProcess()


class Range(NamedTuple):
    """A subspace as orthonormal columns (n_columns, r) in blocks, and the coordinates (n, r) of this process's rows in it.

    rest (n,) is the squared norm of what it leaves of each row, left the root of their sum over all processes: a difference
    of squares, so that nothing below 1e-8 of the size of all rows is told from rounding.
    """

    basis: list[Array]
    coordinates: Array
    rest: Array
    left: float


def range_of(
    rows: Rows,
    n_columns: int,
    is_enough: Callable[[Range], bool],
    first: Array | None = None,
    sketch: Array | None = None,
    processes: OneProcess = ONE_PROCESS,
) -> Range:
    """The first subspace that is enough, of larger and larger ones, one a pass; or one that holds all rows.

    `is_enough` gives the same in all processes. `first` (n_columns, q) are columns that the subspaces contain and `sketch`
    (n_columns, k) combinations of rows to begin with, where there are any; both are overwritten.
    """
    basis = [] if first is None else [orthonormal(first, [])]
    n_first, random = sum(block.shape[1] for block in basis), np.random.default_rng((1, processes.rank))
    if sketch is not None:
        basis.append(orthonormal(sketch, basis))
    for _ in count():
        width, coordinates, rest = sum(block.shape[1] for block in basis), [], []
        sketch = np.zeros((n_columns, max(directions_a_pass(n_columns), width // 2)))
        for block in rows():
            coordinates.append(np.concatenate([np.zeros((len(block), 0)), *(block @ part for part in basis)], axis=1))
            rest.append((block**2).sum(axis=1) - (coordinates[-1] ** 2).sum(axis=1))
            add_combinations(sketch, block, random.standard_normal((len(block), sketch.shape[1])))
        squares = np.maximum(np.concatenate(rest), 0.0)
        left, n = processes.sum(np.array([squares.sum(), float(len(squares))])).tolist()
        found = Range(basis, np.concatenate(coordinates), squares, math.sqrt(left))
        if is_enough(found) or width - n_first >= min(n, n_columns - n_first):
            return found
        basis.append(orthonormal(processes.sum(sketch), basis))
    raise AssertionError


def add_combinations(sketch: Array, rows: Array, factors: Array) -> None:
    """Add the combinations of rows (m, n_columns) with these factors (m, k) to a sketch (n_columns, k)."""
    for part in parts(len(sketch)):
        sketch[part] += rows[:, part].T @ factors


def directions_a_pass(n_columns: int) -> int:
    """Columns of a sketch, of rows of so many."""
    return min(_DIRECTIONS_A_PASS, max(1, _MOST_NUMBERS // n_columns))


def numbered(blocks: Iterable[Array]) -> Iterator[tuple[slice, Array]]:
    """Blocks of rows, and which rows these are."""
    first = 0
    for rows in blocks:
        yield slice(first, first + len(rows)), rows
        first += len(rows)


def parts(size: int) -> list[slice]:
    """So many columns, some at a time."""
    return [slice(first, min(first + _COLUMNS, size)) for first in range(0, size, _COLUMNS)]


def orthonormal(sketch: Array, basis: Sequence[Array]) -> Array:
    """What is new in a sketch (p, k) beside a basis in blocks, as orthonormal columns; the sketch is overwritten.

    By Gram matrices, twice, as QR would need copies of the whole. What rounding hides of a direction comes again with the
    next pass.
    """
    pieces = parts(len(sketch))
    for _ in range(2):
        for block in basis:
            shared = sum((block[part].T @ sketch[part] for part in pieces), np.zeros(()))
            for part in pieces:
                sketch[part] -= block[part] @ shared
        gram = sum((sketch[part].T @ sketch[part] for part in pieces), np.zeros(()))
        squares, directions = np.linalg.eigh(gram)
        kept = squares > max(LOST * squares.max(initial=0.0), np.finfo(float).tiny)
        scaled = directions[:, kept] / np.sqrt(squares[kept])
        for part in pieces:
            sketch[part, : scaled.shape[1]] = sketch[part] @ scaled
        sketch = sketch[:, : scaled.shape[1]]
    return sketch
