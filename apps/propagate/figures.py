"""The figures of a propagation: quantiles along the axes of the observables, maps, and distributions with their limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gnvpro.apps.propagate.moments import Estimate
from gnvpro.apps.propagate.quantiles import Curve
from gnvpro.apps.propagate.result import PropagationResult
from gnvpro.apps.reports.figure_style import BLUE, GREY, ORANGE, RED, in_units, labelled, styled
from gnvpro.apps.reports.images import are_images, image_names, stacked
from gnvpro.apps.reports.raster import Raster
from gnvpro.surrogate.formatting import in_unit
from gnvpro.surrogate.spaces import Array, Space

# Curves of one figure, and images.
_MOST_PANELS, _MOST_IMAGES = 6, 4
# Points along the longer side of a picture of a field, and probabilities below which nothing is shown.
_POINTS, _LEAST = 200, 1e-4
# Of the range of the draws: so far beyond it a limit is still drawn.
_WIDER = 0.3
_ACROSS = 3


def figures(result: PropagationResult) -> Iterator[tuple[str, Figure, str]]:
    """Title, figure and caption of all that there is to see."""
    level = f"{result.level:.0%}"
    if result.curves:
        yield (
            "Distributions",
            distributions(result),
            f"Chance to exceed a value, with {level} intervals from everything (light) and from the number of draws alone "
            "(dark), and the limits.",
        )
    if not result.quantities.n_observables:
        return
    space = result.quantities.space
    if space.mesh is not None or are_images(space):
        yield "Mean and standard deviation", maps(result), "Of every observable, under the law of the parameters."
    else:
        inner, outer = _nested(result)
        yield (
            "Quantiles along the axes",
            bands(result),
            f"Median, and the ranges between quantiles{inner}{outer}; thin lines are the ends of the {level} intervals of "
            "the outermost.",
        )
        if len(space.axes) == 2:
            yield "Standard deviation", spread(result), "Of every observable, under the law of the parameters."
    if probability_of(result) is not None:
        yield "Chance of the limits", chances(result), "Of every observable that has one."


@styled
def distributions(result: PropagationResult) -> Figure:
    """Chance to exceed, over the value, of the quantities that are pictured."""
    n = len(result.curves)
    columns = min(n, _ACROSS)
    rows = -(-n // columns)
    figure = Figure(figsize=(3.4 * columns + 0.6, 2.9 * rows + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (column, curve) in zip(grid, result.curves.items(), strict=False):
        _draw_distribution(axes, result, column, curve)
    for axes in grid[n:]:
        axes.set_axis_off()
    for axes in grid[:n:columns]:
        axes.set_ylabel("chance to exceed")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _draw_distribution(axes: Axes, result: PropagationResult, column: int, curve: Curve) -> None:
    of, t = curve.exceedance, curve.thresholds
    least = max(_LEAST, 1 / result.n_draws)
    if not np.isnan(of.lower).all():
        axes.fill_between(
            t, np.maximum(of.lower, least), np.maximum(of.upper, least), color=BLUE, alpha=0.2, linewidth=0
        )
    low, high = np.maximum(of.drawn_lower, least), np.maximum(of.drawn_upper, least)
    axes.fill_between(t, low, high, color=BLUE, alpha=0.45, linewidth=0)
    by = "corrected by the PDE" if result.solves is not None else "surrogate"
    axes.plot(t, np.where(curve.value >= least, curve.value, np.nan), color=BLUE, linewidth=1.4, label=by)
    if result.solves is not None:
        shown = np.where(of.surrogate >= least, of.surrogate, np.nan)
        axes.plot(t, shown, "--", color=ORANGE, linewidth=1.0, label="surrogate alone")
    axes.set_yscale("log")
    axes.set_ylim(least, 1.3)
    low, high = float(t[0]), float(t[of.surrogate >= least].max())
    for number, limit in enumerate(limit.value for limit in result.limits if limit.column == column):
        near = low - _WIDER * (high - low) <= limit <= high + _WIDER * (high - low)
        axes.plot([], [], color=RED, label=None if number else "limit")
        if near:
            axes.axvline(limit, color=RED, linewidth=1.2)
            low, high = min(low, limit), max(high, limit)
        else:
            side, text = ("right", f"limit {limit:.4g} →") if limit > high else ("left", f"← limit {limit:.4g}")
            axes.set_title(text, fontsize=8, color=RED, loc=side)
    axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(in_unit(result.quantities.names[column], result.quantities.unit(column)))


@styled
def bands(result: PropagationResult) -> Figure:
    """Quantiles along the first axis of the observables, for some places on the others."""
    space = result.quantities.space
    first = space.axes[0]
    numeric = not isinstance(first.labels[0], str)
    x = np.asarray(first.labels if numeric else range(len(first.labels)), float)
    rest = space.axes[1:]
    names = Space(rest).names if rest else ("",)
    shown = np.unique(np.linspace(0, len(names) - 1, min(_MOST_PANELS, len(names))).astype(int))
    columns = min(len(shown), _ACROSS)
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(3.1 * columns + 0.8, 2.5 * rows + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, j in zip(grid, shown, strict=False):
        _draw_bands(axes, result, x, int(j))
        axes.set_title(f"{rest[0].name} {rest[0].labels[j]}" if len(rest) == 1 else names[j], fontsize=9)
        if not numeric:
            every = max(1, len(x) // 12)
            axes.set_xticks(x[::every], [str(one) for one in first.labels[::every]], rotation=60, fontsize=8)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    for axes in grid[: len(shown)][-columns:]:
        axes.set_xlabel(labelled(first))
    for axes in grid[: len(shown) : columns]:
        axes.set_ylabel(f"observable{in_units(space)}")
    return figure


def _draw_bands(axes: Axes, result: PropagationResult, x: Array, j: int) -> None:
    own = result.quantities.n_observables

    def along(values: Array) -> Array:
        return values[:own].reshape(len(x), -1)[:, j]

    pairs = len(result.quantile_levels) // 2
    style = "-" if len(x) > 1 else "o"
    for i in range(pairs):
        low, high = result.quantiles[i], result.quantiles[-1 - i]
        axes.fill_between(x, along(low.value), along(high.value), color=BLUE, alpha=0.18 + 0.12 * i, linewidth=0)
    if pairs:
        for end, one in (("lower", result.quantiles[0]), ("upper", result.quantiles[-1])):
            axes.plot(x, along(getattr(one, end)), color=BLUE, linewidth=0.6)
    middle = result.quantiles[pairs] if len(result.quantile_levels) % 2 else result.mean
    axes.plot(x, along(middle.value), style, color=BLUE, linewidth=1.5)
    for limit in result.limits:
        if limit.column < own and limit.column % (own // len(x)) == j:
            at = x[limit.column // (own // len(x))]
            axes.plot(at, limit.value, "_", color=RED, markersize=9)


@styled
def spread(result: PropagationResult) -> Figure:
    """Standard deviation of every observable over both axes."""
    space = result.quantities.space
    values = result.deviation.value[: space.size]
    return _over_both(space, values, f"standard deviation{in_units(space)}", "viridis")


@styled
def maps(result: PropagationResult) -> Figure:
    """Mean and standard deviation of observables that are images, or a field on a mesh."""
    space = result.quantities.space
    columns = {name: one.value[: space.size] for name, one in _moments(result)}
    pictures, of = _pictures(space)
    names = image_names(pictures)[:_MOST_IMAGES]
    figure = Figure(figsize=(3.3 * len(columns) + 0.8, 2.6 * len(names) + 0.5), layout="constrained")
    grid = figure.subplots(len(names), len(columns), squeeze=False, sharex=True, sharey=True)
    for j, (title, values) in enumerate(columns.items()):
        stack = stacked(pictures, of(values))[: len(names)]
        for i, (name, picture) in enumerate(zip(names, stack, strict=True)):
            drawn = _draw_map(grid[i, j], pictures, picture)
            figure.colorbar(drawn, ax=grid[i, j], shrink=0.8, label=in_units(space).strip())
            grid[i, j].set_title(title if len(names) == 1 else f"{title}, {name}", fontsize=9)
    return figure


def _moments(result: PropagationResult) -> list[tuple[str, Estimate]]:
    return [("mean", result.mean), ("standard deviation", result.deviation)]


def _pictures(space: Space) -> tuple[Space, Any]:
    """The space of images, and what makes them of values (n_out,)."""
    if space.mesh is None:
        return space, lambda values: values
    raster = Raster.of(space, _POINTS)
    return raster.pictures, lambda values: raster(values[None])[0]


def _draw_map(axes: Axes, pictures: Space, picture: Array) -> Any:
    x, y = (np.asarray(axis.labels, float) for axis in pictures.axes[-2:])
    drawn = axes.pcolormesh(x, y, picture.T, cmap="viridis", rasterized=True)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.set_xlabel(labelled(pictures.axes[-2]))
    axes.set_ylabel(labelled(pictures.axes[-1]))
    return drawn


def probability_of(result: PropagationResult) -> Array | None:
    """Chance (n_out,) of the limit of every observable, NaN where it has none; None where most have none."""
    chance = np.full(result.quantities.n_observables, np.nan)
    for limit, one in zip(result.limits, result.exceedances, strict=True):
        if limit.column < len(chance):
            chance[limit.column] = one.value[0]
    return None if np.isnan(chance).sum() * 2 > len(chance) or len(chance) < 2 else chance


@styled
def chances(result: PropagationResult) -> Figure:
    """Chance of the limit of every observable: over two axes, as images, or as bars."""
    space, chance = result.quantities.space, probability_of(result)
    assert chance is not None
    if space.mesh is not None or are_images(space):
        pictures, of = _pictures(space)
        names = image_names(pictures)[:_MOST_IMAGES]
        figure = Figure(figsize=(3.4 * len(names) + 0.8, 3.2), layout="constrained")
        grid = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, name, picture in zip(grid, names, stacked(pictures, of(chance)), strict=False):
            drawn = _draw_map(axes, pictures, picture)
            figure.colorbar(drawn, ax=axes, shrink=0.8, label="chance of the limit")
            axes.set_title(name if len(names) > 1 else "", fontsize=9)
        return figure
    if len(space.axes) == 2:
        return _over_both(space, chance, "chance of the limit", "magma")
    figure = Figure(figsize=(7.0, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.bar(np.arange(len(chance)), chance, color=BLUE)
    every = max(1, len(chance) // 12)
    axes.set_xticks(range(0, len(chance), every), [str(name) for name in space.names[::every]], rotation=30, ha="right")
    axes.set_ylabel("chance of the limit")
    axes.axhline(0, color=GREY, linewidth=0.8)
    return figure


def _over_both(space: Space, values: Array, what: str, colours: str) -> Figure:
    first, second = space.axes
    size = min(9.0, 2.2 + 0.4 * len(first.labels)), min(6.0, 1.4 + 0.35 * len(second.labels))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values.reshape(space.shape).T, cmap=colours, aspect="auto", vmin=0, origin="lower")
    axes.grid(visible=False)
    for ticks, axis in ((axes.set_xticks, first), (axes.set_yticks, second)):
        every = max(1, len(axis.labels) // 12)
        ticks(range(0, len(axis.labels), every), [str(label) for label in axis.labels[::every]])
    axes.set_xlabel(labelled(first))
    axes.set_ylabel(labelled(second))
    figure.colorbar(image, ax=axes, label=what)
    return figure


def _nested(result: PropagationResult) -> tuple[str, str]:
    """The levels of the outermost range and of the next, in words."""
    levels = result.quantile_levels
    words = [f" {levels[i]:.4g} and {levels[-1 - i]:.4g}" for i in range(len(levels) // 2)]
    return (words[0] if words else ""), (f", and{words[1]}" if len(words) > 1 else "")
