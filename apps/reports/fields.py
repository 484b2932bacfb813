"""Figures of observables that are fields on a mesh: what the PDE gives, what the surrogate gives, and what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnvpro.apps.reports.figure_style import in_units, styled
from gnvpro.apps.reports.images import image_names
from gnvpro.apps.reports.raster import Raster
from gnvpro.surrogate.spaces import Array

if TYPE_CHECKING:
    from gnvpro.apps.comparison.comparison import Comparison

# Points along the longer side of a picture.
_POINTS = 240


@styled
def fields(comparison: Comparison, sample: int) -> Figure:
    """One sample by PDE and surrogate, on one scale, and the difference on its own; a row for some times or components."""
    raster = Raster.of(comparison.observables, _POINTS)
    expected, predicted = comparison.expected[sample][None], comparison.predicted[sample][None]
    columns = {"PDE": raster(expected), "surrogate": raster(predicted), "surrogate − PDE": raster(predicted - expected)}
    names = image_names(raster.pictures)
    figure, grid = _grid(raster, len(names), len(columns))
    low, high = np.nanmin(columns["PDE"]), np.nanmax(columns["PDE"])
    most = np.nanmax(np.abs(columns["surrogate − PDE"])) or 1.0
    for j, (title, values) in enumerate(columns.items()):
        is_rest = j == len(columns) - 1
        limits = ("RdBu_r", -most, most) if is_rest else ("viridis", low, high)
        drawn = [
            _draw(axes, raster, row, *limits) for axes, row in zip(grid[:, j], _stacked(raster, values), strict=True)
        ]
        grid[0, j].set_title(title, fontsize=9)
        if j > 0:
            shown = grid[:, j] if is_rest else grid[:, :2]
            figure.colorbar(drawn[0], ax=shown.ravel().tolist(), shrink=0.8, label=in_units(comparison.observables))
    for i, name in enumerate(names if len(names) > 1 else ()):
        grid[i, 0].set_ylabel(f"{name}\n{raster.pictures.axes[2].name}")
    return figure


@styled
def error_map(comparison: Comparison) -> Figure:
    """Root-mean-square error of the samples at every place, over the root-mean-square value of all observables."""
    raster = Raster.of(comparison.observables, _POINTS)
    misfit = np.sqrt(((comparison.predicted - comparison.expected) ** 2).mean(axis=0))
    values = _stacked(raster, raster(misfit[None] / np.sqrt((comparison.anomalous**2).mean())))
    figure, grid = _grid(raster, 1, len(values))
    top = float(np.nanmax(values)) or 1.0
    drawn = [
        _draw(axes, raster, 100 * row, "viridis", 0.0, 100 * top) for axes, row in zip(grid[0], values, strict=True)
    ]
    for axes, name in zip(grid[0], image_names(raster.pictures) if len(values) > 1 else (), strict=False):
        axes.set_title(name, fontsize=9)
    figure.colorbar(drawn[0], ax=grid[0].tolist(), label="relative error (%)")
    return figure


def _grid(raster: Raster, rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    _, nx, ny = raster.pictures.shape
    height = min(3.6, max(1.0, 2.9 * ny / nx))
    figure = Figure(figsize=(2.9 * columns + 0.9, height * rows + 0.6), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)


def _stacked(raster: Raster, pictures: Array) -> Array:
    return pictures.reshape(raster.pictures.shape)


def _draw(axes: Axes, raster: Raster, values: Array, colours: str, low: float, high: float) -> Any:
    x, y = (np.asarray(axis.labels) for axis in raster.pictures.axes[1:])
    picture = axes.pcolormesh(x, y, values.T, cmap=colours, vmin=low, vmax=high, rasterized=True)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.set_xlabel(raster.pictures.axes[1].name)
    axes.set_ylabel(raster.pictures.axes[2].name)
    return picture
