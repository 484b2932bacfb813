"""Figures of a posterior: every parameter in its prior, marginals and pairs by route, and the chains themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import corner
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon
from matplotlib.ticker import MaxNLocator

from gnvpro.apps.inversion.report.marginals import (
    LEVEL,
    interval,
    labelled_parameter,
    prior_density,
    prior_interval,
    prior_spread,
    relative_spread,
    unit,
)
from gnvpro.apps.inversion.result import Inversion
from gnvpro.apps.inversion.sampling.chains import Chains
from gnvpro.apps.reports.figure_style import BLUE, COLOURS, GREEN, GREY, RED, styled
from gnvpro.surrogate.spaces import Array

# None near that of the truth.
ROUTE_COLOURS = {"surrogate": BLUE, "delayed": GREEN, "pde": COLOURS[4]}
# Probability within the contours of a pair.
_CONTOURS = (0.5, 0.95)
# Contours of fewer draws are noise: then there are dots.
_FEWEST_FOR_CONTOURS = 200
_MOST_BINS = 28
# Of chains: all but the colour of the truth.
_CHAIN_COLOURS = tuple(colour for colour in COLOURS if colour != RED)


def route_colour(route: str) -> str:
    """Of a route, the same in all figures."""
    return ROUTE_COLOURS.get(route, COLOURS[5])


@styled
def in_prior(inversion: Inversion) -> Figure:
    """What was learned of every parameter: intervals by route in the prior's own, and how much narrower they are."""
    prior, names = inversion.posterior.prior, inversion.names
    mean, deviation = prior.moments[0], prior_spread(prior)
    rows, routes = np.arange(prior.size, dtype=float), list(inversion.chains.items())
    height = max(1.6, 0.9 + (0.16 + 0.075 * max(len(routes), 1)) * prior.size)
    figure = Figure(figsize=(9.2, height), layout="constrained")
    where, learned = figure.subplots(1, 2, sharey=True, width_ratios=(2.4, 1))
    bounds = (prior_interval(prior) - mean[:, None]) / deviation[:, None]
    where.barh(rows, np.ptp(bounds, axis=1), left=bounds[:, 0], height=0.8, color=GREY, alpha=0.25)
    handles: list[Patch | Line2D] = [Patch(color=GREY, alpha=0.25, label=f"prior, {100 * LEVEL:g} % interval")]
    step = 0.6 / max(len(routes), 1)
    for i, (route, chains) in enumerate(routes):
        tail = (1 - LEVEL) / 2
        ends = (chains.quantiles(tail, 1 - tail) - mean) / deviation
        at = rows + step * (i - (len(routes) - 1) / 2)
        where.hlines(at, *ends, color=route_colour(route), linewidth=2.5)
        handles.append(Line2D([], [], color=route_colour(route), linewidth=2.5, label=chains.route))
    if not routes:
        ends = (interval(inversion).T - mean) / deviation
        where.hlines(rows, *ends, color=BLUE, linewidth=2.5)
        handles.append(Line2D([], [], color=BLUE, linewidth=2.5, label="Laplace approximation"))
    handles += _marks(where, rows, inversion, mean, deviation)
    where.set_yticks(rows, names)
    where.set_ylim(prior.size - 0.4, -0.6)
    where.set_xlabel("(parameter − prior mean) / prior standard deviation")
    ratios = relative_spread(inversion)
    bars = learned.barh(rows, ratios, height=0.6, color=route_colour(routes[0][0]) if routes else BLUE)
    learned.bar_label(bars, fmt="%.2g", fontsize=7, padding=2)
    learned.axvline(1, color=GREY, linewidth=0.8)
    learned.set_xlim(0, 1.2 * max(1.0, float(ratios.max())))
    learned.set_xlabel("posterior / prior standard deviation")
    learned.tick_params(left=False)
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _marks(axes: Axes, rows: Array, inversion: Inversion, mean: Array, deviation: Array) -> list[Line2D]:
    """Most probable point and truth among the intervals; what the legend says of them."""
    points = [("most probable point", inversion.best.parameters, "|", "black")]
    if inversion.truth is not None:
        points.append(("truth", inversion.truth, "d", RED))
    handles = []
    for name, values, marker, colour in points:
        style: dict[str, Any] = dict(
            marker=marker, color=colour, linestyle="none", markersize=8 if marker == "|" else 4
        )
        axes.plot((values - mean) / deviation, rows, zorder=3, **style)
        handles.append(Line2D([], [], label=name, **style))
    return handles


