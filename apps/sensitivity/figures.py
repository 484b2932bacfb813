"""The figures of a sensitivity analysis; each function draws one and returns it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gnvpro.apps.reports.figure_style import BLUE, COLOURS, GREY, labelled, styled
from gnvpro.apps.sensitivity.directions import Directions
from gnvpro.apps.sensitivity.result import SensitivityResult
from gnvpro.surrogate.spaces import Array, Axis

# Parameters with bars and with a row of a map; observables whose names fit below one; directions with components.
_MOST_BARS, _MOST_ROWS, _MOST_TICKS, _MOST_DIRECTIONS = 20, 24, 16, 3


@styled
def bars(result: SensitivityResult) -> Figure:
    """Shares of all observables together by parameter, those that matter most first, with their intervals."""
    shown = result.order[:_MOST_BARS]
    figure = Figure((7.2, 1.2 + 0.34 * len(shown)), layout="constrained")
    axes = figure.subplots()
    height = 0.76 / len(result.shares)
    for k, ((what, share), colour) in enumerate(zip(result.shares.items(), COLOURS, strict=False)):
        at = np.arange(len(shown)) + (k - (len(result.shares) - 1) / 2) * height
        value, low, high = (of[0, shown] for of in (share.estimate, share.lower, share.upper))
        axes.barh(at, value, 0.92 * height, color=colour, label=what)
        axes.hlines(at, low, high, color="#222222", linewidth=1.2)
        axes.plot(low, at, "|", high, at, "|", color="#222222", markersize=4)
    axes.set_yticks(np.arange(len(shown)), [result.names[j] for j in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("share of the variance" + (" of all observables" if result.groups.space.size > 1 else ""))
    axes.grid(visible=False, axis="y")
    axes.legend(loc="lower right")
    return figure


@styled
def maps(result: SensitivityResult) -> Figure:
    """Shares by observable, or along each axis of the observables."""
    space = result.groups.space
    parts = result.groups.axes or {space.axes[0].name: result.groups.each}
    shown = result.order[:_MOST_ROWS]
    rows = max(3, len(shown))
    figure = Figure((3.2 + 3.4 * len(parts), 1.5 + 0.21 * rows), layout="constrained")
    all_axes = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    what = list(result.shares)[-1]
    highest = max(float(np.nanmax(result.leading.estimate[part][:, shown])) for part in parts.values())
    drawn = None
    for axes, (name, part) in zip(all_axes, parts.items(), strict=True):
        axis = next(axis for axis in space.axes if axis.name == name)
        values = result.leading.estimate[part][:, shown].T
        drawn = _map(axes, axis, values, highest)
    all_axes[0].set_yticks(np.arange(len(shown)), [result.names[j] for j in shown])
    all_axes[0].set_ylim(len(shown) - 0.5, -0.5)
    if drawn is not None:
        figure.colorbar(drawn, ax=all_axes.tolist(), label=what, pad=0.02)
    return figure


def _map(axes: Axes, axis: Axis, values: Array, highest: float) -> QuadMesh:
    """Parameters downwards, labels of an axis to the right: at their values where they are increasing numbers."""
    n = values.shape[1]
    numbers = None if isinstance(axis.labels[0], str) else np.array(axis.labels, dtype=float)
    if numbers is not None and n > 1 and (np.diff(numbers) > 0).all():
        middle = (numbers[1:] + numbers[:-1]) / 2
        edges = np.concatenate([[2 * numbers[0] - middle[0]], middle, [2 * numbers[-1] - middle[-1]]])
    else:
        edges = np.arange(n + 1) - 0.5
        ticks = np.unique(np.linspace(0, n - 1, min(n, _MOST_TICKS)).round().astype(int))
        labels = [axis.labels[i] if isinstance(axis.labels[i], str) else f"{axis.labels[i]:g}" for i in ticks]
        turn = 90 if max(map(len, map(str, labels))) > 3 and n > 4 else 0
        axes.set_xticks(ticks, labels, rotation=turn)
    axes.set_xlabel(labelled(axis))
    axes.grid(visible=False)
    rows = np.arange(len(values) + 1) - 0.5
    return axes.pcolormesh(edges, rows, values, cmap="Blues", vmin=0, vmax=highest)


@styled
def decay(found: Directions) -> Figure:
    """Eigenvalues with their intervals, and the components of the leading directions."""
    shown = min(len(found.names), _MOST_BARS)
    figure = Figure((9.0, 1.6 + 0.24 * max(8, shown)), layout="constrained")
    left, right = figure.subplots(1, 2)
    number = np.arange(1, len(found.eigenvalues) + 1)
    kept = found.eigenvalues > 1e-12 * found.eigenvalues[0]
    left.vlines(
        number[kept], np.maximum(found.lower[kept], 1e-14), found.upper[kept], color=GREY, linewidth=4, alpha=0.5
    )
    left.plot(number[kept], found.eigenvalues[kept], "o-", color=BLUE, markersize=4, linewidth=1)
    left.set_yscale("log")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_xlabel("direction")
    left.set_ylabel("eigenvalue / variance")
    of_few = min(_MOST_DIRECTIONS, int(kept.sum()))
    weight = (found.eigenvalues[:of_few, None] * found.vectors[:of_few] ** 2).sum(axis=0)
    rows = np.argsort(-weight, kind="stable")[:shown]
    height = 0.8 / of_few
    for k, colour in zip(range(of_few), COLOURS, strict=False):
        at = np.arange(len(rows)) + (k - (of_few - 1) / 2) * height
        right.barh(at, found.vectors[k, rows], 0.92 * height, color=colour, label=f"direction {k + 1}")
    right.axvline(0, color=GREY, linewidth=0.8)
    right.set_yticks(np.arange(len(rows)), [found.names[j] for j in rows])
    right.set_ylim(len(rows) - 0.4, -0.6)
    right.grid(visible=False, axis="y")
    right.set_xlabel("component, by normal variables")
    right.legend(loc="best", fontsize=8)
    return figure
