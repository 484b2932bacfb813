"""Compiled sums over the body's surface: one receiver against all points, nothing stored but one row of weights.

`values` are (k, m), a row for every column of the result, so that each sum runs along memory. Sums may be
reordered ("reassoc"), which is what lets them be vectorised; the order is still the same in every run.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_compiled = njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc", "arcp"}, boundscheck=False)


@_compiled
def collect(receivers, points, normals, values, out):
    """out[i, k] = sum_q values[k, q] normals[q] · (r_i - points[q]) / |r_i - points[q]|³."""
    n, columns = points.shape[0], values.shape[0]
    weight = np.empty(n)
    for i in range(receivers.shape[0]):
        r1, r2 = receivers[i, 0], receivers[i, 1]
        for q in range(n):
            d1, d2, d3 = r1 - points[q, 0], r2 - points[q, 1], -points[q, 2]
            inverse2 = 1.0 / (d1 * d1 + d2 * d2 + d3 * d3)
            flux = normals[q, 0] * d1 + normals[q, 1] * d2 + normals[q, 2] * d3
            weight[q] = flux * inverse2 * np.sqrt(inverse2)
        for k in range(columns):
            total = 0.0
            for q in range(n):
                total += values[k, q] * weight[q]
            out[i, k] = total


@_compiled
def collect_with_gradient(receivers, points, normals, values, out, gradient):
    """`collect`, and the gradient (n, 3, j) by r_i of its first j columns, as if the surface were not there."""
    n, columns = points.shape[0], values.shape[0]
    weight = np.empty((4, n))
    for i in range(receivers.shape[0]):
        r1, r2 = receivers[i, 0], receivers[i, 1]
        for q in range(n):
            d1, d2, d3 = r1 - points[q, 0], r2 - points[q, 1], -points[q, 2]
            inverse2 = 1.0 / (d1 * d1 + d2 * d2 + d3 * d3)
            cubed = inverse2 * np.sqrt(inverse2)
            flux = cubed * (normals[q, 0] * d1 + normals[q, 1] * d2 + normals[q, 2] * d3)
            along = 3.0 * flux * inverse2
            weight[0, q] = cubed * normals[q, 0] - along * d1
            weight[1, q] = cubed * normals[q, 1] - along * d2
            weight[2, q] = cubed * normals[q, 2] - along * d3
            weight[3, q] = flux
        for k in range(columns):
            total = 0.0
            for q in range(n):
                total += values[k, q] * weight[3, q]
            out[i, k] = total
        for k in range(gradient.shape[2]):
            for j in range(3):
                total = 0.0
                for q in range(n):
                    total += values[k, q] * weight[j, q]
                gradient[i, j, k] = total
