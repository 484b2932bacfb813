"""What a model was made of that was trained on samples of several fidelities, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnvpro.surrogate.formatting import percent


def fidelity_rows(training: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One row a level and what all cost, from the record of a training; nothing for samples of one kind."""
    record = training.get("fidelities")
    if not record:
        return []
    *coarse, fine = record["levels"]
    rows = [(f"{level['samples']} coarse samples", _cost(level, fine) + _off(level)) for level in coarse]
    total = record["fine_equivalents"]
    cost = "" if total is None else f"all samples together cost {total:.3g} fine ones"
    return [*rows, (f"{fine['samples']} fine samples", cost or "costs are not known")]


def _cost(level: Mapping[str, Any], fine: Mapping[str, Any]) -> str:
    if not level["seconds"] or not fine["seconds"]:
        return ""
    return f"each 1/{fine['seconds'] / level['seconds']:.3g} of the cost of a fine one; "


def _off(level: Mapping[str, Any]) -> str:
    return f"their model is {percent(level['off'])} off the fine observables"
