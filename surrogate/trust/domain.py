"""How much a point is like the training data, as the surrogate itself sees it.

The score is the leverage of the point in the last layer, f(y)ᵀ (FᵀF/n)⁻¹ f(y) with the features f: the variance of a
linear prediction there, in units of that at the training samples. On both PDEs it ranks errors better than distances
between parameters do (docs/trust.md has the table): the features know along which parameters nothing happens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.trust.bands import quantile

THRESHOLD_LEVEL = 0.99
# Of the largest eigenvalue of FᵀF: directions that training hardly saw count, those of rounding do not.
_RIDGE = 1e-10
# Columns of many kernels: from here on, less time and a smaller file are worth digits that a score does not need.
_WIDE = 300


@dataclass(frozen=True, eq=False)
class Domain(ComparedByValue):
    """Where the surrogate is asked for what it was trained on.

    Attributes
    ----------
    whitening : (width + n_terms + 1, rank)
        Of the features with a one appended; float32, as a score needs no more.
    threshold
        The 99 % quantile of held-out samples, in the units of the whitened norm.
    """

    whitening: NDArray[np.float32]
    threshold: float

    def __post_init__(self) -> None:
        if self.whitening.ndim != 2 or not self.whitening.size or not np.isfinite(self.whitening).all():
            raise UsageError("the whitening of the in-domain score must be a matrix of finite numbers")
        if not isinstance(self.threshold, float) or not np.isfinite(self.threshold) or self.threshold <= 0:
            raise UsageError(f"the threshold of the in-domain score must be positive, got {self.threshold!r}")

    @classmethod
    def of(cls, fitted: Array, held_out: Array, weighting: tuple[Array, float] | None = None) -> Domain:
        """From the features (n, width + n_terms) of the samples that were fitted, and of others.

        Parameters
        ----------
        weighting
            Of the others, as `gnvpro.surrogate.trust.bands.law_weights` gives it.
        """
        whitening = _whitening(fitted)
        norms = np.linalg.norm(_with_one(held_out) @ whitening.astype(np.float64), axis=1)
        threshold = float(quantile(norms, THRESHOLD_LEVEL, weighting))
        # Fewer than 99 samples cannot tell the 99 % quantile; the largest of them is what they can tell.
        return cls(whitening, threshold if np.isfinite(threshold) else float(norms.max()))

    @classmethod
    def left_out(cls, fitted: Array) -> Domain:
        """From the features (n, width + n_terms) of samples that were fitted, each judged by the others.

        With h = f' (F'F)^-1 f the leverage of a sample, its square norm by the n - 1 others is (n - 1) h / (1 - h).
        """
        n, whitening = len(fitted), _whitening(fitted)
        leverages = np.minimum(((_with_one(fitted) @ whitening.astype(np.float64)) ** 2).sum(1) / n, 1 - 1 / n)
        norms = np.sqrt((n - 1) * leverages / (1 - leverages))
        threshold = float(quantile(norms, THRESHOLD_LEVEL))
        return cls(whitening, threshold if np.isfinite(threshold) else float(norms.max()))

    def score(self, features: Array) -> Array:
        """Norm of whitened features over the threshold, (n, width + n_terms) -> (n,); infinite where not finite."""
        # In range of a square: what overflows is far outside all the same.
        with np.errstate(over="ignore", invalid="ignore"):
            found = np.linalg.norm(_with_one(features) @ self.whitening.astype(np.float64), axis=1) / self.threshold
        return np.where(np.isfinite(found), found, np.inf)


def _whitening(fitted: Array) -> NDArray[np.float32]:
    squares, directions = _principal(_with_one(fitted) / np.sqrt(len(fitted)))
    return (directions / np.sqrt(squares + _RIDGE * squares.max())).astype(np.float32)


def _principal(rows: Array) -> tuple[Array, Array]:
    """Eigenvalues of rowsᵀ rows and eigenvectors in columns; of wide rows those above rounding alone."""
    if rows.shape[1] <= _WIDE:
        _, sizes, directions = np.linalg.svd(np.linalg.qr(rows, mode="r"), full_matrices=False)
        return sizes**2, directions.T
    squares, directions = np.linalg.eigh(rows.T @ rows)
    kept = squares > len(squares) * np.finfo(float).eps * squares[-1]
    return squares[kept], directions[:, kept]


def _with_one(features: Array) -> Array:
    return np.hstack([features, np.ones((len(features), 1))])
