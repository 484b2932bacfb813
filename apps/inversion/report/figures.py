"""Figures of a posterior: every parameter in its prior, marginals and pairs by route, chains; and the numbers behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from arviz_base import from_dict
from arviz_plots import plot_pair
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from scipy.stats import gaussian_kde, norm

from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.result import InversionResult
from gnvpro.apps.reports.figure_style import BLUE, COLOURS, GREEN, GREY, RED, styled
from gnvpro.surrogate.formatting import in_unit, shown_unit
from gnvpro.surrogate.spaces import Array, Space

# The same in all figures; none near that of the truth.
ROUTE_COLOURS = {"surrogate": BLUE, "delayed": GREEN, "pde": COLOURS[4]}
# Probability within the contours of a pair.
_CONTOURS = [0.5, 0.95]
# Contours of fewer draws are noise: then there are dots.
_FEWEST_FOR_CONTOURS = 200
# Of chains: all but the colour of the truth.
_CHAIN_COLOURS = tuple(colour for colour in COLOURS if colour != RED)
# Draws of the prior that its quantiles are taken from, and their seed.
_PRIOR_DRAWS, _SEED = 1 << 14, 0
LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def interval(inversion: InversionResult) -> Array:
    """Credible intervals (n_in, 2) by the draws of the best route, or Laplace's, cut off at the bounds, without draws."""
    if inversion.best_chains is not None:
        return inversion.best_chains.quantiles(*TAILS).T
    best, prior = inversion.map, inversion.density.prior
    ends = best.parameters[:, None] + norm.ppf(TAILS) * best.standard_deviations[:, None]
    return np.clip(ends, prior.lower[:, None], prior.upper[:, None])


def spread(inversion: InversionResult) -> Array:
    """Posterior standard deviations (n_in,) of the draws; else Laplace's or the prior's: Laplace's knows no bounds."""
    if inversion.best_chains is not None:
        return inversion.best_chains.standard_deviation
    return np.minimum(inversion.map.standard_deviations, prior_spread(inversion.density.prior))


def relative_spread(inversion: InversionResult) -> Array:
    """Posterior over prior standard deviation (n_in,): near 0 the data inform a parameter well, near 1 not at all.

    One of a parameter that is fixed.
    """
    prior = inversion.density.prior
    return np.where(prior.free, spread(inversion) / np.where(prior.free, prior_spread(prior), 1.0), 1.0)


def best_informed(inversion: InversionResult, most: int) -> list[int]:
    """At most so many parameters that vary, those that the data inform best, in the order of the space."""
    free = np.flatnonzero(inversion.density.prior.free & (spread(inversion) > 0))
    return sorted(free[np.argsort(relative_spread(inversion)[free], kind="stable")][:most].tolist())


def prior_spread(prior: Prior) -> Array:
    """Prior standard deviations (n_in,)."""
    return np.sqrt(np.diagonal(prior.moments[1]))


def prior_interval(prior: Prior) -> Array:
    """Of every parameter (n_in, 2): between its quantiles at `LEVEL`."""
    return np.quantile(_draws(prior), TAILS, axis=0).T


def prior_density(prior: Prior, parameter: int, at: Array) -> Array:
    """Density (n,) of one parameter under the prior, 0 outside its bounds; from draws for laws of several."""
    density = prior.density(parameter, at)
    if density is None:
        low, high = prior.lower[parameter], prior.upper[parameter]
        return np.where((at >= low) & (at <= high), gaussian_kde(_draws(prior)[:, parameter])(at), 0.0)
    return density


def labelled_parameter(space: Space, parameter: int) -> str:
    """Name of a parameter with its unit."""
    unit = space.unit(parameter)
    return in_unit(space.names[parameter], unit)


def _draws(prior: Prior) -> Array:
    return prior.draw(np.random.default_rng(_SEED), _PRIOR_DRAWS)


