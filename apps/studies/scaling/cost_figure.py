"""Cost against size, log-log, with the fitted exponents."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from gnvpro.apps.reports.figure_style import COLOURS, styled

# The factors, in the order of the columns.
FACTORS = ("samples", "width", "outputs", "depth")


def slope(rows: list[dict[str, Any]], quantity: str) -> float:
    """Exponent p of cost ~ value^p, by least squares in logarithms; NaN with fewer than two values."""
    points = [(row["value"], row[quantity]) for row in rows if row[quantity] is not None]
    if len({value for value, _ in points}) < 2:
        return math.nan
    x, y = np.log(np.array(points, float)).T
    return float(np.polyfit(x, y, 1)[0])


@styled
def cost_figure(measured: list[dict[str, Any]], goal: float, unit: str) -> Figure:
    """A column per factor; cost of a step, seconds and work units to the goal, by method."""
    quantities = {
        "seconds_per_step": f"{unit} a step",
        "seconds_to_goal": f"{unit} to error {goal:g}",
        "units_to_goal": f"work units to error {goal:g}",
    }
    figure = Figure(figsize=(3.1 * len(FACTORS), 8.2), layout="constrained")
    axes = figure.subplots(len(quantities), len(FACTORS), sharey="row", sharex="col", squeeze=False)
    colours: dict[str, str] = dict(zip(dict.fromkeys(row["method"] for row in measured), COLOURS, strict=False))
    for column, factor in enumerate(FACTORS):
        rows = [row for row in measured if row["factor"] == factor]
        for panel, quantity in zip(axes[:, column], quantities, strict=True):
            _draw_panel(panel, rows, colours, quantity)
        bottom, values = axes[-1, column], sorted({row["value"] for row in rows})
        if values[-1] < 1000:  # few decades: the values themselves
            bottom.set_xticks(values, [str(value) for value in values])
        bottom.xaxis.set_minor_formatter(NullFormatter())
        bottom.set_xlabel("outputs (dashed: not compressed)" if factor == "outputs" else factor)
    for panel, label in zip(axes[:, 0], quantities.values(), strict=True):
        panel.set_ylabel(label)
    handles = [Line2D([], [], marker="o", color=colour, markersize=4, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _draw_panel(axes: Axes, rows: list[dict[str, Any]], colours: dict[str, str], quantity: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for method, colour in colours.items():
        for compressed, style, width in ((True, "o-", 1.5), (False, "o--", 0.9)):
            mine = [row for row in rows if row["method"] == method and row["compressed"] == compressed]
            known = [(row["value"], row[quantity]) for row in mine if row[quantity] is not None]
            if not known:
                continue
            exponent = slope(mine, quantity)
            label = f"slope {exponent:.2f}" if compressed and not math.isnan(exponent) else None
            axes.plot(*zip(*known, strict=True), style, color=colour, markersize=4, linewidth=width, label=label)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=7, handlelength=1.2, labelspacing=0.2, borderpad=0.2)
