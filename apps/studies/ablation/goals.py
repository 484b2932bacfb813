"""What it takes every solver to an error: work units and CPU seconds on the CDR data, with the default network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from gnvpro.apps.progress import Report
from gnvpro.apps.reports.figure_style import COLOURS, styled
from gnvpro.apps.studies.ablation.variants import DEFAULT, Problem
from gnvpro.apps.studies.comparison.methods import METHODS, set_up
from gnvpro.apps.studies.comparison.paired import first_reach
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.samples import Split
from gnvpro.training.fitting.fit import Fit

# Work units between two questions whether the last goal is reached.
_CHUNK = 20.0


class Reached(NamedTuple):
    """Work units and CPU seconds of one training to each of the goals; infinite where it was not reached."""

    work_units: list[float]
    cpu_seconds: list[float]


def reach(split: Split, method: str, seed: int, goals: Sequence[float], budget: float) -> Reached:
    """Train by the method's usual setting until the validation error is at the lowest goal or the budget is spent.

    Validation is looked at after every iteration, off the clock.
    """
    problem = Problem(split, DEFAULT)
    network = DenseNetwork(split.train.parameters.shape[1], DEFAULT.widths)
    reduced = problem.reduced(network)
    objective, theta, solver = set_up(method, reduced, network.initial(seed), budget, seed=seed)
    solver.validation_interval = 1
    fit = Fit(objective, theta, solver, problem.validation(reduced), time_validation=False)
    while objective.meter.total < budget and fit.best.validation_error > min(goals):
        if fit.advance(min(_CHUNK, budget - objective.meter.total)) != "budget_spent":
            break
    looks = [r for r in fit.history if r.validation_error is not None and r.work_units <= budget]
    work, seconds, errors = np.array([(r.work_units, r.cpu_seconds, r.validation_error) for r in looks], float).T
    return Reached([first_reach(g, work, errors) for g in goals], [first_reach(g, seconds, errors) for g in goals])


def measure_goals(
    splits: dict[int, Split],
    methods: Sequence[str],
    goals: Sequence[float],
    budget: float,
    initialisations: int,
    report: Report,
) -> dict[str, Any]:
    """Every method from several initial weights on every split."""
    runs = [(split, seed) for split in splits.values() for seed in range(initialisations)]
    found = {}
    for i, method in enumerate(methods):
        report(i, len(methods), f"to the goals: {METHODS[method].label}")
        reached = [reach(split, method, seed, goals, budget) for split, seed in runs]
        found[method] = {
            "label": METHODS[method].label,
            "work_units": [list(values) for values in zip(*(r.work_units for r in reached), strict=True)],
            "cpu_seconds": [list(values) for values in zip(*(r.cpu_seconds for r in reached), strict=True)],
        }
    return {"goals": list(goals), "budget": budget, "runs": len(runs), "methods": found}


def goal_table(found: dict[str, Any]) -> Table:
    """Medians, and how many runs reached a goal where not all did."""
    table = Table(
        title=f"CPU s, work units to a validation error, medians of {found['runs']} runs of at most "
        f"{found['budget']:g} work units",
        title_justify="left",
    )
    table.add_column("solver")
    for goal in found["goals"]:
        table.add_column(f"{100 * goal:g} %", justify="right")
    for method in found["methods"].values():
        pairs = zip(method["cpu_seconds"], method["work_units"], strict=True)
        table.add_row(method["label"], *(_cell(*pair) for pair in pairs))
    return table


def _cell(seconds: list[float], work: list[float]) -> str:
    reached = sum(map(math.isfinite, work))
    count = "" if reached == len(work) else f" ({reached} of {len(work)})"
    return f"{median(seconds):.2g}, {median(work):.0f}{count}" if math.isfinite(median(work)) else f"–{count}"


@styled
def goal_figure(found: dict[str, Any]) -> Figure:
    """Errors against the work units and CPU seconds they took: median, and the range of the runs that came there."""
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    goals = np.array(found["goals"])
    for axes, cost, name in zip(panels, ("work_units", "cpu_seconds"), ("work units", "CPU s"), strict=True):
        for i, (key, method) in enumerate(found["methods"].items()):
            costs = np.array(method[cost])
            middle = np.median(costs, axis=1)
            there = np.isfinite(middle)
            height = goals * (1.015 ** (i - len(found["methods"]) / 2))  # apart, so that ranges do not cover each other
            colour, dash = COLOURS[i % len(COLOURS)], "-" if METHODS[key].eliminates else "--"
            axes.plot(middle[there], height[there], "o", ls=dash, color=colour, ms=4, label=method["label"])
            for y, values in zip(height, costs, strict=True):
                if (reached := values[np.isfinite(values)]).size:
                    axes.plot([reached.min(), reached.max()], [y, y], color=colour, linewidth=1, alpha=0.6)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_yticks(goals, [f"{100 * goal:g} %" for goal in goals])
        axes.minorticks_off()
        axes.set_xlabel(f"{name} to it: median, range of the runs that came there")
    panels[0].set_ylabel("validation error")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure
