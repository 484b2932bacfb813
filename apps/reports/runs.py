"""Training runs as they are kept beside a saved surrogate, for the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnvpro.surrogate.model.folder import HISTORY, complaining_of, read_document
from gnvpro.surrogate.model.surrogate import Surrogate

# One line of history: the fields of `gnvpro.training.fitting.fit.Record`.
Record = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One training: what it says of itself, the history of its networks, the chosen one apart.

    Attributes
    ----------
    chosen, dropped
        Histories; of the network that was kept (with the levels it was prolonged through), and of the others of
        the race.
    """

    method: str
    errors: dict[str, float]
    training: dict[str, Any]
    provenance: dict[str, Any]
    chosen: list[Record]
    dropped: list[list[Record]]

    @classmethod
    def of(cls, folder: Path) -> Run:
        """The run behind a saved surrogate; its histories are empty where the model was saved without one.

        Raises
        ------
        FileNotFoundError, SavedModelError
            No model there, or one that is damaged.
        """
        model = Surrogate.load(folder)
        stages: dict[str, list[Record]] = {}
        with complaining_of(folder):
            for record in read_document(folder, HISTORY) or []:
                stages.setdefault(record["stage"], []).append(record)
            if "levels" in model.training["choice"]:
                chosen, dropped = _joined(list(stages.values())), []
            else:
                chosen = min(stages.values(), key=_lowest, default=[])
                dropped = [records for records in stages.values() if records is not chosen]
        return cls(model.training["method"], model.errors, model.training, model.provenance, chosen, dropped)


def best_so_far(records: Sequence[Record], abscissa: str, error: str) -> tuple[list[float], list[float]]:
    """The lowest error yet, wherever it was measured; the start, at zero cost, is left out."""
    x, lowest, best = [], [], math.inf
    for record in records:
        if record[error] is None or record[abscissa] <= 0:
            continue
        best = min(best, record[error])
        x.append(record[abscissa])
        lowest.append(best)
    return x, lowest


def _lowest(records: Sequence[Record]) -> float:
    return min(
        (record["validation_error"] for record in records if record["validation_error"] is not None), default=math.inf
    )


def _joined(levels: list[list[Record]]) -> list[Record]:
    """Levels one after the other, their work and seconds added up."""
    joined: list[Record] = []
    for records in levels:
        spent = {name: joined[-1][name] if joined else 0.0 for name in ("work_units", "cpu_seconds", "wall_seconds")}
        joined += [{**record, **{name: record[name] + spent[name] for name in spent}} for record in records]
    return joined
