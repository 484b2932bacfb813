"""The report of a propagation: one HTML file."""

from __future__ import annotations

from pathlib import Path

from gnvpro.apps.propagate.figures import figures
from gnvpro.apps.propagate.in_words import between, valued
from gnvpro.apps.propagate.moments import Estimate
from gnvpro.apps.propagate.result import PropagationResult
from gnvpro.apps.reports.page import origin_rows, pictures, render
from gnvpro.surrogate.writing import whole_file

# Rows of the table of quantities: all of them are in the file beside.
_MOST_ROWS = 100


def write_report(path: Path, result: PropagationResult, command: str) -> None:
    """Write the report; `command` is what to type to get the same again."""
    page = render(
        __package__,
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
        "unit": result.quantities.unit(j),
        **told,
        "quantiles": [_told(one, j) for one in result.quantiles],
    }


def _told(one: Estimate, j: int) -> tuple[str, str]:
    value, lower, upper = (float(x[j]) for x in (one.value, one.lower, one.upper))
    return valued(value, lower, upper), between(lower, upper)
