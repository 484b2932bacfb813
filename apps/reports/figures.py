"""The figures of the report; each function draws one and returns it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from scipy.stats import betabinom

from gnvpro.apps.reports.figure_style import BLUE, COLOURS, GREY, PERCENT, RED, in_units, labelled, styled
from gnvpro.apps.reports.runs import Run, best_so_far
from gnvpro.surrogate.trust.bands import Bands

if TYPE_CHECKING:
    from gnvpro.apps.comparison.comparison import Comparison
    from gnvpro.apps.comparison.spent import Spent

# Points of a scatter beyond which more are not seen, and dots beyond which a curve is cluttered.
_MOST_POINTS, _MOST_CURVES = 4000, 6


@styled
def convergence(runs: Sequence[Run]) -> Figure:
    """Best error so far of the chosen network of each run, over work units and over CPU seconds."""
    figure, (by_work, by_time) = _figure(8.6, 3.9, 2, sharey=True)
    for run, colour in zip(runs, COLOURS, strict=False):
        for axes, abscissa in ((by_work, "work_units"), (by_time, "cpu_seconds")):
            draw_convergence(axes, run, abscissa, colour)
    _log_axes(by_work, "work units (passes over the training data)")
    _log_axes(by_time, "CPU time (s)")
    by_work.set_ylabel("relative error")
    figure.legend(*by_work.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def draw_convergence(axes: Axes, run: Run, abscissa: str, colour: str) -> None:
    """One run: validation solid, training dashed, the candidates dropped in the race thin."""
    for candidate in run.dropped:
        x, error = best_so_far(candidate, abscissa, "validation_error")
        axes.plot(x, error, color=colour, alpha=0.25, linewidth=0.8)
    for name, style in (("validation_error", "-"), ("train_error", "--")):
        x, error = best_so_far(run.chosen, abscissa, name)
        label = f"{run.method}, {name.removesuffix('_error').replace('train', 'training')}"
        axes.plot(x, error, style, color=colour, linewidth=1.6, label=label)


@styled
def coverage(counted: Sequence[dict[str, Any]], bands: Bands) -> Figure:
    """Share of fresh samples within the bands over their level; bands that hold their level are on the diagonal."""
    figure, (axes,) = _figure(4.6, 4.2, 1)
    levels = np.array([row["level"] for row in counted])
    n, fresh = bands.n_samples, counted[0]["n_samples"]
    rank = np.ceil((n + 1) * levels - 1e-9)
    # Of one calibration, the share of fresh samples is beta-binomial.
    law = betabinom(fresh, rank, n + 1 - rank)
    low, high = law.ppf(0.025) / fresh, law.ppf(0.975) / fresh
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, zorder=1)
    axes.vlines(levels, low, high, color=GREY, linewidth=5, alpha=0.35, zorder=1)
    for name, marker, colour in (("marginal", "o", BLUE), ("simultaneous", "s", RED)):
        label = "observables, own band" if name == "marginal" else "whole samples, simultaneous band"
        axes.plot(levels, [row[name] for row in counted], marker, color=colour, markersize=5, label=label, zorder=2)
    axes.set_xlim(0.45, 1.01)
    axes.set_ylim(0.35, 1.02)
    axes.set_xlabel("level of the band")
    axes.set_ylabel("share of fresh samples in it")
    axes.legend(loc="lower right", fontsize=8)
    return figure


@styled
def parity(comparison: Comparison) -> Figure:
    """Predicted against solved observables, and what is left between them."""
    figure, (equality, remainder) = _figure(8.6, 3.9, 2)
    expected = comparison.anomalous.ravel()
    predicted = expected + (comparison.predicted - comparison.expected).ravel()
    what = "observable" if comparison.background is None else "anomalous part"
    shown = np.random.default_rng(0).permutation(len(expected))[:_MOST_POINTS]
    x, y = expected[shown], predicted[shown]
    low, high = float(expected.min()), float(expected.max())
    equality.plot([low, high], [low, high], color=GREY, linewidth=0.8, zorder=1)
    remainder.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    for axes, ordinate in ((equality, y), (remainder, y - x)):
        axes.scatter(x, ordinate, s=5, color=BLUE, alpha=0.4, linewidths=0, rasterized=True, zorder=2)
        axes.set_xlabel(f"{what} by the PDE{in_units(comparison.observables)}")
    equality.set_ylabel(f"{what} by the surrogate{in_units(comparison.observables)}")
    remainder.set_ylabel(f"surrogate − PDE{in_units(comparison.observables)}")
    return figure


@styled
def error_histogram(comparison: Comparison) -> Figure:
    """How the relative errors of the fresh samples are distributed, with the PDE's own error."""
    figure, (axes,) = _figure(4.8, 3.4, 1)
    draw_histogram(axes, comparison)
    return figure


