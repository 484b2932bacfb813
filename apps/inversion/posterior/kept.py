"""Observables of a model wherever it was solved: draws, which were all solved once, need no second solve."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from gnvpro.surrogate.spaces import Array

# Beyond, nothing is kept: fields on large meshes.
_MOST_BYTES = 2**28
# Points nearer than this, in ranges of the parameters, are the same: a chain's are made of its normal variables once by
# itself and once with all others, which rounds otherwise.
_SAME = 1e-10


class KeptObservables:
    """Points (n_in,) and the observables (n_out,) there, up to a quarter of a gibibyte of them."""

    def __init__(self, scale: Array | None) -> None:
        """`scale` (n_in,): ranges of the parameters."""
        self._scale = 1.0 if scale is None else np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
        self._points: list[Array] = []
        self._observables: list[Array] = []
        self._bytes, self._full = 0, False
        self._found: tuple[KDTree, Array] | None = None

    def add(self, y: Array, observables: Array) -> None:
        """Keep what was solved at points (n, n_in)."""
        if self._full:
            return
        self._bytes += y.nbytes + observables.nbytes
        if self._bytes > _MOST_BYTES:
            self._full = True
            self._points, self._observables = [], []
            return
        self._points.append(y.copy())
        self._observables.append(observables.copy())
        self._found = None

    def at(self, y: Array) -> Array | None:
        """Observables (n, n_out) at points (n, n_in); None where one of them is not known."""
        if not self._points:
            return None
        if self._found is None:
            points, observables = np.concatenate(self._points), np.concatenate(self._observables)
            solved = np.isfinite(observables).all(axis=1)
            self._found = KDTree(points[solved] / self._scale), observables[solved]
        tree, observables = self._found
        # The largest difference of a parameter: no norm of many, whose rounding adds up. Infinite where there is no point.
        distance, nearest = tree.query(y / self._scale, p=np.inf)
        return observables[nearest] if (distance <= _SAME).all() else None