@styled
def in_prior(inversion: InversionResult) -> Figure:
    """What was learned of every free parameter: intervals by route in the prior's own, and how much narrower they are."""
    prior = inversion.density.prior
    free, names = prior.free, np.array(inversion.names)[prior.free]
    mean, deviation = prior.moments[0][free], prior_spread(prior)[free]
    rows, n_routes = np.arange(prior.n_free, dtype=float), max(len(inversion.chains), 1)
    figure = Figure(figsize=(9.2, max(1.6, 0.9 + (0.16 + 0.075 * n_routes) * prior.n_free)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2.4, 1))

    def standardised(ends: Array) -> Array:
        return (ends[..., free] - mean) / deviation

    low, high = standardised(prior_interval(prior).T)
    left.barh(rows, high - low, left=low, height=0.8, color=GREY, alpha=0.25)
    handles: list[Patch | Line2D] = [Patch(color=GREY, alpha=0.25, label=f"prior, {100 * LEVEL:g} % interval")]
    bars = [
        (chains.route, ROUTE_COLOURS[route], chains.quantiles(*TAILS)) for route, chains in inversion.chains.items()
    ]
    for i, (name, colour, ends) in enumerate(bars or [("Laplace approximation", BLUE, interval(inversion).T)]):
        at = rows + 0.6 / n_routes * (i - (n_routes - 1) / 2)
        left.hlines(at, *standardised(ends), color=colour, linewidth=2.5)
        handles.append(Line2D([], [], color=colour, linewidth=2.5, label=name))
    points: list[tuple[Array | None, dict[str, Any]]] = [
        (inversion.map.parameters, dict(label="most probable point", marker="|", color="black", markersize=8)),
        (inversion.truth, dict(label="truth", marker="d", color=RED, markersize=4)),
    ]
    for values, style in points:
        if values is not None:
            left.plot(standardised(values), rows, zorder=3, linestyle="none", **style)
            handles.append(Line2D([], [], linestyle="none", **style))
    left.set_yticks(rows, names.tolist())
    left.set(ylim=(prior.n_free - 0.4, -0.6), xlabel="(parameter − prior mean) / prior standard deviation")
    ratios = relative_spread(inversion)[free]
    drawn = right.barh(rows, ratios, height=0.6, color=bars[0][1] if bars else BLUE)
    right.bar_label(drawn, fmt="%.2g", fontsize=7, padding=2)
    right.axvline(1, color=GREY, linewidth=0.8)
    right.set(xlim=(0, 1.2 * max(1.0, float(ratios.max()))), xlabel="posterior / prior standard deviation")
    right.tick_params(left=False)
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    return figure


