"""Error against cost: what a target costs, tables and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gnvpro.apps.reports.figure_style import COLOURS, PERCENT, styled


@dataclass(frozen=True)
class Curve:
    """Errors at rising costs, for every seed: what one kind of samples buys.

    `points`: cost in solves, and the errors of the seeds there.
    """

    label: str
    points: tuple[tuple[float, tuple[float, ...]], ...]

    @property
    def means(self) -> list[tuple[float, float]]:
        """Cost and geometric mean of the errors."""
        return [(cost, geometric_mean(errors)) for cost, errors in self.points]

    def cost_to(self, target: float) -> float | None:
        """Cost at which the mean error falls to the target, between two points by logarithms; None where it never does.

        A curve that starts below the target costs no more than its first point, and that is what is said.
        """
        before: tuple[float, float] | None = None
        for cost, error in self.means:
            if error <= target:
                if before is None:
                    return cost
                share = math.log(before[1] / target) / math.log(before[1] / error)
                return before[0] * (cost / before[0]) ** share
            before = cost, error
        return None


def geometric_mean(errors: Sequence[float]) -> float:
    """Of positive numbers."""
    return float(np.exp(np.log(errors).mean()))


@styled
def drawn(curves: Sequence[Curve], error: str, target: float | None = None, unit: str = "solves") -> Figure:
    """Errors against cost: a line through the means, a mark for every seed; the target is a line across."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(*zip(*curve.means, strict=True), color=colour, label=curve.label)
        for cost, errors in curve.points:
            axes.plot([cost] * len(errors), errors, "o", color=colour, markersize=3.5, alpha=0.7)
    if target is not None:
        axes.axhline(target, color="black", linewidth=0.8, linestyle=":", label=f"{100 * target:.3g} %")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(f"cost of the samples, {unit}")
    axes.set_ylabel(error)
    axes.legend()
    return figure
