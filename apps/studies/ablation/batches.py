"""Variable projection on minibatches: W solved exactly on the samples of the batch, then one step of the network.

A batch with no more samples than there are features is fitted perfectly whatever the features are, so it has nothing to
teach; larger ones teach what their samples say. This is why variable projection wants large batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean, median
from typing import Any, NamedTuple, cast

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from rich.table import Table
from torch import Tensor

from gnvpro.apps.reports.figure_style import BLUE, GREY, PERCENT, RED, styled
from gnvpro.apps.studies.ablation.variants import DEFAULT, task_of
from gnvpro.apps.studies.result import study_table
from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.objectives.protocol import OuterLayer
from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.samples import Split
from gnvpro.training.solvers.first_order import Rule

# Points over which the errors at the end are averaged: batches differ.
_LAST = 10


class BatchMeasured(NamedTuple):
    """Mean relative L2 errors at the end of a training; `refitted`: of validation data, W solved on all samples."""

    batch_error: float
    validation_error: float
    refitted_error: float
    steps: int


class _Weights(NamedTuple):
    network_weights: Tensor
    outer: OuterLayer


def measure_batches(
    splits: Mapping[int, Split], sizes: tuple[int, ...], budget: float, rate: float, report: Report
) -> list[dict[str, Any]]:
    """Every size on every split: a row a size, its numbers one a split."""
    rows = []
    for i, size in enumerate(sizes):
        report(i, len(sizes), f"batches of {size}")
        batch = min(size, *(len(split.train) for split in splits.values()))
        measured = [train_on_batches(split, batch, seed, budget, rate) for seed, split in splits.items()]
        rows.append({"batch": batch, **{name: [getattr(m, name) for m in measured] for name in BatchMeasured._fields}})
    return rows


def train_on_batches(split: Split, batch: int, seed: int, budget: float, rate: float) -> BatchMeasured:
    """Adam on theta, a fresh random batch at every step, within a budget of work units."""
    task = task_of(split, DEFAULT, seed)
    whole, theta = task.in_memory, task.theta
    everything = cast(LeastSquaresLayer, whole.elimination)
    n, generator = len(whole.inputs), torch.Generator().manual_seed(seed)
    rule = Rule("adam", rate, budget)
    update = rule.update(theta)
    steps, spent, batch_errors, validation_errors = max(1, round(budget * n / (2 * batch))), 0.0, [], []
    for step in range(steps):
        index = torch.randperm(n, generator=generator)[:batch]
        part = reduced_least_squares(
            whole.network,
            whole.inputs[index],
            everything.targets[index],
            row_weights=everything.row_weights[index],
            alpha_w=everything.alpha_w,
            alpha_theta=whole.regulariser,
        )
        point = part.at(theta.clone())
        if step >= steps - _LAST:
            batch_errors.append(point.training_error())
            # The targets of the batch are compressed already, and W is in these coordinates.
            weights = _Weights(point.theta, OuterLayer(point.outer_weights.t()))
            validation_errors.append(task.validation.measure(weights)[1])
        update(point.gradient, rule.rate_at(spent))
        spent += 2 * batch / n
    refitted = task.validation.measure(whole.at(theta))[1]
    return BatchMeasured(fmean(batch_errors), fmean(validation_errors), refitted, steps)


def batch_table(rows: list[dict[str, Any]], budget: float) -> Table:
    """Medians over splits."""
    title = f"W solved on minibatches, Adam on the network, {budget:g} work units"
    table = study_table(title, "batch", "error on the batch", "validation", "validation, W of all samples")
    for row in rows:
        errors = (percent(median(row[f"{name}_error"])) for name in ("batch", "validation", "refitted"))
        table.add_row(str(row["batch"]), *errors)
    return table


@styled
def batch_figure(rows: list[dict[str, Any]]) -> Figure:
    """Errors against the size of the batch W is solved on."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    shown = (
        ("batch_error", "on the batch itself", BLUE),
        ("validation_error", "on validation data, W of the batch", RED),
        ("refitted_error", "on validation data, W of all samples", GREY),
    )
    sizes = [row["batch"] for row in rows]
    for name, label, colour in shown:
        axes.plot(sizes, [median(row[name]) for row in rows], "o-", color=colour, markersize=4, label=label)
        low, high = ([of(row[name]) for row in rows] for of in (min, max))
        axes.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("samples in a batch")
    axes.set_ylabel("mean relative L2 error")
    axes.legend(fontsize=8)
    return figure
