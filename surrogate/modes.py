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
from gnvpro.surrogate.spaces import Array, Axis, Space

# Root mean square over the samples of ||c - a V'|| over the size of the sample: so far below the error of any surrogate.
FIELD_ERROR = 1e-6
# Modes found with one pass; a smooth problem needs no more.
_MODES_A_PASS = 64
# Values of a field that are worked on at a time.
_COLUMNS = 8192
# Of the largest eigenvalue of a Gram matrix: what is below is rounding.
_LOST = 1e-13

type Blocks = Callable[[], Iterable[Array]]


@dataclass(frozen=True, eq=False)
class Modes(ComparedByValue):
    """The modes of a field.

    Attributes
    ----------
    basis : (n_out, r)
        Orthonormal columns, by their share in the samples; in single precision where its rounding is below the error.
    space
        Of the field.
    error
        What they leave of the samples they are of: the root mean square of the relative errors.
    """

    basis: NDArray[np.floating]
    space: Space
    error: float

    @classmethod
    def of(cls, blocks: Blocks, space: Space, error: float = FIELD_ERROR, background: Array | None = None) -> Modes:
        """Of fields less the background, in blocks (m, n_out) that are the same at every call; only one is in memory.

        Parameters
        ----------
        error
            To be reached.
        background : (n_out,)
            Is exactly in the span, as the first mode.
        """
        kept = np.zeros((space.size, 0))
        if background is not None and background.any():
            kept = (background / np.linalg.norm(background))[:, None]
        basis, n_kept = kept, kept.shape[1]
        random, spread = np.random.default_rng(0), math.inf
        while True:
            sketch = np.zeros((space.size, max(_MODES_A_PASS, basis.shape[1])))
            coefficients, squares, ratios = [], 0.0, 0.0
            total, sum_of_squares = np.zeros(space.size), 0.0
            for block in blocks():
                rows = np.array(block, dtype=float)
                norms = np.linalg.norm(rows, axis=1)
                if math.isinf(spread):
                    total, sum_of_squares = total + rows.sum(axis=0), sum_of_squares + float(norms @ norms)
                sizes = np.minimum(norms, spread)
                weights = np.divide(1.0, sizes, out=np.zeros_like(sizes), where=sizes > 0)
                found = rows @ basis
                rows -= found @ basis.T
                squares += float(((np.linalg.norm(rows, axis=1) * weights) ** 2).sum())
                ratios += float(((norms * weights) ** 2).sum())
                coefficients.append(found[:, n_kept:] * weights[:, None])
                combinations = weights[:, None] * random.standard_normal((len(rows), sketch.shape[1]))
                for part in _parts(space.size):
                    sketch[part] += rows[:, part].T @ combinations
            weighted = np.concatenate(coefficients)
            n = len(weighted)
            if math.isinf(spread):
                # Fields that differ little from their mean are wanted relative to how they differ.
                spread = math.sqrt(max(sum_of_squares / n - float(total @ total) / n**2, 0.0)) or math.inf
            left = math.sqrt(squares / n)
            if left <= error / 2 or basis.shape[1] - n_kept >= min(n, space.size - n_kept):
                break
            basis = _extended(basis, sketch)
        # Of the modes that were found, those that matter, the largest first.
        _, sizes, right = np.linalg.svd(weighted, full_matrices=False)
        beyond = np.sqrt(np.append(np.cumsum(sizes[::-1] ** 2)[::-1], 0.0) / n + left**2)
        r = max(int(np.argmax(beyond <= max(error, beyond[-1]))), 1 - n_kept)
        turned = np.zeros((basis.shape[1], n_kept + r))
        turned[:n_kept, :n_kept], turned[n_kept:, n_kept:] = np.eye(n_kept), right[:r].T
        # A field that differs little from its mean has to be summed up more exactly than it differs.
        rounding = float(np.finfo(np.float32).eps) / 2 * math.sqrt(ratios / n)
        is_single = rounding <= error
        result = np.empty((space.size, turned.shape[1]), np.float32 if is_single else np.float64)
        for part in _parts(space.size):
            result[part] = basis[part] @ turned
        return cls(result, space, math.hypot(float(beyond[r]), rounding if is_single else 0.0))

    @property
    def coefficient_space(self) -> Space:
        """Of coefficients, which have the unit of the field; two axes, as they are one quantity and not several."""
        modes = Axis("mode", tuple(map(float, range(self.basis.shape[1]))))
        return Space((Axis("field", ("coefficients",)), modes), self.space.units)

    def coefficients(self, fields: Array) -> Array:
        """Of fields (n, n_out), (n, r)."""
        return sum((fields[:, part] @ self.basis[part] for part in _parts(self.space.size)), np.zeros(()))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: how many there are, and what they leave."""
        return {"number": self.basis.shape[1], "values": self.space.size, "error": self.error}


@dataclass(frozen=True, eq=False)
class Fields:
    """Fields (n, n_out) as coefficients (n, r) of modes: too many values to have them at once."""

    coefficients: Array
    modes: Modes

    def __len__(self) -> int:
        return len(self.coefficients)

    @property
    def n_out(self) -> int:
        """Values of a field."""
        return self.modes.space.size


def column_blocks(values: Array | Fields) -> Iterator[tuple[slice, Array]]:
    """Values (n, n_out) some columns at a time, and which these are; an array all at once."""
    if not isinstance(values, Fields):
        yield slice(0, values.shape[1]), values
        return
    for part in _parts(values.n_out):
        yield part, values.coefficients @ values.modes.basis[part].T.astype(float)


def _parts(size: int) -> list[slice]:
    return [slice(first, min(first + _COLUMNS, size)) for first in range(0, size, _COLUMNS)]


def _extended(basis: Array, sketch: Array) -> Array:
    """The basis with what is new in a sketch (n_out, k), orthonormal; the sketch is overwritten.

    By Gram matrices, twice, as QR would need copies of the whole. What rounding hides of a direction comes again with the
    residuals of the next pass.
    """
    parts = _parts(len(sketch))
    for _ in range(2):
        shared = sum((basis[part].T @ sketch[part] for part in parts), np.zeros(()))
        for part in parts:
            sketch[part] -= basis[part] @ shared
        gram = sum((sketch[part].T @ sketch[part] for part in parts), np.zeros(()))
        squares, directions = np.linalg.eigh(gram)
        kept = squares > _LOST * squares[-1]
        scaled = directions[:, kept] / np.sqrt(squares[kept])
        for part in parts:
            sketch[part, : scaled.shape[1]] = sketch[part] @ scaled
        sketch = sketch[:, : scaled.shape[1]]
    return sketch if not basis.shape[1] else np.concatenate([basis, sketch], axis=1)
