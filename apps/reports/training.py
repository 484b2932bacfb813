"""A training in words, for people."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Group
from rich.table import Table

from gnvpro.apps.console import table
from gnvpro.apps.trust.summary import trust_rows
from gnvpro.surrogate.formatting import listed, percent, seconds
from gnvpro.training.train import Training


def text(training: Training, title: str, saved: str) -> Group:
    """Errors, method, cost, why this network; `saved` says where it is."""
    about, anomalous = training.surrogate.training, training.errors_anomalous
    rows = [
        ("error", listed(training.errors, percent)),
        ("method", f"{about['method']}, {about['status'].replace('_', ' ')}"),
        ("cost", f"{about['work_units']:.0f} work units, {seconds(about['cpu_seconds'])} of CPU"),
        ("chosen because", about["choice"]["reason"]),
        *_polynomial_row(about["choice"]),
        *trust_rows(training.surrogate.trust, training.surrogate.observables),
        ("saved", saved),
    ]
    if anomalous:
        rows.insert(0, ("error, anomalous", listed(anomalous, percent) + " (of observables less background)"))
    return Group(table(title, rows), *_candidate_table(about["choice"].get("candidates", [])))


def _polynomial_row(choice: dict[str, Any]) -> list[tuple[str, str]]:
    """How much of the model is a polynomial, wherever one was tried."""
    alone = choice.get("polynomial_alone")
    if alone is None:
        return []
    networks = [entry["validation_error"] for entry in choice["candidates"] if not entry["polynomial"]]
    without = min(networks, default=math.inf)
    mostly = alone["validation_error"] < without
    judged = "this smooth problem is mostly polynomial: alone" if mostly else "polynomial alone:"
    reached = f"{judged} {alone['validation_error']:.2g} on validation ({alone['n_terms']} terms)"
    return [("polynomial", reached if math.isinf(without) else f"{reached}, best network without it {without:.2g}")]


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
