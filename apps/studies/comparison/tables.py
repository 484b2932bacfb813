"""A comparison as tables."""

from __future__ import annotations

import math

import numpy as np
from rich.table import Table

from gnvpro.apps.studies.comparison.comparison import Comparison
from gnvpro.apps.studies.comparison.methods import METHODS, Setting
from gnvpro.apps.studies.comparison.paired import Interval
from gnvpro.surrogate.spaces import Array


def tables(comparison: Comparison) -> list[Table]:
    """What each method reached, and how far the best VarPro method is ahead of it."""
    return [_results(comparison), _differences(comparison)]


def _results(comparison: Comparison) -> Table:
    metric, reference = comparison.metric, METHODS[comparison.reference].label
    table = Table(
        "method", "setting", f"{metric.name}, best", "test", "CPU s", f"work units to {reference}'s best", "CPU s to it",
        title=f"{comparison.budget:.0f} work units, median (smallest to largest) of {comparison.n_seeds} seeds",
        title_justify="left", box=None,
    )  # fmt: skip
    for name, trials in comparison.trials.items():
        reach, share = comparison.reach(name), comparison.share(name)
        table.add_row(
            METHODS[name].label,
            _setting(comparison.tuned[name].setting),
            _spread(metric.shown(comparison.final(name))),
            _spread(metric.shown(comparison.tested(name))),
            f"{np.median([trial.cpu_seconds for trial in trials]):.2g}",
            *(_reached(values, shares) for values, shares in zip(reach, share, strict=True)),
        )
    return table


def _differences(comparison: Comparison) -> Table:
    ratio, champion = comparison.metric.ratio, METHODS[comparison.champion].label
    what = "ratio to it" if ratio else "difference from it, points"
    table = Table(
        "method", f"validation: {what}", f"test: {what}",
        title=f"{champion} (best VarPro method when tuned) ahead of: mean over seeds with its 95 % interval"
        + (", above 1 it is better" if ratio else ", above 0 it is better"),
        title_justify="left", box=None,
    )  # fmt: skip
    for name in comparison.trials:
        if name != comparison.champion:
            found = comparison.advantage(name), comparison.advantage(name, comparison.tested)
            table.add_row(METHODS[name].label, *(_interval(interval, ratio) for interval in found))
    return table


def _setting(setting: Setting) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in setting.items())


def _spread(values: Array) -> str:
    return f"{np.median(values):.3g} ({values.min():.3g}–{values.max():.3g})"


def _reached(values: Array, shares: Array) -> str:
    """Median with its share of the reference's, and how many seeds got there where not all did."""
    reached = int(np.isfinite(values).sum())
    count = "" if reached == len(values) else f" ({reached} of {len(values)} seeds)"
    middle = float(np.median(values))
    return f"{middle:.3g}, × {np.median(shares):.2g}{count}" if math.isfinite(middle) else f"not reached{count}"


def _interval(interval: Interval, ratio: bool) -> str:
    by = 1.0 if ratio else 100.0
    shown = f"{by * interval.mean:.3g}"
    if interval.low is None or interval.high is None:
        return shown
    return f"{shown} ({by * interval.low:.3g} to {by * interval.high:.3g})"
