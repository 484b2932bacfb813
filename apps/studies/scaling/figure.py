"""The figure of the scaling study: log-log curves with their slopes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from gnvpro.apps.reports.figure_style import COLOURS, styled

# The factors, in the order of the columns.
FACTORS = ("samples", "width", "outputs", "depth")
_ROWS = (
    ("seconds_per_step", "a step"),
    ("seconds_to_goal", "to the goal"),
    ("units_to_goal", "work units to the goal"),
)


def slope(rows: list[dict[str, Any]], quantity: str) -> float:
    """Exponent p of cost ~ value^p, by least squares in logarithms; NaN with fewer than two values."""
    points = [(row["value"], row[quantity]) for row in rows if row[quantity] is not None]
    if len({value for value, _ in points}) < 2:
        return math.nan
    x, y = np.log(np.array(points, float)).T
    return float(np.polyfit(x, y, 1)[0])


@styled
def draw(measured: list[dict[str, Any]], goal: float, unit: str) -> Figure:
    """A column per factor; cost of a step, seconds and work units to the goal, by method."""
    figure = Figure(figsize=(3.1 * len(FACTORS), 8.2), layout="constrained")
    axes = figure.subplots(len(_ROWS), len(FACTORS), sharey="row", sharex="col", squeeze=False)
    methods = list(dict.fromkeys(row["method"] for row in measured))
    for across, factor in enumerate(FACTORS):
        for down, (quantity, _) in enumerate(_ROWS):
            _panel(axes[down, across], [row for row in measured if row["factor"] == factor], methods, quantity)
        values = sorted({row["value"] for row in measured if row["factor"] == factor})
        if values[-1] < 1000:  # few decades: the values themselves
            axes[-1, across].set_xticks(values, [str(value) for value in values])
        axes[-1, across].xaxis.set_minor_formatter(NullFormatter())
        axes[-1, across].set_xlabel("outputs (dashed: not compressed)" if factor == "outputs" else factor)
    axes[0, 0].set_ylabel(f"{unit} a step")
    axes[1, 0].set_ylabel(f"{unit} to error {goal:g}")
    axes[2, 0].set_ylabel(f"work units to error {goal:g}")
    handles = [
        axes[0, 0].plot([], [], "o-", color=colour, markersize=4, label=method)[0]
        for method, colour in zip(methods, COLOURS, strict=False)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(methods))
    return figure


def _panel(axes: Axes, rows: list[dict[str, Any]], methods: list[str], quantity: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for method, colour in zip(methods, COLOURS, strict=False):
        for compressed, style in ((True, "o-"), (False, "o--")):
            mine = [row for row in rows if row["method"] == method and row["compressed"] == compressed]
            known = [(row["value"], row[quantity]) for row in mine if row[quantity] is not None]
            if not known:
                continue
            fitted = slope(mine, quantity)
            label = f"slope {fitted:.2f}" if compressed and not math.isnan(fitted) else None
            width = {True: 1.5, False: 0.9}[compressed]
            axes.plot(*zip(*known, strict=True), style, color=colour, markersize=4, linewidth=width, label=label)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=7, handlelength=1.2, labelspacing=0.2, borderpad=0.2)
