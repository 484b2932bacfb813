"""Harmonics, grids and turns of the unit sphere."""

from __future__ import annotations

import numpy as np
from scipy.special import sph_legendre_p_all

from gnvpro.surrogate.spaces import Array


def turned(points: Array, angle: float) -> Array:
    """Points (n, 3) turned about x3, from x1 towards x2."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return points @ np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def turned_harmonics(values: Array, degree: int, angles: Array) -> Array:
    """Rows of harmonics (n, n_harmonics) at points that are turned about x3, each row by its angle."""
    order = np.concatenate([np.arange(-n, n + 1) for n in range(degree + 1)])
    mirrored = np.arange(len(order)) - 2 * order  # the harmonic of the opposite order
    turn = np.abs(order) * angles[:, None]
    return np.cos(turn) * values - np.sign(order) * np.sin(turn) * values[:, mirrored]


def spherical_harmonics(degree: int, points: Array) -> Array:
    """Real orthonormal harmonics up to `degree` at points of the unit sphere: (n, 3) -> (n, (degree + 1)²).

    By degree n, and in it by order m from −n to n; those of negative order go with the sine.
    """
    x, y, z = points.T
    legendre = sph_legendre_p_all(degree, degree, np.arctan2(np.hypot(x, y), z))[0]
    angle = np.arctan2(y, x)
    # (−1)^m takes back the sign of Condon and Shortley.
    around = {
        m: np.sqrt(2) * (-1) ** m * (np.cos(m * angle) if m > 0 else np.sin(-m * angle))
        for m in range(-degree, degree + 1)
    }
    around[0] = np.ones_like(angle)
    return np.stack([legendre[n, abs(m)] * around[m] for n in range(degree + 1) for m in range(-n, n + 1)], axis=1)


def sphere_grid(n_heights: int, n_angles: int) -> tuple[Array, Array]:
    """Points and weights, exact for harmonics of degree below 2 n_heights and n_angles."""
    heights, weights = np.polynomial.legendre.leggauss(n_heights)
    return _product_grid(heights, np.sqrt(1 - heights**2), weights, n_angles)


def polar_grid(n_polar: int, n_angles: int) -> tuple[Array, Array]:
    """Points and weights about the pole, uniform in the polar angle: its sine removes a singularity 1/r there."""
    nodes, weights = np.polynomial.legendre.leggauss(n_polar)
    polar = np.pi * (nodes + 1) / 2
    return _product_grid(np.cos(polar), np.sin(polar), np.pi / 2 * weights * np.sin(polar), n_angles)


def _product_grid(heights: Array, radii: Array, weights: Array, n_angles: int) -> tuple[Array, Array]:
    angles = 2 * np.pi * (np.arange(n_angles) + 0.5) / n_angles
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = np.concatenate(
        [radii[:, None, None] * around, np.broadcast_to(heights[:, None, None], (len(heights), n_angles, 1))], axis=2
    )
    return points.reshape(-1, 3), np.repeat(weights, n_angles) * 2 * np.pi / n_angles


def frame(pole: Array) -> Array:
    """An orthonormal frame whose third column is `pole`."""
    beside = np.eye(3)[int(np.argmin(np.abs(pole)))]
    first = np.cross(beside, pole)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(pole, first), pole], axis=1)