def draw_histogram(axes: Axes, comparison: Comparison) -> None:
    """The histogram alone, on given axes."""
    errors, pde = comparison.anomalous_errors, comparison.anomalous_pde_error
    marks = [pde] if pde else []
    low, high = min([errors.min(), *marks]) * 0.8, max([errors.max(), *marks]) * 1.25
    axes.hist(errors, bins=np.geomspace(low, high, 28).tolist(), color=BLUE, alpha=0.75)
    mean = float(errors.mean())
    axes.axvline(mean, ymax=0.72, color=BLUE, linewidth=1.6, label=f"mean, {100 * mean:.2g} %")
    if pde:
        axes.axvline(
            pde, ymax=0.72, color=RED, linestyle="--", linewidth=1.6, label=f"PDE's own error, {100 * pde:.2g} %"
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(PERCENT)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("relative error of a sample" + ("" if comparison.background is None else "'s anomaly"))
    axes.set_ylabel(f"samples of {len(errors)}")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(top=1.35 * axes.get_ylim()[1])  # room for the legend
    axes.legend(loc="upper right")


@styled
def cost_of_samples(comparison: Comparison, spent: Spent) -> Figure:
    """Errors against the cost of the samples: of kinds of samples alone, of all together, and at the fresh samples."""
    figure, (axes,) = _figure(4.8, 3.4, 1)
    for one, colour in zip(spent.alternatives, COLOURS, strict=False):
        axes.plot(one.solves, one.error, "o", color=colour, label=f"{one.name}, as training states it")
    if spent.solves is not None:
        fresh = float(comparison.anomalous_errors.mean())
        axes.plot(spent.solves, fresh, "*", color="black", markersize=9, label="the surrogate at the fresh samples")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(PERCENT)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    axes.margins(0.25)
    axes.set_xlabel("cost of the samples, solves of this PDE")
    axes.set_ylabel("mean error")
    axes.legend(fontsize=8)
    return figure


@styled
def curves(comparison: Comparison) -> Figure:
    """Solved and predicted observables of the samples with the median, the 95 % and the largest error."""
    order = np.argsort(comparison.anomalous_errors)
    n = len(order)
    picked = {"median": order[n // 2], "95 %": order[min(n - 1, int(0.95 * n))], "worst": order[-1]}
    figure, all_axes = _figure(9.6, 3.3, 3, sharey=True)
    for axes, (name, i) in zip(all_axes, picked.items(), strict=True):
        draw_curves(axes, comparison, int(i))
        axes.set_title(f"{name} of {n}: error {100 * comparison.anomalous_errors[i]:.2g} %", fontsize=9)
    all_axes[0].set_ylabel(f"observable{in_units(comparison.observables)}")
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center")
    return figure


def draw_curves(axes: Axes, comparison: Comparison, sample: int) -> None:
    """One sample: lines by the PDE, dots by the surrogate; over the first axis of the observables."""
    first = comparison.observables.axes[0]
    numeric = not isinstance(first.labels[0], str)
    x = np.asarray(first.labels, float) if numeric else np.arange(len(first.labels))
    expected = comparison.expected[sample].reshape(len(x), -1)
    predicted = comparison.predicted[sample].reshape(len(x), -1)
    rest = comparison.observables.axes[1:]
    name = rest[0].name if len(rest) == 1 else "series"
    shown = np.unique(np.linspace(0, expected.shape[1] - 1, min(_MOST_CURVES, expected.shape[1])).astype(int))
    for j, colour in zip(shown, COLOURS, strict=False):
        label = f"{name} {rest[0].labels[j] if len(rest) == 1 else j}" if rest else "PDE"
        axes.plot(x, expected[:, j], color=colour, linewidth=1.2, label=label)
        axes.plot(x, predicted[:, j], ".", color=colour, markersize=5)
    axes.plot([], [], "-", color=GREY, label="PDE")
    axes.plot([], [], ".", color=GREY, label="surrogate")
    axes.set_xlabel(labelled(first))


@styled
def error_by_observable(comparison: Comparison) -> Figure:
    """Root-mean-square error of every observable, relative to its size: a map over two axes, else bars."""
    errors, axes_of = 100 * comparison.errors_by_observable, comparison.observables.axes
    if len(axes_of) != 2:
        figure, (axes,) = _figure(7.0, 3.0, 1)
        axes.bar(np.arange(len(errors)), errors, color=BLUE)
        axes.set_xlabel(axes_of[0].name if len(axes_of) == 1 else "observable")
        axes.set_ylabel("relative error (%)")
        return figure
    rows, columns = axes_of[1], axes_of[0]
    figure, (axes,) = _figure(min(9.0, 2 + 0.5 * len(columns.labels)), min(6.0, 1.3 + 0.35 * len(rows.labels)), 1)
    values = errors.reshape(comparison.observables.shape).T
    image = axes.imshow(values, cmap="viridis", aspect="auto", vmin=0)
    axes.grid(visible=False)
    for ticks, axis in ((axes.set_xticks, columns), (axes.set_yticks, rows)):
        every = max(1, len(axis.labels) // 15)
        ticks(range(0, len(axis.labels), every), [str(label) for label in axis.labels[::every]])
    axes.set_xlabel(columns.name)
    axes.set_ylabel(rows.name)
    figure.colorbar(image, ax=axes, label="relative error (%)")
    return figure


@styled
def overview(comparison: Comparison, runs: Sequence[Run]) -> Figure:
    """The result in one picture: the sample with the median error, how training got there, and the errors."""
    figure, (sample, training, errors) = _figure(11.0, 3.3, 3)
    order = np.argsort(comparison.anomalous_errors)
    draw_curves(sample, comparison, int(order[len(order) // 2]))
    sample.set_ylabel(f"observable{in_units(comparison.observables)}")
    sample.set_title("sensors of a median sample: PDE (lines), surrogate (dots)", fontsize=9)
    for run, colour in zip(runs, COLOURS, strict=False):
        draw_convergence(training, run, "cpu_seconds", colour)
    _log_axes(training, "CPU time of training (s)")
    training.set_ylabel("relative error")
    training.set_title("training", fontsize=9)
    training.set_ylim(top=30 * training.get_ylim()[1])  # room for the legend
    training.legend(loc="upper right", fontsize=8)
    draw_histogram(errors, comparison)
    errors.set_title("error against fresh PDE solves", fontsize=9)
    return figure


def _figure(width: float, height: float, columns: int, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, sharey=sharey)
    return figure, list(axes[0])


def _log_axes(axes: Axes, label: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(label)
