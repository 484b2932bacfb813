"""What it takes every solver to an error: work units and CPU seconds on the CDR data, with the default network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from gnvpro.apps.reports.figure_style import COLOURS, styled
from gnvpro.apps.studies.ablation.variants import DEFAULT, task_of
from gnvpro.apps.studies.optimisers.grids import LABELS
from gnvpro.apps.studies.optimisers.statistics import first_reach
from gnvpro.apps.studies.result import study_table
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.samples import Split
from gnvpro.training.fitting.methods import METHODS, fit_by

# Work units between two checks whether the last goal is reached.
_CHUNK = 20.0


class Reached(NamedTuple):
    """Work units and CPU seconds of one training to each of the goals; infinite where it was not reached."""

    work_units: list[float]
    cpu_seconds: list[float]


def reach(split: Split, method: str, seed: int, goals: Sequence[float], budget: float) -> Reached:
    """Train by the method's usual setting until the validation error is at the lowest goal or the budget is spent.

    Validation is measured after every iteration, off the clock.
    """
    fit = fit_by(method, task_of(split, DEFAULT, seed), budget, None, seed, compared=True)
    meter = fit.objective.meter
    while meter.total < budget and fit.best.validation_error > min(goals):
        if fit.advance(min(_CHUNK, budget - meter.total)) != "budget_spent":
            break
    records = [r for r in fit.history if r.validation_error is not None and r.work_units <= budget]
    work, seconds, errors = np.array([(r.work_units, r.cpu_seconds, r.validation_error) for r in records], float).T
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
    by_method = {}
    for i, method in enumerate(methods):
        report(i, len(methods), f"to the goals: {LABELS[method]}")
        reached = [reach(split, method, seed, goals, budget) for split, seed in runs]
        costs = {name: np.transpose([getattr(r, name) for r in reached]).tolist() for name in Reached._fields}
        by_method[method] = {"label": LABELS[method], **costs}
    return {"goals": list(goals), "budget": budget, "runs": len(runs), "methods": by_method}


def goal_table(reached: dict[str, Any]) -> Table:
    """Medians, and how many runs reached a goal where not all did."""
    runs = f"medians of {reached['runs']} runs of at most {reached['budget']:g} work units"
    title = f"CPU s, work units to a validation error, {runs}"
    table = study_table(title, "solver", *(f"{100 * goal:g} %" for goal in reached["goals"]))
    for method in reached["methods"].values():
        pairs = zip(method["cpu_seconds"], method["work_units"], strict=True)
        table.add_row(method["label"], *(_cell(*pair) for pair in pairs))
    return table


def _cell(seconds: list[float], work: list[float]) -> str:
    reached = sum(map(math.isfinite, work))
    count = "" if reached == len(work) else f" ({reached} of {len(work)})"
    return f"{median(seconds):.2g}, {median(work):.0f}{count}" if math.isfinite(median(work)) else f"–{count}"


@styled
def goal_figure(reached: dict[str, Any]) -> Figure:
    """Errors against the work units and CPU seconds they took: median, and the range of the runs that reached it."""
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    goals = np.array(reached["goals"])
    for axes, cost, name in zip(panels, ("work_units", "cpu_seconds"), ("work units", "CPU s"), strict=True):
        for i, (key, method) in enumerate(reached["methods"].items()):
            costs = np.array(method[cost])
            middle = np.median(costs, axis=1)
            there = np.isfinite(middle)
            height = goals * (
                1.015 ** (i - len(reached["methods"]) / 2)
            )  # apart, so that ranges do not cover each other
            colour, dash = COLOURS[i % len(COLOURS)], "-" if METHODS[key].eliminates else "--"
            axes.plot(middle[there], height[there], "o", ls=dash, color=colour, ms=4, label=method["label"])
            for y, values in zip(height, costs, strict=True):
                if (finite := values[np.isfinite(values)]).size:
                    axes.plot([finite.min(), finite.max()], [y, y], color=colour, linewidth=1, alpha=0.6)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_yticks(goals, [f"{100 * goal:g} %" for goal in goals])
        axes.minorticks_off()
        axes.set_xlabel(f"{name} to it: median, range of the runs that reached it")
    panels[0].set_ylabel("validation error")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure
