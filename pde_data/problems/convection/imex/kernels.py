"""Compiled inner loop of the fast solver: reaction at the nodes, then a linear combination of the history.

Arrays are sample-major, so that a row with its history and its table stay in the first cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Indices are unsigned where they are not those of a loop: signed ones might count from the end, which is not vectorised.
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
        k = np.uint64(cell[i])
        out[i] = c0[k] + t[i] * (c1[k] + t[i] * (c2[k] + t[i] * c3[k]))


@_compiled
def _slope(c, cell, t, out):
    c1, c2, c3 = c[1], c[2], c[3]
    for i in range(t.shape[0]):
        k = np.uint64(cell[i])
        out[i] = c1[k] + t[i] * (2.0 * c2[k] + t[i] * 3.0 * c3[k])


@_compiled
def _hermite(t, h):
    # Of the values and slopes at both ends of a cell, in turn.
    for i in range(t.shape[0]):
        square, cube = t[i] * t[i], t[i] * t[i] * t[i]
        h[0, i] = 1.0 - 3.0 * square + 2.0 * cube
        h[1, i] = t[i] - 2.0 * square + cube
        h[2, i] = 3.0 * square - 2.0 * cube
        h[3, i] = cube - square


@_compiled
def _interpolate(knots, cell, h, out):
    values, slopes = knots[0], knots[1]
    next_values, next_slopes = values[1:], slopes[1:]
    h0, h1, h2, h3 = h[0], h[1], h[2], h[3]
    for i in range(out.shape[0]):
        k = np.uint64(cell[i])
        out[i] = h0[i] * values[k] + h1[i] * slopes[k] + h2[i] * next_values[k] + h3[i] * next_slopes[k]


@_compiled
def _nodal(row, pairs, out):
    odd = row.shape[0] - pairs
    for i in range(pairs):
        j = np.uint64(odd + i)
        out[i] = row[i] + row[j]
        out[j] = row[i] - row[j]
    for i in range(pairs, odd):
        out[i] = row[i]


@_compiled
def _parity(values, pairs, out):
    odd, half = values.shape[0] - pairs, values.dtype.type(0.5)
    for i in range(pairs):
        j = np.uint64(odd + i)
        out[i] = half * (values[i] + values[j])
        out[j] = half * (values[i] - values[j])
    for i in range(pairs, odd):
        out[i] = values[i]


@_compiled
def _combine(stack, slots, weights, row, out):
    # Four slots at a time: `out` is read and written a quarter as often.
    n = out.shape[1]
    full = slots.shape[0] // 4 * 4
    out[row, :] = 0.0
    for j in range(0, full, 4):
        a, b, c, d = stack[slots[j], row], stack[slots[j + 1], row], stack[slots[j + 2], row], stack[slots[j + 3], row]
        wa, wb, wc, wd = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        for i in range(n):
            out[row, i] = (((out[row, i] + wa * a[i]) + wb * b[i]) + wc * c[i]) + wd * d[i]
    for j in range(full, slots.shape[0]):
        a, wa = stack[slots[j], row], weights[j]
        for i in range(n):
            out[row, i] += wa * a[i]


@_compiled
def advance(stack, state, reaction, weights, out, pairs, table, lower, step, forcing, outside):
    """Evaluate the reaction at one state of the history, then combine the history.

    Parameters
    ----------
    stack : (slots, samples, n)
        States and reactions, in parity coordinates.
    state, reaction : int
        Slots to read the state from and to write its reaction term to.
    weights : (slots,)
        Of the combination; none where nothing is to be combined.
    out : (samples, n)
        Receives the combination; (samples, 0) where there is none.
    table : (samples, 4, cells)
        Coefficients of each sample's reaction.
    lower, step : float
        Start and cell width of the table.
    forcing : (n,)
        Nodal values added to the reaction of each sample.
    outside : (samples,) int64
        Increased by the number of nodal values outside the table.
    """
    samples, n, cells, scale = table.shape[0], stack.shape[2], table.shape[2], 1.0 / step
    u, r = np.empty(n), np.empty(n)
    cell, t = np.empty(n, dtype=np.int32), np.empty(n)
    slots = np.flatnonzero(weights)
    weights = weights[slots]
    for s in range(samples):
        _nodal(stack[state, s], pairs, u)
        outside[s] += _locate(u, lower, scale, cells, cell, t)
        _cubic(table[s], cell, t, r)
        r += forcing
        _parity(r, pairs, stack[reaction, s])
        _combine(stack, slots, weights, s, out)


@_compiled
def advance_tangents(states, stack, state, reaction, weights, out, pairs, table, knots, lower, step):
    """`advance` of tangents: the derivative of the reaction along (tangent, direction of the parameters).

    Parameters
    ----------
    states : (samples or more, n)
        The state of each sample that its tangents belong to.
    stack : (slots, tangents or more, n)
        Row s · directions + d belongs to direction d of sample s.
    table : (samples or more, 4, cells)
        Coefficients of each sample's reaction.
    knots : (samples, directions, 2, cells + 1)
        Values and slopes of the reaction with the direction in place of the parameters.
    """
    samples, directions = knots.shape[:2]
    n, cells, scale = stack.shape[2], table.shape[2], 1.0 / step
    u, slope, t, cell = np.empty(n), np.empty(n), np.empty(n), np.empty(n, dtype=np.int32)
    slopes, du, r, h = (
        np.empty(n, stack.dtype),
        np.empty(n, stack.dtype),
        np.empty(n, stack.dtype),
        np.empty((4, n), stack.dtype),
    )
    slots = np.flatnonzero(weights)
    weights = weights[slots].astype(stack.dtype)
    for s in range(samples):
        _nodal(states[s], pairs, u)
        _locate(u, lower, scale, cells, cell, t)
        _slope(table[s], cell, t, slope)
        for i in range(n):
            slopes[i] = scale * slope[i]
        _hermite(t, h)
        for d in range(directions):
            row = s * directions + d
            _nodal(stack[state, row], pairs, du)
            _interpolate(knots[s, d], cell, h, r)
            for i in range(n):
                r[i] += slopes[i] * du[i]
            _parity(r, pairs, stack[reaction, row])
            _combine(stack, slots, weights, row, out)


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
            k = np.uint64(cell[i])
            power = r[i]
            for c in range(4):
                gradient[s, c, k] += power
                power *= t[i]
            r[i] *= scale * slope[i]
        _nodal(r, pairs, du)
        for i in range(n):
            bars[state, s, i] += du[i]
