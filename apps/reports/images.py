"""Figures of observables that are images, such as potential differences over a grid, and of sweeps.

An image is what the last two axes of the observables span, where there are three or more and those are numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnvpro.apps.comparison.sweeps import Sweep
from gnvpro.apps.reports.figure_style import COLOURS, GREY, in_units, labelled, styled
from gnvpro.surrogate.formatting import in_unit
from gnvpro.surrogate.spaces import Array, Space

if TYPE_CHECKING:
    from gnvpro.apps.comparison.comparison import Comparison

# Decades shown below the largest value: what is smaller is crossed on the way through zero.
_DECADES = 4


def are_images(observables: Space) -> bool:
    """Whether the observables are one or several images."""
    axes = observables.axes
    return len(axes) >= 3 and all(not isinstance(axis.labels[0], str) for axis in axes[-2:])


@styled
def images(comparison: Comparison, sample: int) -> Figure:
    """One sample as log10 |·|: observables by the PDE, then their anomalous part by PDE and surrogate, and what is left.

    One row for every image; anomalous parts share a scale, the difference has its own.
    """
    space = comparison.observables
    expected, predicted = comparison.expected[sample], comparison.predicted[sample]
    background = np.zeros_like(expected) if comparison.background is None else comparison.background
    what = "anomaly" if comparison.background is not None else "observables"
    columns = [
        (f"{what}, PDE", stacked(space, expected - background)),
        (f"{what}, surrogate", stacked(space, predicted - background)),
        ("surrogate − PDE", stacked(space, predicted - expected)),
    ]
    if comparison.background is not None:
        columns.insert(0, ("observables, PDE", stacked(space, expected)))
    names = image_names(space)
    figure = Figure(figsize=(2.7 * len(columns) + 0.6, 2.0 * len(names) + 0.5), layout="constrained")
    grid = figure.subplots(len(names), len(columns), squeeze=False, sharex=True, sharey=True)
    for j, (title, stack) in enumerate(columns):
        shared = columns[-3][1] if j == len(columns) - 2 else stack  # the surrogate on the scale of the PDE
        top = np.log10(max(np.abs(shared).max(), np.finfo(float).tiny))
        drawn = [draw_image(axes, space, picture, top) for axes, picture in zip(grid[:, j], stack, strict=True)]
        for i, name in enumerate(names):
            if i == 0:
                grid[i, j].set_title(title, fontsize=9)
            if j == 0:
                grid[i, j].set_ylabel(f"{name}\n{labelled(space.axes[-1])}")
            if i == len(names) - 1:
                grid[i, j].set_xlabel(labelled(space.axes[-2]))
        figure.colorbar(drawn[0], ax=grid[:, j].tolist(), shrink=0.8, label=f"log10 |·|{in_units(space)}")
    return figure


@styled
def error_images(comparison: Comparison) -> Figure:
    """Root-mean-square error of every observable over the samples, relative to that of all anomalous observables."""
    space = comparison.observables
    misfit = np.sqrt(((comparison.predicted - comparison.expected) ** 2).mean(axis=0))
    relative = misfit / np.sqrt((comparison.anomalous**2).mean())
    names, stack = image_names(space), stacked(space, relative)
    figure = Figure(figsize=(3.6 * len(names) + 0.8, 3.1), layout="constrained")
    grid = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    top = float(np.log10(max(stack.max(), np.finfo(float).tiny)))
    drawn = [draw_image(axes, space, picture, top) for axes, picture in zip(grid, stack, strict=True)]
    for axes, name in zip(grid, names, strict=True):
        axes.set_title(name, fontsize=9)
        axes.set_xlabel(labelled(space.axes[-2]))
    grid[0].set_ylabel(labelled(space.axes[-1]))
    figure.colorbar(drawn[0], ax=grid.tolist(), label="log10 of the relative error")
    return figure


@styled
def sweep_curves(comparison: Comparison) -> Figure:
    """Some observables along every sweep: lines by the surrogate, dots by the PDE."""
    swept = comparison.sweeps
    background = 0.0 if comparison.background is None else comparison.background
    figure = Figure(figsize=(3.1 * len(swept) + 0.6, 3.2), layout="constrained")
    grid = figure.subplots(1, len(swept), squeeze=False, sharey=True)[0]
    chosen = _varying(comparison)
    for axes, sweep in zip(grid, swept, strict=True):
        _draw_sweep(axes, sweep, chosen, background)
        axes.set_title(f"error up to {sweep.error:.1e}", fontsize=9)
    what = "observable" if comparison.background is None else "anomalous part"
    grid[0].set_ylabel(f"{what}{in_units(comparison.observables)}")
    handles = [
        grid[0].plot([], [], color=colour, label=comparison.observables.names[k])[0]
        for k, colour in zip(chosen, COLOURS, strict=False)
    ]
    handles += grid[0].plot([], [], "-", color=GREY, label="surrogate") + grid[0].plot(
        [], [], "o", color=GREY, markersize=4, label="PDE"
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _draw_sweep(axes: Axes, sweep: Sweep, chosen: list[int], background: Array | float) -> None:
    predicted, expected = sweep.predicted - background, sweep.expected - background
    for k, colour in zip(chosen, COLOURS, strict=False):
        axes.plot(sweep.at, predicted[:, k], color=colour, linewidth=1.2)
        axes.plot(sweep.solved_at, expected[:, k], "o", color=colour, markersize=4)
    axes.set_xlabel(in_unit(sweep.name, sweep.unit))


def _varying(comparison: Comparison) -> list[int]:
    """Four observables that vary: in every image (of at most two), the one that varies most and one in between."""
    spread = comparison.anomalous.std(axis=0)
    groups = np.array_split(np.arange(len(spread)), 2 if len(spread) >= 8 else 1)
    return [int(group[np.argsort(spread[group])[-(1 + len(group) // k)]]) for group in groups for k in (len(group), 4)]


def draw_image(axes: Axes, space: Space, values: Array, top: float) -> Any:
    """One image (x, y) as log10 |·|, four decades down from `top`."""
    x, y = (np.asarray(axis.labels, float) for axis in space.axes[-2:])
    with np.errstate(divide="ignore"):
        logarithm = np.log10(np.abs(values))
    picture = axes.pcolormesh(x, y, logarithm.T, vmin=top - _DECADES, vmax=top, cmap="viridis", rasterized=True)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    return picture


def stacked(space: Space, values: Array) -> Array:
    """(n_out,) -> (images, x, y)."""
    return values.reshape(-1, *space.shape[-2:])


def image_names(space: Space) -> list[str]:
    """What each image is of, such as its source."""
    front = space.axes[:-2]
    index = np.indices([len(axis.labels) for axis in front]).reshape(len(front), -1).T
    return [", ".join(f"{axis.name} {axis.labels[i]}" for axis, i in zip(front, row, strict=True)) for row in index]
