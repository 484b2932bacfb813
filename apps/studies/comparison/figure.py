"""A comparison as curves: training and validation against work units and seconds."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnvpro.apps.reports.figure_style import COLOURS, styled
from gnvpro.apps.studies.comparison.comparison import Comparison
from gnvpro.apps.studies.comparison.methods import METHODS
from gnvpro.apps.studies.comparison.paired import Band
from gnvpro.apps.studies.comparison.trials import Trial
from gnvpro.surrogate.spaces import Array


@styled
def curves(comparison: Comparison) -> Figure:
    """Median over seeds, and the range over seeds shaded; VarPro methods solid, the others dashed.

    Validation is the best value so far; training is as it was at the look. Both come from one yardstick, and work and
    seconds are those of training alone.
    """
    metric = comparison.metric
    figure = Figure(figsize=(9.5, 7.0), layout="constrained")
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    for column, across in enumerate(("work", "seconds")):
        for row, of in enumerate(("training", "validation")):
            for name, trials in comparison.trials.items():
                values = [
                    metric.shown(metric.curve(trial) if of == "validation" else _trained(comparison, trial))
                    for trial in trials
                ]
                _draw(grid[row, column], name, Band.of([
                    (getattr(trial.looks, across), curve) for trial, curve in zip(trials, values, strict=True)
                ]), list(comparison.trials))  # fmt: skip
            _finish(grid[row, column], comparison, of)
    name = metric.name.removeprefix("validation ")
    grid[0, 0].set_ylabel(f"training {name}")
    grid[1, 0].set_ylabel(f"validation {name}, best so far")
    grid[1, 0].set_xlabel("work units")
    grid[1, 1].set_xlabel("CPU s")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8)
    return figure


def _trained(comparison: Comparison, trial: Trial) -> Array:
    return trial.looks.train_loss if comparison.metric.of == "loss" else trial.looks.train_error


def _draw(axes: Axes, name: str, band: Band, names: list[str]) -> None:
    own = METHODS[name].eliminates
    alike = [other for other in names if METHODS[other].eliminates == own]
    colour = COLOURS[alike.index(name) % len(COLOURS)]
    style = "-" if own else "--"
    axes.plot(band.at, band.median, style, color=colour, linewidth=1.4, label=METHODS[name].label)
    axes.fill_between(band.at, band.low, band.high, color=colour, alpha=0.12, linewidth=0)


def _finish(axes: Axes, comparison: Comparison, of: str) -> None:
    metric = comparison.metric
    axes.set_xscale("log")
    if metric.ratio:
        axes.set_yscale("log")
    if of == "validation":
        best = float(metric.shown(np.median(comparison.final(comparison.reference))))
        axes.axhline(best, color="black", linewidth=0.7, linestyle=":")
        axes.annotate(
            f"{METHODS[comparison.reference].label}'s best", (0.01, best), xycoords=("axes fraction", "data"),
            ha="left", va="bottom", fontsize=7,
        )  # fmt: skip
