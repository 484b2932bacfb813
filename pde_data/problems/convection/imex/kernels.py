"""Compiled inner loop of the fast solver: reaction at the nodes, then a linear combination of the history.

Arrays are sample-major, so that a row with its history and its table stay in the first cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Contraction to fused multiply-adds only: "fast" would assume away the NaN that a failed sample consists of.
_compiled = njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, boundscheck=False)


@_compiled
def _locate(u, lower, scale, cells, cell, t):
    """Table cell and position in it of each value; returns how many lie outside and were put at the border."""
    last = cells - 1.0
    outside = 0
    for i in range(u.shape[0]):
        x = (u[i] - lower) * scale
        kept = x if x > 0.0 else 0.0  # NaN too
        kept = kept if kept < last else last
        k = np.int32(kept)
        cell[i] = k
        t[i] = x - k
    for i in range(u.shape[0]):
        x = (u[i] - lower) * scale
        outside += np.int64(not (x >= 0.0 and x <= cells))
    return outside


@_compiled
def _cubic(c, cell, t, out):
    # A loop of its own over stored cells: fused with `_locate` it is not vectorised (2.5 times slower).
    c0, c1, c2, c3 = c[0], c[1], c[2], c[3]
    for i in range(t.shape[0]):
        k = np.int64(cell[i])
        out[i] = c0[k] + t[i] * (c1[k] + t[i] * (c2[k] + t[i] * c3[k]))


@_compiled
def _slope(c, cell, t, out):
    c1, c2, c3 = c[1], c[2], c[3]
    for i in range(t.shape[0]):
        k = np.int64(cell[i])
        out[i] = c1[k] + t[i] * (2.0 * c2[k] + t[i] * 3.0 * c3[k])


@_compiled
def _nodal(row, pairs, out):
    n = row.shape[0]
    odd = n - pairs
    for i in range(pairs):
        out[i] = row[i] + row[odd + i]
        out[odd + i] = row[i] - row[odd + i]
    for i in range(pairs, odd):
        out[i] = row[i]


@_compiled
def _parity(values, pairs, out):
    n = values.shape[0]
    odd = n - pairs
    for i in range(pairs):
        out[i] = 0.5 * (values[i] + values[odd + i])
        out[odd + i] = 0.5 * (values[i] - values[odd + i])
    for i in range(pairs, odd):
        out[i] = values[i]


@_compiled
def _combine(stack, weights, row, out):
    out[row, :] = 0.0
    for slot in range(weights.shape[0]):
        weight = weights[slot]
        if weight != 0.0:
            for i in range(out.shape[1]):
                out[row, i] += weight * stack[slot, row, i]


@_compiled
def advance(stack, state, reaction, weights, out, pairs, table, table_tangent, lower, step, forcing, outside):
    """Evaluate the reaction at one state of the history, then combine the history.

    The first `table.shape[0]` rows are samples; the remaining ones are tangents, `table_tangent.shape[1]` to a
    sample, with the derivative of the reaction term along (tangent, direction of the parameters).

    Parameters
    ----------
    stack : (slots, rows, n)
        States and reactions, in parity coordinates.
    state, reaction : int
        Slots to read the state from and to write its reaction term to.
    weights : (slots,)
        Of the combination; none where nothing is to be combined.
    out : (rows, n)
        Receives the combination; (rows, 0) where there is none.
    table : (samples, 4, cells)
        Coefficients of each sample's reaction.
    table_tangent : (samples, directions, 4, cells)
        Coefficients of the reaction with the direction in place of the parameters.
    lower, step : float
        Start and cell width of the table.
    forcing : (n,)
        Nodal values added to the reaction of each sample.
    outside : (samples,) int64
        Increased by the number of nodal values outside the table.
    """
    samples, directions = table.shape[0], table_tangent.shape[1]
    n, cells, scale = stack.shape[2], table.shape[2], 1.0 / step
    u, r, slope, du = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    cell, t = np.empty(n, dtype=np.int32), np.empty(n)
    for s in range(samples):
        _nodal(stack[state, s], pairs, u)
        outside[s] += _locate(u, lower, scale, cells, cell, t)
        _cubic(table[s], cell, t, r)
        r += forcing
        _parity(r, pairs, stack[reaction, s])
        _combine(stack, weights, s, out)
        if directions:
            _slope(table[s], cell, t, slope)
        for d in range(directions):
            row = samples + s * directions + d
            _nodal(stack[state, row], pairs, du)
            _cubic(table_tangent[s, d], cell, t, r)
            for i in range(n):
                r[i] += scale * slope[i] * du[i]
            _parity(r, pairs, stack[reaction, row])
            _combine(stack, weights, row, out)


@_compiled
def retreat(bars, state, reaction, weights, bar, trajectory, pairs, table, lower, step, gradient):
    """The transpose of `advance` for the samples alone: what depends on its result, passed on to what it read.

    Parameters
    ----------
    bars : (slots, samples, n)
        Derivatives of a functional by the states and reactions of the history; added to.
    state, reaction, weights
        As `advance` had them. The derivative by the reaction is passed on to the state, and set to zero.
    bar : (samples, n)
        Derivative by the combination; (samples, 0) where there was none.
    trajectory : (samples, n)
        The state at which the reaction was evaluated.
    gradient : (samples, 4, cells)
        Derivative by the coefficients of each sample's reaction; added to.
    """
    samples, n, cells, scale = table.shape[0], bars.shape[2], table.shape[2], 1.0 / step
    u, slope, r, du = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    cell, t = np.empty(n, dtype=np.int32), np.empty(n)
    for s in range(samples):
        for slot in range(weights.shape[0]):
            weight = weights[slot]
            if weight != 0.0:
                for i in range(n):
                    bars[slot, s, i] += weight * bar[s, i]
        _nodal(trajectory[s], pairs, u)
        _locate(u, lower, scale, cells, cell, t)
        _slope(table[s], cell, t, slope)
        _parity(bars[reaction, s], pairs, r)  # the matrices of `_parity` and `_nodal` are symmetric
        bars[reaction, s, :] = 0.0
        for i in range(n):
            k = np.int64(cell[i])
            power = r[i]
            for c in range(4):
                gradient[s, c, k] += power
                power *= t[i]
            r[i] *= scale * slope[i]
        _nodal(r, pairs, du)
        for i in range(n):
            bars[state, s, i] += du[i]
