"""Compiled sums over images of electrodes: one electrode after the other, along memory over points.

The images of an electrode (e1, e2) stand at (e1, e2, offset_j). `values` are (k, m), as in half_space_kernels.py. The fourth
derivative is the one by the logarithm of the layer's thickness, to which offsets are proportional.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_compiled = njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc", "arcp"}, boundscheck=False)


@_compiled
def potential(electrodes, points, offsets, weights, out):
    """out[i, q] = sum_j weights[j] / |image j of electrode i - points[q]|."""
    for i in range(electrodes.shape[0]):
        e1, e2 = electrodes[i, 0], electrodes[i, 1]
        for j in range(len(offsets)):
            offset, weight = offsets[j], weights[j]
            for q in range(points.shape[0]):
                d1, d2, d3 = e1 - points[q, 0], e2 - points[q, 1], offset - points[q, 2]
                out[i, q] += weight / np.sqrt(d1 * d1 + d2 * d2 + d3 * d3)


@_compiled
def flux(electrodes, points, normals, offsets, weights, out):
    """Derivative of `potential` by the point along normals[q]."""
    for i in range(electrodes.shape[0]):
        e1, e2 = electrodes[i, 0], electrodes[i, 1]
        for j in range(len(offsets)):
            offset, weight = offsets[j], weights[j]
            for q in range(points.shape[0]):
                d1, d2, d3 = e1 - points[q, 0], e2 - points[q, 1], offset - points[q, 2]
                inverse2 = 1.0 / (d1 * d1 + d2 * d2 + d3 * d3)
                along = normals[q, 0] * d1 + normals[q, 1] * d2 + normals[q, 2] * d3
                out[i, q] += weight * along * inverse2 * np.sqrt(inverse2)


@_compiled
def derivatives(electrodes, points, normals, offsets, weights, by_potential, by_flux):
    """Of `potential` and `flux`, by e1, e2, the height of all images together, and the logarithm of the thickness."""
    for i in range(electrodes.shape[0]):
        e1, e2 = electrodes[i, 0], electrodes[i, 1]
        for j in range(len(offsets)):
            offset, weight = offsets[j], weights[j]
            for q in range(points.shape[0]):
                d1, d2, d3 = e1 - points[q, 0], e2 - points[q, 1], offset - points[q, 2]
                inverse2 = 1.0 / (d1 * d1 + d2 * d2 + d3 * d3)
                cubed = weight * inverse2 * np.sqrt(inverse2)
                along = normals[q, 0] * d1 + normals[q, 1] * d2 + normals[q, 2] * d3
                steep = 3.0 * along * inverse2
                by_potential[i, q, 0] -= cubed * d1
                by_potential[i, q, 1] -= cubed * d2
                by_potential[i, q, 2] -= cubed * d3
                by_potential[i, q, 3] -= cubed * d3 * offset
                upward = cubed * (normals[q, 2] - steep * d3)
                by_flux[i, q, 0] += cubed * (normals[q, 0] - steep * d1)
                by_flux[i, q, 1] += cubed * (normals[q, 1] - steep * d2)
                by_flux[i, q, 2] += upward
                by_flux[i, q, 3] += upward * offset


@_compiled
def collect(receivers, points, normals, values, offsets, weights, out):
    """out[i, k] += sum_q values[k, q] flux[i, q]."""
    n = points.shape[0]
    row = np.empty(n)
    for i in range(receivers.shape[0]):
        r1, r2 = receivers[i, 0], receivers[i, 1]
        row[:] = 0.0
        for j in range(len(offsets)):
            offset, weight = offsets[j], weights[j]
            for q in range(n):
                d1, d2, d3 = r1 - points[q, 0], r2 - points[q, 1], offset - points[q, 2]
                inverse2 = 1.0 / (d1 * d1 + d2 * d2 + d3 * d3)
                along = normals[q, 0] * d1 + normals[q, 1] * d2 + normals[q, 2] * d3
                row[q] += weight * along * inverse2 * np.sqrt(inverse2)
        for k in range(values.shape[0]):
            total = 0.0
            for q in range(n):
                total += values[k, q] * row[q]
            out[i, k] += total


@_compiled
def collect_gradient(receivers, points, normals, values, offsets, weights, gradient):
    """gradient[i, :, k] += derivatives of `collect`, of as many columns as it has."""
    n = points.shape[0]
    rows = np.empty((4, n))
    for i in range(receivers.shape[0]):
        r1, r2 = receivers[i, 0], receivers[i, 1]
        rows[:] = 0.0
        for j in range(len(offsets)):
            offset, weight = offsets[j], weights[j]
            for q in range(n):
                d1, d2, d3 = r1 - points[q, 0], r2 - points[q, 1], offset - points[q, 2]
                inverse2 = 1.0 / (d1 * d1 + d2 * d2 + d3 * d3)
                cubed = weight * inverse2 * np.sqrt(inverse2)
                steep = 3.0 * inverse2 * (normals[q, 0] * d1 + normals[q, 1] * d2 + normals[q, 2] * d3)
                upward = cubed * (normals[q, 2] - steep * d3)
                rows[0, q] += cubed * (normals[q, 0] - steep * d1)
                rows[1, q] += cubed * (normals[q, 1] - steep * d2)
                rows[2, q] += upward
                rows[3, q] += upward * offset
        for k in range(gradient.shape[2]):
            for m in range(4):
                total = 0.0
                for q in range(n):
                    total += values[k, q] * rows[m, q]
                gradient[i, m, k] += total


@_compiled
def sources(receivers, points, values, offsets, weights, out):
    """out[i, k] += sum_q values[k, q] potential[i, q]."""
    n = points.shape[0]
    row = np.empty(n)
    for i in range(receivers.shape[0]):
        r1, r2 = receivers[i, 0], receivers[i, 1]
        row[:] = 0.0
        for j in range(len(offsets)):
            offset, weight = offsets[j], weights[j]
            for q in range(n):
                d1, d2, d3 = r1 - points[q, 0], r2 - points[q, 1], offset - points[q, 2]
                row[q] += weight / np.sqrt(d1 * d1 + d2 * d2 + d3 * d3)
        for k in range(values.shape[0]):
            total = 0.0
            for q in range(n):
                total += values[k, q] * row[q]
            out[i, k] += total


@_compiled
def sources_gradient(receivers, points, values, offsets, weights, gradient):
    """gradient[i, :, k] += derivatives of `sources`, of as many columns as it has."""
    n = points.shape[0]
    rows = np.empty((4, n))
    for i in range(receivers.shape[0]):
        r1, r2 = receivers[i, 0], receivers[i, 1]
        rows[:] = 0.0
        for j in range(len(offsets)):
            offset, weight = offsets[j], weights[j]
            for q in range(n):
                d1, d2, d3 = r1 - points[q, 0], r2 - points[q, 1], offset - points[q, 2]
                inverse2 = 1.0 / (d1 * d1 + d2 * d2 + d3 * d3)
                cubed = weight * inverse2 * np.sqrt(inverse2)
                rows[0, q] -= cubed * d1
                rows[1, q] -= cubed * d2
                rows[2, q] -= cubed * d3
                rows[3, q] -= cubed * d3 * offset
        for k in range(gradient.shape[2]):
            for m in range(4):
                total = 0.0
                for q in range(n):
                    total += values[k, q] * rows[m, q]
                gradient[i, m, k] += total
