"""The figures of the ablation."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from gnvpro.apps.reports.figure_style import BLUE, GREEN, GREY, ORANGE, RED, styled

MATRICES = {
    "full": "W kept",
    "kaufman": "W eliminated (Kaufman)",
    "golub_pereyra": "W eliminated (Golub–Pereyra)",
}
_PERCENT = FuncFormatter(lambda value, _: f"{100 * value:.3g} %")


@styled
def factors(found: dict[str, dict[str, dict[str, Any]]]) -> Figure:
    """A row per variant: validation error of every seed, their median, and the range between."""
    count = sum(len(labels) for labels in found.values()) + 2 * len(found)
    figure = Figure(figsize=(7.4, 0.8 + 0.19 * count), layout="constrained")
    axes = figure.subplots()
    ticks, names, at = [], [], 0.0
    for name, labels in found.items():
        axes.text(0.005, at, name, transform=axes.get_yaxis_transform(), fontweight="bold", va="center", fontsize=8.5)
        at += 1
        for i, (label, measured) in enumerate(labels.items()):
            errors = measured["validation_error"]
            colour = BLUE if i == 0 else RED
            axes.plot([min(errors), max(errors)], [at, at], color=colour, linewidth=1.4, alpha=0.5)
            axes.plot(errors, [at] * len(errors), "|", color=colour, markersize=5, alpha=0.7)
            axes.plot(median(errors), at, "o", color=colour, markersize=5)
            ticks.append(at)
            names.append(label)
            at += 1
        at += 0.6
    axes.set_xscale("log")
    axes.set_yticks(ticks, names)
    axes.set_ylim(at, -0.9)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(_PERCENT)
    axes.set_xlabel(
        "validation error, mean relative L2: median and range over seeds\n(blue: what the others of a factor differ from)"
    )
    return figure


@styled
def last_layer(initial: dict[str, dict[str, list[float]]], spectra: dict[str, list[float]]) -> Figure:
    """Ends of trainings from different initial weights, and eigenvalues with W kept and eliminated."""
    figure = Figure(figsize=(9.2, 3.4), layout="constrained")
    ends, eigenvalues = figure.subplots(1, 2)
    for (label, found), colour in zip(initial.items(), (BLUE, ORANGE, RED), strict=False):
        errors = np.sort(found["validation_error"])
        ends.plot(errors, np.arange(1, len(errors) + 1) / len(errors), "o-", color=colour, markersize=3, label=label)
    ends.set_xscale("log")
    ends.xaxis.set_major_formatter(_PERCENT)
    ends.xaxis.set_minor_formatter(NullFormatter())
    ends.set_xlabel("validation error reached")
    ends.set_ylabel("share of initial weights")
    ends.legend(fontsize=8, title="W", title_fontsize=8)
    for (name, values), colour in zip(spectra.items(), (RED, BLUE, GREEN), strict=True):
        descending = np.array(values)[::-1]
        eigenvalues.semilogy(
            np.arange(1, len(descending) + 1), descending, color=colour, linewidth=1.5,
            label=f"{MATRICES[name]}: condition {descending[0] / descending[-1]:.1e}",
        )  # fmt: skip
    eigenvalues.set_xlabel("number")
    eigenvalues.set_ylabel("eigenvalue of the Gauss–Newton matrix")
    eigenvalues.legend(fontsize=8)
    return figure


@styled
def batches(found: list[dict[str, Any]]) -> Figure:
    """Errors against the size of the batch W is solved on."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    shown = (
        ("batch_error", "on the batch itself", BLUE),
        ("validation_error", "on validation data, W of the batch", RED),
        ("refitted_error", "on validation data, W of all samples", GREY),
    )
    sizes = [row["batch"] for row in found]
    for name, label, colour in shown:
        axes.plot(sizes, [median(row[name]) for row in found], "o-", color=colour, markersize=4, label=label)
        low, high = ([pick(row[name]) for row in found] for pick in (min, max))
        axes.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(_PERCENT)
    axes.set_xlabel("samples in a batch")
    axes.set_ylabel("mean relative L2 error")
    axes.legend(fontsize=8)
    return figure
