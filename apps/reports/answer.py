"""What a comparison found, as its report says it first: how good the surrogate is, and what it saves."""

from __future__ import annotations

from typing import Any

from gnvpro.apps.comparison.comparison import Comparison
from gnvpro.surrogate.formatting import percent, seconds


def answer(comparison: Comparison, numbers: dict[str, Any]) -> list[str]:
    """Error and cost beside those of the PDE, in two sentences."""
    error, of_what = _error(comparison, numbers)
    own = comparison.anomalous_pde_error
    beside = "the PDE data's own error is not known" if own is None else f"the PDE data's own error is {percent(own)}"
    measured = (
        f"The surrogate's error is {percent(error['mean'])}{of_what}: the mean of {numbers['n_samples']} fresh PDE solves, "
        f"of which the worst has {percent(error['max'])}; {beside}."
    )
    costs = comparison.costs
    saved = (
        f"A PDE solve costs {_times(numbers['speedup_single'])} as much as an evaluation of the surrogate, "
        f"{_times(numbers['speedup_batched'])} in batches ({seconds(costs.production_batched)} and "
        f"{seconds(costs.surrogate_batched)} a sample)."
    )
    return [measured, saved]


def headlines(comparison: Comparison, numbers: dict[str, Any]) -> list[tuple[str, str]]:
    """A few numbers with what they are."""
    error, of_what = _error(comparison, numbers)
    own, estimated = comparison.anomalous_pde_error, numbers["estimated_error"]
    whole = f"; {percent(numbers['surrogate_error']['mean'])} of all of the observables" if of_what else ""
    against = ""
    if estimated is not None:
        others = [
            f"{percent(one['relative_l2'])} against {one['against']}" for one in estimated.get("others", {}).values()
        ]
        against = " against " + ", ".join([estimated["against"], *others])
    with_error = "" if own is None else f" (own error {percent(own)})"
    spent = f"{numbers['n_generated']} solves" if comparison.spent is None else comparison.spent.in_words()
    return [
        (
            percent(error["mean"]),
            f"mean error of the surrogate{of_what} (median {percent(error['median'])}, 95 % below {percent(error['p95'])}, "
            f"worst {percent(error['max'])}){whole}",
        ),
        (
            "unknown" if own is None else percent(own),
            f"error of the PDE solver itself{of_what}{against}; the surrogate inherits it",
        ),
        (_factor(numbers["speedup_single"]), f"faster than the fast solver{with_error}, one sample at a time"),
        (_factor(numbers["speedup_batched"]), f"faster than the fast solver{with_error}, both in batches"),
        (
            f"{numbers['payoff_evaluations']:,.0f}",
            f"evaluations until {spent} and {seconds(numbers['train_cpu_seconds'])} of training are paid off",
        ),
    ]


def _error(comparison: Comparison, numbers: dict[str, Any]) -> tuple[dict[str, float], str]:
    """Statistics of the errors, and what they are relative to where that is not all of the observables."""
    if comparison.background is None:
        return numbers["surrogate_error"], ""
    return numbers["surrogate_error_anomalous"], " relative to the anomaly"


def _factor(value: float) -> str:
    return f"{value:,.0f} ×" if value >= 10 else f"{value:.2g} ×"


def _times(value: float) -> str:
    return f"{value:,.0f} times" if value >= 10 else f"{value:.2g} times"
