"""The Matérn covariance, and its product with vectors of values at many points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.fft import irfftn, rfftn
from scipy.fft import next_fast_len
from scipy.special import gamma, kv

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# Beyond it the formula overflows, and hardly differs from that of infinity.
_LARGEST = 100


@dataclass(frozen=True)
class Matern:
    """Correlation 2^(1−ν)/Γ(ν) (√(2ν) r)^ν K_ν(√(2ν) r), r the distance in correlation lengths; exp(−r²/2) for ν = ∞.

    ν = 1/2 is exp(−r). A field is as often differentiable (in mean square) as there are integers below ν.
    """

    smoothness: float

    def __post_init__(self) -> None:
        if _LARGEST < self.smoothness < np.inf:
            raise UsageError(f"expected a smoothness of at most {_LARGEST}, or infinity, got {self.smoothness}")

    def __call__(self, distance: Array) -> Array:
        """Correlation at distances in units of the correlation length."""
        if np.isinf(self.smoothness):
            return np.exp(-(distance**2) / 2)
        nu = self.smoothness
        scaled = np.sqrt(2 * nu) * distance
        with np.errstate(invalid="ignore"):
            values = 2 ** (1 - nu) / gamma(nu) * scaled**nu * kv(nu, scaled)
        return np.where(np.isnan(values), np.where(distance < 1, 1.0, 0.0), values)  # zero times infinity, near and far


class StationaryProduct:
    """The matrix C_ij = c(x_i − x_j) of points, times vectors, in O(n + N log N).

    The points are joined to a regular grid by linear interpolation, C ≈ P T Pᵀ, and T is applied by the Fourier transform.
    The result is symmetric and, as C, has no negative eigenvalue but for rounding.

    Parameters
    ----------
    points : (n, d)
        In units of the correlation length.
    correlation
        A function of the distance.
    spacing
        Of the grid, in the same units.
    """

    def __init__(self, points: Array, correlation: Any, spacing: float) -> None:
        lowest, extent = points.min(0), np.ptp(points, axis=0)
        cells = np.maximum(np.ceil(extent / spacing).astype(int), 1)
        steps = extent / cells
        self._shape = tuple(int(n) + 1 for n in cells)
        self._join = _interpolation((points - lowest) / np.where(steps > 0, steps, 1.0), self._shape)
        # Even and periodic: from -N to N along every axis, in an order and a length that suit the transform.
        self._padded = tuple(next_fast_len(2 * size, True) or 2 * size for size in self._shape)
        offsets = [
            step * np.minimum(np.arange(size), size - np.arange(size))
            for step, size in zip(steps, self._padded, strict=True)
        ]
        distance = np.sqrt(sum(np.square(part) for part in np.meshgrid(*offsets, indexing="ij", sparse=True)))
        self._spectrum = rfftn(correlation(distance)).real

    def __call__(self, vector: Array) -> Array:
        """C times a vector (n,)."""
        grid = (self._join.T @ vector).reshape(self._shape)
        axes = tuple(range(grid.ndim))
        spread = irfftn(self._spectrum * rfftn(grid, self._padded, axes), self._padded, axes)
        return self._join @ spread[tuple(slice(size) for size in self._shape)].ravel()


def _interpolation(positions: Array, shape: tuple[int, ...]) -> sp.csr_array:
    """Matrix (n, N) from values on a grid to linearly interpolated ones at positions (n, d) in steps of the grid."""
    n, dimension = positions.shape
    corner = np.clip(np.floor(positions).astype(int), 0, np.array(shape) - 2)
    part = positions - corner
    columns, entries = [], []
    for shift in np.ndindex((2,) * dimension):
        columns.append(np.ravel_multi_index(tuple((corner + shift).T), shape))
        entries.append(np.prod(np.where(shift, part, 1 - part), axis=1))
    rows = np.tile(np.arange(n), 2**dimension)
    return sp.csr_array((np.concatenate(entries), (rows, np.concatenate(columns))), shape=(n, int(np.prod(shape))))
