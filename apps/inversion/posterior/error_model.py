"""What is known of the difference between an accurate model and a cheap one, learned while both are evaluated.

Differences are in units of the noise of the observations. Their mean is a bias, their covariance widens the noise: the
cheap posterior is then no narrower than it may be (Kaipio and Somersalo 2007; Cui, Fox and O'Sullivan 2011).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gnvpro.surrogate.spaces import Array

# Fewer differences than this say nothing of their spread.
LEAST = 4
# Directions that are kept: those that matter beside noise of variance one.
_MOST_DIRECTIONS, _LEAST_SIZE = 32, 1e-3


@dataclass(frozen=True)
class ErrorModel:
    """Normal law of accurate less cheap observables, in units of the noise.

    Attributes
    ----------
    mean : (m,)
        Bias of the cheap model.
    directions : (m, k)
        Orthonormal.
    sizes : (k,)
        Standard deviations along them.
    n
        Differences it was learned from.
    """

    mean: Array
    directions: Array
    sizes: Array
    n: int

    @classmethod
    def learned(cls, differences: Array) -> ErrorModel:
        """From whitened differences (n, m); of fewer than `LEAST`, the mean is used alone."""
        n, mean = len(differences), differences.mean(axis=0)
        if n < LEAST:
            return cls(mean, np.zeros((len(mean), 0)), np.zeros(0), n)
        _, values, rows = np.linalg.svd((differences - mean) / np.sqrt(n - 1), full_matrices=False)
        kept = (values > _LEAST_SIZE) & (np.arange(len(values)) < _MOST_DIRECTIONS)
        return cls(mean, rows[kept].T, values[kept], n)

    def whiten(self, residuals: Array) -> Array:
        """(I + covariance)^(-1/2) applied to residuals (n, m) in units of the noise; symmetric."""
        shrink = 1 - 1 / np.sqrt(1 + self.sizes**2)
        return residuals - ((residuals @ self.directions) * shrink) @ self.directions.T

    def size(self) -> float:
        """Root mean square, over the observations, of the bias and the spread together."""
        return float(np.sqrt(((self.mean**2).sum() + (self.sizes**2).sum()) / len(self.mean)))