@styled
def pairs(inversion: InversionResult, shown: Sequence[int]) -> Figure:
    """Marginals and pairs of some parameters, the posterior of every route over the others, with prior and truth."""
    space, n, matrix = inversion.density.prior.space, len(shown), None
    best, truth = inversion.map.parameters, inversion.truth
    labels = [labelled_parameter(space, j).replace(" (", "\n(") for j in shown]
    side = min(1.55 * n + 0.9, 9.2)
    for route, chains in reversed(inversion.chains.items()):  # the best is drawn last, over the others
        still = bool((np.ptp(chains.pooled[:, shown], axis=0) == 0).any())
        few = still or len(chains.pooled) < _FEWEST_FOR_CONTOURS
        colour = ROUTE_COLOURS[route]
        visuals: dict[Any, Any] = {
            "dist": {"color": colour}, "contour": not few and {"color": colour},
            "scatter": few and {"color": colour, "alpha": 0.6}, "xlabel": False, "ylabel": False,
        }  # fmt: skip
        matrix = plot_pair(
            from_dict({"posterior": {f"y{j}": chains.draws[:, :, j] for j in shown}}),
            plot_matrix=matrix, visuals=visuals, marginal_kind="kde", levels=_CONTOURS, triangle="lower",
            backend="matplotlib", figure_kwargs=dict(figsize=(6.4, 3.2) if n == 1 else (side, side)),
        )  # fmt: skip
    assert matrix is not None
    figure, grid = matrix.viz["figure"].item(), np.asarray(matrix.viz["plot"]).reshape(n, n)
    plt.close(figure)
    for k, j in enumerate(shown):
        _dress_marginal(grid[k, k], inversion, j)
        for i in range(k, n):
            axes = grid[i, k]
            axes.axvline(best[j], color="black", linewidth=0.8, visible=i == k)
            if i > k:
                axes.plot(best[j], best[shown[i]], "x", color="black", markersize=5)
                axes.yaxis.set_major_locator(MaxNLocator(3, prune="both"))
                axes.tick_params(labelleft=k == 0)
            if truth is not None:
                axes.axvline(truth[j], color=RED, linewidth=0.8)
                if i > k:
                    axes.axhline(truth[shown[i]], color=RED, linewidth=0.8)
            axes.xaxis.set_major_locator(MaxNLocator(3, prune="both"))
            axes.grid(visible=False)
            axes.tick_params(labelsize=7)
        grid[-1, k].set_xlabel(labels[k], fontsize=8)
        if k:
            grid[k, 0].set_ylabel(labels[k], fontsize=8)
    routes = inversion.chains.items()
    handles = [Line2D([], [], color=ROUTE_COLOURS[route], label=chains.route) for route, chains in routes]
    handles += [
        Line2D([], [], color=GREY, linestyle="--", label="prior"),
        Line2D([], [], color="black", marker="x", linewidth=0.8, label="most probable point"),
    ]
    if truth is not None:
        handles.append(Line2D([], [], color=RED, linewidth=0.8, label="truth"))
    if n == 1:  # no corner is free
        figure.set_layout_engine("constrained")
        figure.legend(handles=handles, loc="outside upper center", fontsize=8, ncols=2)
    elif n == 2:  # the free corner is narrower than the legend
        height = side + 0.2 * len(handles) + 0.3
        figure.set_size_inches(side, height)
        top = 1 - (0.2 * len(handles) + 0.5) / height
        figure.subplots_adjust(left=0.9 / side, bottom=0.65 / height, top=top)
        figure.legend(handles=handles, loc="upper right", fontsize=8)
    else:
        figure.subplots_adjust(left=0.9 / side, bottom=0.65 / side)  # room for labels of two lines
        figure.legend(handles=handles, loc="upper right", fontsize=8 if n < 4 else 9, bbox_to_anchor=(0.98, 0.98))
    return figure


def _dress_marginal(axes: Axes, inversion: InversionResult, parameter: int) -> None:
    """The density of the prior under a marginal, and its range above."""
    prior = inversion.density.prior
    at = np.linspace(*axes.get_xlim(), 200)
    axes.plot(at, prior_density(prior, parameter, at), "--", color=GREY, linewidth=1)
    low, high = prior_interval(prior)[parameter]
    name = f"prior, {100 * LEVEL:g} %"
    if prior.bounded[parameter]:
        low, high, name = prior.lower[parameter], prior.upper[parameter], "prior"
    axes.set_title(f"{name}\n{low:.3g} to {high:.3g}", fontsize=7, color="#555555")
    axes.set_ylim(0, None)
    axes.set_yticks([])


@styled
def traces(inversion: InversionResult, shown: Sequence[int]) -> Figure:
    """Draws of every chain in their order: a column for every route, a row for every parameter."""
    space = inversion.density.prior.space
    figure = Figure(figsize=(9.2, 0.6 + 1.25 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), len(inversion.chains), squeeze=False, sharex="col", sharey="row")
    for column, chains in zip(grid.T, inversion.chains.values(), strict=True):
        for axes, j in zip(column, shown, strict=True):
            for number, chain in enumerate(chains.draws[:, :, j]):
                colour = _CHAIN_COLOURS[number % len(_CHAIN_COLOURS)]
                axes.plot(chain, color=colour, linewidth=0.5, alpha=0.8, rasterized=True)
            if inversion.truth is not None:
                axes.axhline(inversion.truth[j], color=RED, linewidth=0.8, zorder=3)
            told = f"{space.names[j]}: split R-hat {chains.split_rhat[j]:.3f}, {chains.effective[j]:,.0f} effective samples"
            axes.set_title(told if j != shown[0] else f"{chains.route}\n{told}", fontsize=8)
            axes.margins(x=0.01)
        column[-1].set_xlabel("draw of the chain")
    for axes, j in zip(grid[:, 0], shown, strict=True):
        axes.set_ylabel(shown_unit(space.unit(j)))
    return figure
