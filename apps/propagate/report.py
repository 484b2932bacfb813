"""The report of a propagation: one HTML file."""

from __future__ import annotations

from pathlib import Path

from gnvpro.apps.propagate.figures import figures
from gnvpro.apps.propagate.in_words import between, valued
from gnvpro.apps.propagate.moments import Estimate
from gnvpro.apps.propagate.result import PropagationResult
from gnvpro.apps.reports.page import origin_rows, pictures, render
from gnvpro.surrogate.formatting import shown_unit
from gnvpro.surrogate.writing import whole_file

# Limits, or scalars, that the answer tells.
_MOST_TOLD = 3
# Rows of the table of quantities: all of them are in the file beside.
_MOST_ROWS = 100


def write_report(path: Path, result: PropagationResult, command: str) -> None:
    """Write the report; `command` is what to type to get the same again."""
    page = render(
        __package__,
        heading=result.title,
        answer=answer(result),
        result=result,
        rows=result.rows(),
        limits=[_limit(result, i) for i in range(len(result.limits))],
        quantities=[_quantity(result, j) for j in range(min(len(result.quantities.names), _MOST_ROWS))],
        further=max(0, len(result.quantities.names) - _MOST_ROWS),
        levels=[f"{level:.4g}" for level in result.quantile_levels],
        pictures=pictures(figures(result)),
        command=command,
        origin=origin_rows(),
    )
    with whole_file(path) as file:
        file.write_text(page, encoding="utf-8")


def answer(result: PropagationResult) -> list[str]:
    """How likely the limits are exceeded or, without any, how large the quantities are; and what that rests on."""
    likely = sorted(range(len(result.limits)), key=lambda i: -float(result.exceedances[i].value[0]))
    told = [_likely(result, i) for i in likely[:_MOST_TOLD]]
    if more := len(likely) - len(told):
        told.append(f"{more} limit{'s' * (more > 1)} more {'are' if more > 1 else 'is'} reached less often.")
    if not told:
        k, n = len(result.quantities.names), result.quantities.n_observables
        columns = range(n if n < k else 0, k)
        told = [_large(result, j) for j in columns[:_MOST_TOLD]]
        if len(columns) > _MOST_TOLD:
            told.append(f"{len(columns) - _MOST_TOLD} quantities more are in the table.")
    return [*told, f"The {result.level:.0%} intervals are {result.certainty}."]


def _likely(result: PropagationResult, i: int) -> str:
    one = _limit(result, i)
    return f"The probability of {one['event']} is {one['value']} ({one['interval']})."


def _large(result: PropagationResult, j: int) -> str:
    one = _quantity(result, j)
    (mean, of_mean), (deviation, of_deviation) = _told(result.mean, j), _told(result.deviation, j)
    unit, name = f" {one['unit']}".rstrip(), one["name"]
    return f"The mean of {name} is {mean}{unit} ({of_mean}), its standard deviation {deviation}{unit} ({of_deviation})."


def _limit(result: PropagationResult, i: int) -> dict[str, str]:
    limit, one = result.limits[i], result.exceedances[i]
    assumed = "–" if result.solves is None else between(one.unassuming_lower[0], one.unassuming_upper[0])
    return {
        "event": limit.event(result.quantities),
        "value": valued(one.shown, one.lower[0], one.upper[0]),
        "interval": between(one.lower[0], one.upper[0]),
        "drawn": between(one.drawn_lower[0], one.drawn_upper[0]),
        "surrogate": f"{one.surrogate[0]:.3g}",
        "unassuming": assumed,
    }


def _quantity(result: PropagationResult, j: int) -> dict[str, object]:
    estimates = {"mean": result.mean, "deviation": result.deviation}
    told = {name: _told(one, j) for name, one in estimates.items()}
    return {
        "name": result.quantities.names[j],
        "unit": shown_unit(result.quantities.unit(j)),
        **told,
        "quantiles": [_told(one, j) for one in result.quantiles],
    }


def _told(one: Estimate, j: int) -> tuple[str, str]:
    value, lower, upper = (float(x[j]) for x in (one.value, one.lower, one.upper))
    return valued(value, lower, upper), between(lower, upper)
