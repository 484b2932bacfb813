"""A comparison of methods as tables, and as curves against work units and seconds."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from gnvpro.apps.reports.figure_style import COLOURS, styled
from gnvpro.apps.studies.optimisers.compare_methods import MethodComparison
from gnvpro.apps.studies.optimisers.grids import LABELS
from gnvpro.apps.studies.optimisers.statistics import Band, Interval
from gnvpro.surrogate.formatting import listed
from gnvpro.surrogate.spaces import Array
from gnvpro.training.fitting.methods import METHODS


def tables(comparison: MethodComparison) -> list[Table]:
    """What each method reached, and how far the best VarPro method is ahead of it."""
    return [_results(comparison), _differences(comparison)]


def _results(comparison: MethodComparison) -> Table:
    metric, reference = comparison.metric, LABELS[comparison.reference]
    table = Table(
        "method", "setting", f"{metric.name}, best", "test", "CPU s", f"work units to {reference}'s best", "CPU s to it",
        title=f"{comparison.budget:.0f} work units, median (smallest to largest) of {len(comparison.seeds)} seeds",
        title_justify="left", box=None,
    )  # fmt: skip
    for name, trials in comparison.trials.items():
        reach, share = comparison.reach(name), comparison.share(name)
        table.add_row(
            LABELS[name],
            listed(comparison.tuned[name].setting, lambda value: f"{value:g}"),
            _spread(metric.shown(comparison.final(name))),
            _spread(metric.shown(comparison.tested(name))),
            f"{np.median([trial.cpu_seconds for trial in trials]):.2g}",
            *(_reached(values, shares) for values, shares in zip(reach, share, strict=True)),
        )
    return table


def _differences(comparison: MethodComparison) -> Table:
    ratio, best = comparison.metric.ratio, LABELS[comparison.best_varpro]
    what, where = ("ratio to it", "above 1") if ratio else ("difference from it, points", "above 0")
    table = Table(
        "method", f"validation: {what}", f"test: {what}",
        title=f"{best} (best VarPro method when tuned) ahead of: mean over seeds with its 95 % interval, {where} it "
        "is better",
        title_justify="left", box=None,
    )  # fmt: skip
    for name in comparison.trials:
        if name != comparison.best_varpro:
            intervals = comparison.advantage(name), comparison.advantage(name, comparison.tested)
            table.add_row(LABELS[name], *(_interval(interval, 1.0 if ratio else 100.0) for interval in intervals))
    return table


def _spread(values: Array) -> str:
    return f"{np.median(values):.3g} ({values.min():.3g}–{values.max():.3g})"


def _reached(values: Array, shares: Array) -> str:
    """Median with its share of the reference's, and how many seeds got there where not all did."""
    reached = int(np.isfinite(values).sum())
    count = "" if reached == len(values) else f" ({reached} of {len(values)} seeds)"
    middle = float(np.median(values))
    return f"{middle:.3g}, × {np.median(shares):.2g}{count}" if math.isfinite(middle) else f"not reached{count}"


def _interval(interval: Interval, unit: float) -> str:
    shown = f"{unit * interval.mean:.3g}"
    if interval.low is None or interval.high is None:
        return shown
    return f"{shown} ({unit * interval.low:.3g} to {unit * interval.high:.3g})"


@styled
def curves(comparison: MethodComparison) -> Figure:
    """Median over seeds, and the range over seeds shaded; VarPro methods solid, the others dashed.

    Validation is the best value so far; training is as it was when measured. Both come from one yardstick, and work and
    seconds are those of training alone.
    """
    metric = comparison.metric
    figure = Figure(figsize=(9.5, 7.0), layout="constrained")
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    for column, cost in enumerate(("work", "seconds")):
        for axes, values in zip(grid[:, column], (metric.trained, metric.best_so_far), strict=True):
            for name, trials in comparison.trials.items():
                band = Band.of([(getattr(trial.curve, cost), metric.shown(values(trial))) for trial in trials])
                _draw_band(axes, name, band, list(comparison.trials))
            axes.set_xscale("log")
            if metric.ratio:
                axes.set_yscale("log")
        best = float(metric.shown(np.median(comparison.final(comparison.reference))))
        grid[1, column].axhline(best, color="black", linewidth=0.7, linestyle=":")
        grid[1, column].annotate(
            f"{LABELS[comparison.reference]}'s best", (0.01, best), xycoords=("axes fraction", "data"),
            ha="left", va="bottom", fontsize=7,
        )  # fmt: skip
    name = metric.name.removeprefix("validation ")
    grid[0, 0].set_ylabel(f"training {name}")
    grid[1, 0].set_ylabel(f"validation {name}, best so far")
    grid[1, 0].set_xlabel("work units")
    grid[1, 1].set_xlabel("CPU s")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    return figure


def _draw_band(axes: Axes, name: str, band: Band, names: list[str]) -> None:
    eliminates = METHODS[name].eliminates
    alike = [other for other in names if METHODS[other].eliminates == eliminates]
    colour = COLOURS[alike.index(name) % len(COLOURS)]
    axes.plot(band.at, band.median, "-" if eliminates else "--", color=colour, linewidth=1.4, label=LABELS[name])
    axes.fill_between(band.at, band.low, band.high, color=colour, alpha=0.12, linewidth=0)
