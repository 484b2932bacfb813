"""A training in words, for people."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table

from gnvpro.apps.console import table
from gnvpro.surrogate.formatting import percent
from gnvpro.training.train import Training


def text(training: Training, title: str, saved: str) -> Group:
    """Errors, method, cost, why this network; `saved` says where it is."""
    candidates = training.surrogate.training["choice"].get("candidates", [])
    return Group(table(title, [*training.rows(), ("saved", saved)]), *_candidate_table(candidates))


def _candidate_table(candidates: list[dict[str, Any]]) -> list[Table]:
    if len(candidates) < 2:
        return []
    columns = ("widths", "gain", "polynomial", "validation", "work units")
    raced = Table(*columns, title="raced", title_justify="left", box=None)
    for entry in candidates:
        widths = ",".join(map(str, entry["widths"])) + ("" if entry["metric"] else " (plain L-BFGS)")
        polynomial = "yes" if entry["polynomial"] else "no"
        error, work = percent(entry["validation_error"]), f"{entry['work_units']:.0f}"
        raced.add_row(widths, f"{entry['gain']:g}", polynomial, error, work)
    return [raced]
