"""A training in words, for people."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Group
from rich.table import Table

from gnvpro.apps.console import table
from gnvpro.apps.trust.summary import trust_rows
from gnvpro.surrogate.formatting import percent, seconds
from gnvpro.training.train import Training


def text(training: Training, title: str, saved: str) -> Group:
    """Errors, method, cost, why this network; `saved` says where it is."""
    about, errors = training.surrogate.training, training.errors
    anomalous = training.errors_anomalous
    rows = [
        *([("error, anomalous", _listed(anomalous) + " (of observables less background)")] if anomalous else []),
        ("error", _listed(errors)),
        ("method", f"{about['method']}, {about['status'].replace('_', ' ')}"),
        ("cost", f"{about['work_units']:.0f} work units, {seconds(about['cpu_seconds'])} of CPU"),
        ("chosen because", about["choice"]["reason"]),
        *_polynomial(about["choice"]),
        *trust_rows(training.surrogate.trust, training.surrogate.observables),
        ("saved", saved),
    ]
    return Group(table(title, rows), *_candidates(about["choice"].get("candidates", [])))


def _listed(errors: dict[str, float]) -> str:
    return ", ".join(f"{name} {percent(value)}" for name, value in errors.items())


def _polynomial(choice: dict[str, Any]) -> list[tuple[str, str]]:
    """How much of the model is a polynomial, wherever one was tried."""
    alone = choice.get("polynomial_alone")
    if alone is None:
        return []
    without = min((one["validation_error"] for one in choice["candidates"] if not one["polynomial"]), default=math.inf)
    mostly = alone["validation_error"] < without
    judged = "this smooth problem is mostly polynomial: alone" if mostly else "polynomial alone:"
    reached = f"{judged} {alone['validation_error']:.2g} on validation ({alone['n_terms']} terms)"
    return [("polynomial", reached if math.isinf(without) else f"{reached}, best network without it {without:.2g}")]


def _candidates(candidates: list[dict]) -> list[Table]:
    if len(candidates) < 2:
        return []
    raced = Table(
        "widths", "gain", "polynomial", "validation", "work units", title="raced", title_justify="left", box=None
    )
    for one in candidates:
        widths = ",".join(map(str, one["widths"])) + ("" if one["metric"] else " (plain L-BFGS)")
        polynomial = "yes" if one["polynomial"] else "no"
        error, work = percent(one["validation_error"]), f"{one['work_units']:.0f}"
        raced.add_row(widths, f"{one['gain']:g}", polynomial, error, work)
    return [raced]
