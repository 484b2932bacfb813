"""A training in words, for people."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table

from gnvpro.apps.console import table
from gnvpro.surrogate.formatting import percent, seconds
from gnvpro.training.train import Training


def text(training: Training, title: str, saved: str) -> Group:
    """Errors, method, cost, what competed; `saved` says where it is."""
    choice = training.surrogate.training["choice"]
    levels = training.surrogate.training.get("fidelities", {}).get("levels", [])
    tables = [
        *_level_table(levels),
        *_contender_table(choice.get("contenders", [])),
        *_candidate_table(choice.get("candidates", [])),
    ]
    return Group(table(title, [*training.rows(), ("saved", saved)]), *tables)


def _level_table(levels: list[dict[str, Any]]) -> list[Table]:
    """Of a training from several fidelities."""
    if not levels:
        return []
    columns = ("samples", "cost of one", "its own error", "off the fine ones")
    made_of = Table(*columns, title="made of, cheapest first", title_justify="left", box=None)
    for level in levels:
        cost = "unknown" if level["seconds"] is None else seconds(level["seconds"])
        error, off = ("" if level[name] is None else percent(level[name]) for name in ("error", "off"))
        made_of.add_row(f"{level['samples']}", cost, error, off)
    return [made_of]


def _contender_table(contenders: list[dict[str, Any]]) -> list[Table]:
    if len(contenders) < 2:
        return []
    columns = ("contender", "error left out", "share", "CPU")
    competed = Table(*columns, title="competed, judged by cross-validation", title_justify="left", box=None)
    for one in contenders:
        share = f"{one['share']:.0%}" if one["share"] else ""
        error = f"{one['error']:.2g} ± {one['standard_error']:.1g}"
        competed.add_row(one["name"], error, share, seconds(one["cpu_seconds"]))
    return [competed]


def _candidate_table(candidates: list[dict[str, Any]]) -> list[Table]:
    if len(candidates) < 2:
        return []
    columns = ("widths", "gain", "polynomial", "validation", "work units")
    raced = Table(*columns, title="networks raced", title_justify="left", box=None)
    for entry in candidates:
        widths = ",".join(map(str, entry["widths"])) + ("" if entry["metric"] else " (plain L-BFGS)")
        polynomial = "yes" if entry["polynomial"] else "no"
        error, work = percent(entry["validation_error"]), f"{entry['work_units']:.0f}"
        raced.add_row(widths, f"{entry['gain']:g}", polynomial, error, work)
    return [raced]