@styled
def pairs(inversion: Inversion, shown: Sequence[int]) -> Figure:
    """Marginals and pairs of some parameters, the posterior of every route over the others, with prior and truth."""
    space, n = inversion.posterior.prior.space, len(shown)
    ranges = _ranges(inversion, shown)
    side = min(1.55 * n + 0.9, 9.2)
    figure = Figure(figsize=(6.4, 3.2) if n == 1 else (side, side))
    labels = [labelled_parameter(space, j).replace(" (", "\n(") for j in shown]
    # The answer is drawn last, over the others.
    for route, chains in reversed(inversion.chains.items()):
        few = len(chains.pooled) < _FEWEST_FOR_CONTOURS
        corner.corner(
            chains.pooled[:, shown],
            fig=figure,
            bins=_bins(len(chains.pooled)),
            range=ranges,
            labels=labels,
            color=route_colour(route),
            levels=_CONTOURS,
            smooth=None if few else 1.0,
            plot_datapoints=few,
            plot_contours=not few,
            plot_density=False,
            no_fill_contours=True,
            label_kwargs={"fontsize": 8},
            hist_kwargs={"density": True},
            data_kwargs={"alpha": 0.6, "ms": 3},
            quiet=True,
        )
    grid = np.array(figure.axes).reshape(n, n)
    for k, j in enumerate(shown):
        _dress_marginal(grid[k, k], inversion, j, ranges[k])
    for i, up in enumerate(shown):
        for k, across in enumerate(shown[: i + 1]):
            _mark_points(grid[i, k], inversion, across, None if i == k else up)
    for axes in figure.axes:
        axes.grid(visible=False)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(True)
    for i, k in zip(*np.tril_indices(n), strict=True):
        grid[i, k].xaxis.set_major_locator(MaxNLocator(3, prune="both"))
        if i > k:
            grid[i, k].yaxis.set_major_locator(MaxNLocator(3, prune="both"))
    _place_legend(figure, inversion, n)
    return figure


def _mark_points(axes: Axes, inversion: Inversion, across: int, up: int | None) -> None:
    """Most probable point and truth in the panel of a marginal (`up` is None) or a pair."""
    best, truth = inversion.best.parameters, inversion.truth
    if up is None:
        axes.axvline(best[across], color="black", linewidth=0.8)
    else:
        axes.plot(best[across], best[up], "x", color="black", markersize=5)
    if truth is not None:
        axes.axvline(truth[across], color=RED, linewidth=0.8)
        if up is not None:
            axes.axhline(truth[up], color=RED, linewidth=0.8)


def _bins(n_draws: int) -> int:
    """Bins of a histogram of so many draws (Rice's rule), within what is legible."""
    return int(np.clip(2 * n_draws ** (1 / 3), 8, _MOST_BINS))


def _dress_marginal(axes: Axes, inversion: Inversion, parameter: int, shown: tuple[float, float]) -> None:
    """The prior under a marginal; most probable point; the prior's range above."""
    prior = inversion.posterior.prior
    at = np.linspace(*shown, 200)
    density = prior_density(prior, parameter, at)
    axes.plot(at, density, "--", color=GREY, linewidth=1)
    low, high = prior_interval(prior)[parameter]
    what = f"prior, {100 * LEVEL:g} %"
    if not (prior.simplex or prior.normal[parameter]):
        low, high, what = prior.lower[parameter], prior.upper[parameter], "prior"
    axes.set_title(f"{what}\n{low:.3g} to {high:.3g}", fontsize=7, color="#555555")
    # Room for the highest of the curves, that of the prior among them.
    heights = [patch.get_xy()[:, 1].max() for patch in axes.patches if isinstance(patch, Polygon)]
    axes.set_ylim(0, 1.15 * max(*heights, float(density.max())))


