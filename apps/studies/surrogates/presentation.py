"""The comparison as tables and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from rich.table import Table

from gnvpro.apps.reports.figure_style import COLOURS, GREY, styled
from gnvpro.apps.studies.result import study_table
from gnvpro.apps.studies.surrogates.analysis import FACTOR, STATED, Comparison, summary
from gnvpro.apps.studies.surrogates.data import DATA
from gnvpro.apps.studies.surrogates.runs import OURS

LABELS = {
    OURS: "ours", "gp": "Gaussian process", "polynomials": "sparse polynomial", "trees": "trees", "adam": "Adam",
    "kriging": "Kriging (SMT)", "ridge": "ridge",
}  # fmt: skip


def tables(comparisons: Sequence[Comparison]) -> list[Table]:
    """What each method reached where, then geometric means and worst cases."""
    methods = [method for method in LABELS if any(method in comparison.methods for comparison in comparisons)]
    title = "error (geometric mean over seeds), and CPU seconds of the fit below"
    table = study_table(title, "data", "N", *(LABELS[m] for m in methods), "ours / best peer", show_lines=True)
    for comparison in comparisons:
        cells = [_cell(comparison, method) for method in methods]
        table.add_row(
            comparison.data, f"{comparison.n:,}" if comparison.n else "all", *cells, _number(comparison.ratio)
        )
    return [table, _summary(comparisons)]


def _cell(comparison: Comparison, method: str) -> str:
    if method not in comparison.methods:
        return ""
    seconds = comparison.values(method, "cpu_seconds").values()
    return f"{_number(comparison.error(method))}\n{_number(float(np.mean(list(seconds))))} s"


def _summary(comparisons: Sequence[Comparison]) -> Table:
    table = study_table(
        "ours over the best of the peers, case by case", "data", "N", "cases", "geometric mean", "worst", "CPU s, mean",
        "most", f"stated error true within × {FACTOR:g}", "the same of the RMSE", box=None,
    )  # fmt: skip
    for line in summary(comparisons):
        table.add_row(
            line["group"], f"{line['n']:,}" if line["n"] else "all", str(line["cases"]), _number(line["over_best_peer"]),
            f"{_number(line['worst'])} ({line['worst_of']})", _number(line["cpu_seconds"]), _number(line["most_cpu_seconds"]),
            *("" if math.isnan(share) else f"{share:.0%}" for share in line["stated_within_factor"].values()),
        )  # fmt: skip
    return table


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2g}" if value < 100 else f"{value:.0f}"


def figures(comparisons: Sequence[Comparison]) -> dict[str, Figure]:
    """By file name; what nothing is known of is left out."""
    drawn = {"cost": cost(comparisons)}
    if any(not math.isnan(comparison.ratio) for comparison in comparisons):
        drawn["errors"] = errors(comparisons)
    if any(comparison.stated_over_true["stated"] for comparison in comparisons):
        drawn["stated"] = stated(comparisons)
    return drawn


@styled
def errors(comparisons: Sequence[Comparison]) -> Figure:
    """Our error over the best peer's, a row for each data set, a mark for each size."""
    shown = [comparison for comparison in comparisons if not math.isnan(comparison.ratio)]
    names = list(dict.fromkeys(comparison.data for comparison in shown))
    sizes = sorted({comparison.n for comparison in shown})
    figure = Figure(figsize=(7.0, 1.2 + 0.28 * max(1, len(names))), layout="constrained")
    axes = figure.subplots()
    for n, colour in zip(sizes, _colours(len(sizes)), strict=True):
        here = [comparison for comparison in shown if comparison.n == n]
        places = [names.index(comparison.data) for comparison in here]
        label = f"N = {n:,}" if n else "whole table"
        axes.plot([comparison.ratio for comparison in here], places, "o", color=colour, label=label, alpha=0.85)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("our error over that of the best peer (left of the line: ours is smaller)")
    figure.legend(loc="outside upper center", ncols=5)
    return figure


@styled
def cost(comparisons: Sequence[Comparison]) -> Figure:
    """Error over the smallest of all methods against CPU seconds, a mark for each case."""
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    for method, colour in zip(LABELS, (*COLOURS, GREY), strict=True):
        here = [comparison for comparison in comparisons if method in comparison.methods]
        if here:
            best = [min(comparison.error(m) for m in comparison.methods) for comparison in here]
            relative = [comparison.error(method) / least for comparison, least in zip(here, best, strict=True)]
            spent = [float(np.mean(list(comparison.values(method, "cpu_seconds").values()))) for comparison in here]
            axes.plot(spent, relative, "o", color=colour, label=LABELS[method], alpha=0.75)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("CPU s of the fit, one thread")
    axes.set_ylabel("error over the smallest of all methods")
    figure.legend(loc="outside upper center", ncols=4)
    return figure


@styled
def stated(comparisons: Sequence[Comparison]) -> Figure:
    """Our stated error against the true one; the band is the factor that is hoped for."""
    figure = Figure(figsize=(5.0, 4.6), layout="constrained")
    axes = figure.subplots()
    groups = list(dict.fromkeys(DATA[comparison.data].group for comparison in comparisons))
    everything: list[float] = []
    for group, colour in zip(groups, _colours(len(groups)), strict=True):
        rows = [row for c in comparisons if DATA[c.data].group == group for row in c.rows]
        pairs = [(row["true"], row["stated"][STATED]) for row in rows if STATED in row.get("stated", {})]
        if pairs:
            axes.plot(*zip(*pairs, strict=True), "o", color=colour, label=group, alpha=0.75)
            everything += [value for pair in pairs for value in pair]
    ends = np.array([min(everything), max(everything)])
    axes.fill_between(ends, ends / FACTOR, ends * FACTOR, color=GREY, alpha=0.2, linewidth=0)
    axes.plot(ends, ends, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("true error, as our training measures it")
    axes.set_ylabel("stated (cross-validated) error")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _colours(count: int) -> list[str]:
    return [COLOURS[j % len(COLOURS)] for j in range(count)]
