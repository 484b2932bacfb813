"""Figures of the data fit: observed beside fitted, and what is left in units of the noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import norm, t

from gnvpro.apps.inversion.result import InversionResult
from gnvpro.apps.reports.figure_style import BLUE, COLOURS, GREY, RED, in_units, labelled, styled
from gnvpro.apps.reports.images import draw_image, image_names, stacked
from gnvpro.pde_data.problems.contract import background_of
from gnvpro.surrogate.spaces import Array, Space

# Images and curves that are shown of many.
_MOST_IMAGES, _MOST_CURVES = 4, 6
# Residual images end here, in standard deviations; a histogram at least here, and at most there.
_RESIDUAL_RANGE, _FARTHEST = 4.0, 10.0
_MISSING = "#d0d0d0"


def standardised(inversion: InversionResult) -> Array:
    """Fitted less observed in units of the noise of each observable (n_out,), repeats averaged; NaN where there is none.

    Where the noise is correlated these are not independent, as `InversionResult.residuals` are.
    """
    observed, scales = inversion.density.by_observable
    return (inversion.fitted - observed) / scales


def largest_residuals(inversion: InversionResult) -> list[int]:
    """Which images are shown: those with the largest residuals, in their order."""
    stack = stacked(inversion.density.solves.observables, standardised(inversion) ** 2)
    size = np.nan_to_num(stack).sum(axis=(1, 2)) / np.maximum(np.isfinite(stack).sum(axis=(1, 2)), 1)
    return sorted(np.argsort(-size, kind="stable")[:_MOST_IMAGES].tolist())


@styled
def images(inversion: InversionResult) -> Figure:
    """Observed and fitted images as log10 |·|, of the anomaly where there is a background, and the residuals."""
    space = inversion.density.solves.observables
    background = None if inversion.problem is None else background_of(inversion.problem)
    base = np.zeros(space.size) if background is None else background
    what = "" if background is None else " anomaly"
    observed = stacked(space, inversion.density.by_observable[0] - base)
    fitted = stacked(space, inversion.fitted - base)
    residuals, names, shown = stacked(space, standardised(inversion)), image_names(space), largest_residuals(inversion)
    figure = Figure(figsize=(9.2, 2.45 * len(shown) + 0.6), layout="constrained")
    grid = figure.subplots(len(shown), 3, squeeze=False, sharex=True, sharey=True)
    top = float(np.log10(max(np.nanmax(np.abs(observed[shown])), np.finfo(float).tiny)))
    values: Any = None
    left: Any = None
    for row, i in zip(grid, shown, strict=True):
        values = draw_image(row[0], space, observed[i], top)
        draw_image(row[1], space, fitted[i], top)
        left = _draw_residuals(row[2], space, residuals[i])
        row[0].set_ylabel(f"{names[i]}\n{labelled(space.axes[-1])}")
        for axes in row:
            axes.set_facecolor(_MISSING)
    for axes, title in zip(grid[0], (f"observed{what}", f"fitted{what}", "fitted − observed"), strict=True):
        axes.set_title(title, fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel(labelled(space.axes[-2]))
    figure.colorbar(values, ax=grid[:, :2].ravel().tolist(), shrink=0.8, label=f"log10 |·|{in_units(space)}")
    figure.colorbar(left, ax=grid[:, 2].tolist(), shrink=0.8, extend="both", label="standard deviations of the noise")
    return figure


def _draw_residuals(axes: Axes, space: Space, values: Array) -> Any:
    x, y = (np.asarray(axis.labels, float) for axis in space.axes[-2:])
    top = _RESIDUAL_RANGE
    picture = axes.pcolormesh(x, y, values.T, vmin=-top, vmax=top, cmap="RdBu_r", rasterized=True)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    return picture


@styled
def curves(inversion: InversionResult) -> Figure:
    """Observed (dots with bars of one standard deviation) and fitted (lines) over the first axis of the observables."""
    space, posterior = inversion.density.solves.observables, inversion.density
    first, rest = space.axes[0], space.axes[1:]
    numeric = not isinstance(first.labels[0], str)
    x = np.asarray(first.labels, float) if numeric else np.arange(len(first.labels))
    fitted = inversion.fitted.reshape(len(x), -1)
    at, series = np.divmod(posterior.places, fitted.shape[1])
    scales, n = posterior.noise_of_data.scales, fitted.shape[1]
    shown = np.unique(np.linspace(0, n - 1, min(_MOST_CURVES, n)).astype(int))
    figure = Figure(figsize=(9.2, 3.6), layout="constrained")
    axes = figure.subplots()
    for j, colour in zip(shown, COLOURS, strict=False):
        label = f"{rest[0].name} {rest[0].labels[j]}" if len(rest) == 1 else f"series {j}" if rest else "fitted"
        style = dict(fmt="o", markersize=3, elinewidth=0.8, color=colour)
        here = series == j
        axes.errorbar(x[at[here]], posterior.values[here], yerr=scales[here], **style)  # pyright: ignore[reportArgumentType]
        axes.plot(x, fitted[:, j], color=colour, linewidth=1.2, label=label)
    axes.errorbar([], [], yerr=[], fmt="o", markersize=3, elinewidth=0.8, color=GREY, label="observed ± noise")
    if not numeric and len(x) <= 12:
        axes.set_xticks(x, [str(label) for label in first.labels])
    axes.set_xlabel(labelled(first) if numeric or len(x) <= 12 else f"{first.name}, by number")
    axes.set_ylabel(f"observable{in_units(space)}")
    figure.legend(loc="outside right center", fontsize=8)
    return figure


@styled
def residuals(inversion: InversionResult) -> Figure:
    """Residuals in units of the noise: over the number of the observable, and their law beside the standard normal."""
    figure = Figure(figsize=(9.2, 3.1), layout="constrained")
    places, law = figure.subplots(1, 2, width_ratios=(1.6, 1))
    posterior = inversion.density
    values = (posterior.predicted(inversion.fitted[None])[0] - posterior.values) / posterior.noise_of_data.scales
    places.axhspan(-2, 2, color=GREY, alpha=0.12, linewidth=0)
    places.axhline(0, color=GREY, linewidth=0.8)
    places.set_xlim(-0.5, len(inversion.fitted) - 0.5)
    size = 16 if len(values) < 200 else 4
    places.scatter(posterior.places, values, s=size, color=BLUE, linewidths=0, alpha=0.8, rasterized=True)
    places.set_xlabel("number of the observable")
    places.xaxis.set_major_locator(MaxNLocator(integer=True))
    places.set_ylabel("(fitted − observed) / noise")
    whitened = inversion.residuals
    far = float(np.clip(1.05 * np.abs(whitened).max(), _RESIDUAL_RANGE, _FARTHEST))
    beyond = int((np.abs(whitened) > far).sum())
    told = f"{len(whitened):,} residuals" + (f", {beyond} beyond ±{far:g} in the last bins" if beyond else "")
    bins = np.linspace(-far, far, int(np.clip(2 * np.sqrt(len(whitened)), 8, 60)) + 1)
    law.hist(np.clip(whitened, -far, far), bins=bins.tolist(), density=True, color=BLUE, alpha=0.6, label=told)
    x = np.linspace(-far, far, 300)
    noise = posterior.noise
    name = f"Student's t({noise.degrees_of_freedom:g})" if noise.heavy_tailed else "standard normal"
    law.plot(
        x,
        t.pdf(x, noise.degrees_of_freedom) if noise.heavy_tailed else norm.pdf(x),
        color=RED,
        linewidth=1.4,
        label=name,
    )
    law.set_xlabel("decorrelated residual / noise" if noise.correlated else "residual / noise")
    law.set_ylabel("density")
    law.set_ylim(top=1.3 * law.get_ylim()[1])  # room for the legend
    law.legend(loc="upper right", fontsize=8)
    return figure