def _ranges(inversion: Inversion, shown: Sequence[int]) -> list[tuple[float, float]]:
    """Of the axes: all routes' draws but a few, best point and truth, within the bounds of the prior."""
    prior, ranges = inversion.posterior.prior, []
    for j in shown:
        ends = [one.quantiles(0.001, 0.999)[:, j] for one in inversion.chains.values()]
        points = [inversion.best.parameters[j]] + ([] if inversion.truth is None else [inversion.truth[j]])
        values = np.concatenate([*ends, points])
        low, high = float(values.min()), float(values.max())
        room = 0.08 * (high - low) or 0.05 * float(prior_spread(prior)[j])
        # A little beyond a bound, so that what piles up there is seen.
        edge = 0.2 * room
        ranges.append((max(low - room, prior.lower[j] - edge), min(high + room, prior.upper[j] + edge)))
    return ranges


def _place_legend(figure: Figure, inversion: Inversion, n: int) -> None:
    handles = [Line2D([], [], color=route_colour(route), label=one.route) for route, one in inversion.chains.items()]
    handles += [
        Line2D([], [], color=GREY, linestyle="--", label="prior"),
        Line2D([], [], color="black", marker="x", linewidth=0.8, label="most probable point"),
    ]
    if inversion.truth is not None:
        handles.append(Line2D([], [], color=RED, linewidth=0.8, label="truth"))
    figure.subplots_adjust(top=1 - 0.42 / figure.get_size_inches()[1])
    if n == 1:  # no corner is free
        figure.subplots_adjust(top=0.62, bottom=0.24, left=0.1, right=0.95)
        figure.legend(handles=handles, loc="upper center", fontsize=8, ncols=2)
    else:
        figure.legend(handles=handles, loc="upper right", fontsize=8 if n < 4 else 9, bbox_to_anchor=(0.98, 0.98))


@styled
def traces(inversion: Inversion, shown: Sequence[int]) -> Figure:
    """Draws of every chain in their order: a column for every route, a row for every parameter."""
    space, routes = inversion.posterior.prior.space, list(inversion.chains.items())
    n = len(shown)
    figure = Figure(figsize=(9.2, 0.6 + 1.25 * n), layout="constrained")
    grid = figure.subplots(n, len(routes), squeeze=False, sharex="col", sharey="row")
    for column, (_, chains) in enumerate(routes):
        for row, j in enumerate(shown):
            _draw_trace(grid[row, column], chains, j)
            if inversion.truth is not None:
                grid[row, column].axhline(inversion.truth[j], color=RED, linewidth=0.8, zorder=3)
        grid[0, column].set_title(f"{chains.route}\n{grid[0, column].get_title()}", fontsize=8)
        grid[-1, column].set_xlabel("draw of the chain")
    for row, j in enumerate(shown):
        grid[row, 0].set_ylabel(unit(space, j))
    return figure


def _draw_trace(axes: Axes, chains: Chains, parameter: int) -> None:
    for number, chain in enumerate(chains.draws[:, :, parameter]):
        axes.plot(chain, color=_CHAIN_COLOURS[number % len(_CHAIN_COLOURS)], linewidth=0.5, alpha=0.8, rasterized=True)
    rhat, effective = chains.split_rhat[parameter], chains.effective[parameter]
    name = chains.space.names[parameter]
    axes.set_title(f"{name}: split R-hat {rhat:.3f}, {effective:,.0f} effective samples", fontsize=8)
    axes.margins(x=0.01)
