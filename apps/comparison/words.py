"""A comparison in words, for people: one row a number."""

from __future__ import annotations

from typing import Any

from gnvpro.apps.comparison.comparison import Comparison, statistics
from gnvpro.apps.comparison.costs import SURROGATE_BATCH
from gnvpro.apps.trust.words import coverage_rows
from gnvpro.pde_data.problems.accuracy import error_in_words
from gnvpro.surrogate.formatting import percent, seconds


def rows(comparison: Comparison) -> list[tuple[str, str]]:
    """What a person wants to know first, in words."""
    error, costs, numbers = statistics(comparison.telling_errors), comparison.costs, comparison.numbers()
    part = "" if comparison.background is None else " of the anomaly"
    total = [] if comparison.background is None else [("of all of it, mean", percent(float(comparison.errors.mean())))]
    plain = [("plain route", f"{seconds(costs.plain)} of CPU a sample")] if costs.plain is not None else []
    return [
        ("fresh samples", f"{len(comparison.errors)}" + f", {comparison.n_failed} failed" * bool(comparison.n_failed)),
        (f"error{part}, mean", percent(error["mean"])),
        ("median, 95 %, max", ", ".join(percent(error[name]) for name in ("median", "p95", "max"))),
        *total,
        *_rival(numbers),
        *coverage_rows(numbers["coverage"]),
        *_derivatives(numbers["jacobian"]),
        ("the PDE's own error", error_in_words(comparison.estimated_error, comparison.no_estimate)),
        *plain,
        (
            "production route",
            f"{seconds(costs.production_single)}, {seconds(costs.production_batched)} in batches of {costs.production_batch}",
        ),
        (
            "surrogate",
            f"{seconds(costs.surrogate_single)}, {seconds(costs.surrogate_batched)} in batches of {SURROGATE_BATCH:,}",
        ),
        ("faster than production", f"{costs.speedup_single:,.0f} ×, {costs.speedup_batched:,.0f} × in batches"),
        ("has paid off after", f"{comparison.payoff:,.0f} evaluations"),
    ]


def _derivatives(found: dict[str, Any] | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    forward, reverse = (
        f"{percent(found[name]['mean'])} (at most {percent(found[name]['max'])})" for name in ("jvp", "vjp")
    )
    return [
        ("error of derivatives", f"along directions {forward}, of gradients {reverse}, at {found['n_points']} points")
    ]


def _rival(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    if "interpolation" not in numbers:
        return []
    rival = numbers["interpolation"]
    error = rival.get("error_anomalous", rival["error"])
    nodes = " × ".join(map(str, rival["nodes"]))
    return [
        (
            "Chebyshev interpolation",
            f"mean {percent(error['mean'])}, max {percent(error['max'])}, from {rival['n_solves']} solves ({nodes})",
        )
    ]
