"""The figures of a build: error against cost, what the cost went into, where the error sits."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gnvpro.apps.build.costs import Costs
from gnvpro.apps.build.holding import Holding
from gnvpro.apps.reports.figure_style import BLUE, GREEN, GREY, ORANGE, PERCENT, RED, styled
from gnvpro.surrogate.spaces import Array

_KINDS = {"solves that only train": BLUE, "derivatives": GREEN, "fresh solves": ORANGE, "coarse solves": GREY}


@styled
def error_against_cost(record: dict[str, Any]) -> Figure:
    """Errors of samples left out and of fresh solves, round by round, beside the error asked for."""
    rounds = record["rounds"]
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(record["settings"]["error"], color=RED, linewidth=1, label="asked for")
    axes.plot(
        [one["cost"] for one in rounds], [one["estimate"] for one in rounds],
        "o-", color=BLUE, markersize=4, label="samples left out",
    )  # fmt: skip
    judged = [one for one in rounds if one["judged"] is not None and one["judged"]["mean"] > 0]
    errors = [record["settings"]["error"], *(one["estimate"] for one in rounds)]
    if judged:
        cost = [one["cost"] for one in judged]
        mean, lower, upper = (np.array([one["judged"][k] for one in judged]) for k in ("mean", "lower", "upper"))
        axes.errorbar(
            cost, mean, yerr=np.maximum([mean - lower, upper - mean], 0),
            fmt="s", color=ORANGE, markersize=4, capsize=3, linewidth=1, label="fresh solves, with their limits",
        )  # fmt: skip
        errors.extend(mean)
    axes.set(xscale="log", yscale="log", xlabel="cost of the samples (solves)", ylabel="mean error")
    axes.set_ylim(top=3 * max(errors))  # upper limits of a few solves may be far above
    for axis, formatter in ((axes.xaxis, FuncFormatter(lambda value, _: f"{value:g}")), (axes.yaxis, PERCENT)):
        axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if axis is axes.xaxis else (1, 2, 5)))
        axis.set_major_formatter(formatter)
        axis.set_minor_formatter(NullFormatter())
    axes.legend()
    return figure


@styled
def cost_by_kind(record: dict[str, Any]) -> Figure:
    """What every round's model is made of, in solves."""
    costs = Costs(**record["costs"])
    parts = np.array([_parts(Holding.of(one["has"]), costs) for one in record["rounds"]]).T
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.subplots()
    numbers, below = [one["number"] for one in record["rounds"]], np.zeros(parts.shape[1])
    for (name, colour), values in zip(_KINDS.items(), parts, strict=True):
        if values.any():
            axes.bar(numbers, values, bottom=below, color=colour, label=name, width=0.7)
            below = below + values
    axes.set(xlabel="round", ylabel="cost (solves)", xticks=numbers[:: max(len(numbers) // 15, 1)])
    axes.legend(loc="upper left")
    return figure


@styled
def errors_along(name: str, places: Array, errors: Array, target: float) -> Figure:
    """Errors of single samples along the parameter that tells most."""
    figure = Figure(figsize=(6.4, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.axhline(target, color=RED, linewidth=1, label="asked for, of their mean")
    axes.plot(places, np.maximum(errors, np.finfo(float).tiny), ".", color=BLUE, label="samples")
    axes.set(yscale="log", xlabel=name, ylabel="error of a sample")
    axes.yaxis.set_major_formatter(PERCENT)
    axes.legend()
    return figure


def _parts(has: Holding, costs: Costs) -> tuple[float, float, float, float]:
    training = has.samples + len(has.placed)
    return (
        float(training),
        training * (costs.sample(has.directions) - 1),
        float(has.fresh),
        has.coarse * costs.coarse_sample(has.coarse_directions),
    )
