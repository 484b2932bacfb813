"""The files of a propagation beside its report."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.apps.console import jsonable
from gnvpro.apps.propagate.moments import Estimate
from gnvpro.apps.propagate.result import PropagationResult


def write_numbers(folder: Path, result: PropagationResult, more: Mapping[str, Any]) -> None:
    """`propagation.json`, a table `quantities.csv` and, of solves, `solves.npz`, into a folder."""
    (folder / "propagation.json").write_text(json.dumps(jsonable({**result.numbers(), **more}), indent=1))
    columns: dict[str, Estimate] = {"mean": result.mean, "standard_deviation": result.deviation}
    columns |= {f"q{level:g}": one for level, one in zip(result.quantile_levels, result.quantiles, strict=True)}
    with (folder / "quantities.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        ends = ("", "_lower", "_upper")
        writer.writerow(["quantity", "unit", *(f"{name}{end}" for name in columns for end in ends)])
        for j, name in enumerate(result.quantities.names):
            values = [float(x[j]) for one in columns.values() for x in (one.value, one.lower, one.upper)]
            writer.writerow([name, result.quantities.unit(j), *values])
    if (solves := result.solves) is not None:
        np.savez(
            folder / "solves.npz",
            parameters=solves.parameters, weights=solves.weights, solved=solves.solved, predicted=solves.predicted,
            names=np.array(result.quantities.names),
        )  # fmt: skip
