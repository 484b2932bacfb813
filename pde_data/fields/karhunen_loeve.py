"""Karhunen–Loève modes of a Gaussian field: eigenfunctions of its covariance, by a quadrature rule at given points."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from gnvpro.pde_data.fields.covariance import Matern, StationaryProduct
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# Of the grid by which the covariance is applied, in correlation lengths; it is as fine as the points, where they are finer.
_SPACING = 1 / 64
# Points of that grid, where there are not more points of the field.
_MOST_GRID_POINTS = 2**18
# Modes that a share of the variance may ask for.
_MOST_MODES = 512
# Eigenvalues so close (relative) count as one: its modes are a matter of rounding, and of the mesh.
_SAME = 0.01
# Modes that are computed beside those asked for, so that no pair is cut.
_BESIDE = 6


def karhunen_loeve(
    points: Array, weights: Array, correlation_length: Array, smoothness: float, n_modes: int | None, variance: float
) -> tuple[Array, Array, float]:
    """Modes of a field of variance one, the largest first.

    Solves ∫ c(x − y) φ(y) dy = λ φ(x) with the quadrature rule, W C W φ = λ W φ with W = diag(weights) (Nyström). The
    covariance is Matérn's itself, up to the boundary; it is never stored (`StationaryProduct`), and its largest
    eigenpairs are found by Lanczos' method.

    Modes whose eigenvalues (nearly) agree, as on a square, are rotated into a form that does not depend on rounding. That
    changes nothing in the law of the field, since their coefficients are independent and normal.

    Parameters
    ----------
    points, weights : (n, d), (n,)
        Of the rule; the weights are positive and sum to the volume.
    correlation_length : (d,)
        In each direction.
    n_modes, variance
        How many; where None, as many as hold this share of the variance.

    Returns
    -------
    matrix, eigenvalues, captured
        Modes times the roots of their eigenvalues (n, n_modes), eigenvalues (n_modes,), and the share of the variance,
        averaged over the domain, that they hold.

    Raises
    ------
    UsageError
        More modes than points, or a share that would take more than 512.
    """
    n, dimension = points.shape
    scaled = points / correlation_length
    extent = np.ptp(scaled, axis=0)
    volume = float(np.prod(np.where(extent > 0, extent, 1.0)))
    finest = (volume / max(_MOST_GRID_POINTS, n)) ** (1 / dimension)
    spacing = max(min((volume / n) ** (1 / dimension), _SPACING), finest)
    covariance = StationaryProduct(scaled, Matern(smoothness), spacing)
    roots = np.sqrt(weights)
    operator: Any = LinearOperator((n, n), lambda v: roots * covariance(roots * v.ravel()))

    wanted = 16 if n_modes is None else n_modes
    while True:
        if wanted + _BESIDE >= n:
            raise UsageError(f"expected fewer than {n - _BESIDE} modes of {n} points, got {wanted}; refine the mesh")
        values, vectors = eigsh(operator, k=wanted + _BESIDE, v0=roots)
        eigenvalues, modes = np.maximum(values[::-1], 0.0), vectors[:, ::-1] / roots[:, None]
        shares = np.cumsum(eigenvalues) / weights.sum()
        if n_modes is not None:
            break
        if shares[wanted - 1] >= variance:
            wanted = int(np.argmax(shares >= variance)) + 1
            break
        if wanted >= _MOST_MODES:
            raise UsageError(
                f"expected {variance:.2%} of the variance in at most {_MOST_MODES} modes, which hold "
                f"{shares[wanted - 1]:.2%}; ask for less, for a number of modes, or for a smoother or longer correlation"
            )
        wanted *= 2
    matrix = _canonical(modes * np.sqrt(eigenvalues), eigenvalues, scaled, weights)[:, :wanted]
    return matrix, eigenvalues[:wanted], float(shares[wanted - 1])


def _canonical(matrix: Array, eigenvalues: Array, points: Array, weights: Array) -> Array:
    """Modes of one eigenvalue rotated so that a function of no symmetry is diagonal in them; signs by its integral."""
    centred = (points - points.mean(0)) / np.maximum(np.ptp(points, axis=0), 1e-300).max()
    lopsided = weights * np.exp(centred @ np.array([1.0, 0.7, 0.4])[: points.shape[1]])
    breaks = np.flatnonzero(eigenvalues[1:] < (1 - _SAME) * eigenvalues[:-1]) + 1
    rotated = matrix.copy()
    for group in np.split(np.arange(len(eigenvalues)), breaks):
        if len(group) > 1:
            part = matrix[:, group]
            rotated[:, group] = part @ np.linalg.eigh(part.T @ (lopsided[:, None] * part))[1]
    signs = np.sign(lopsided @ rotated)
    return rotated * np.where(signs == 0, 1.0, signs)
