"""What the rows say: our error over the best peer's, and our stated error over the true one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnvpro.apps.studies.kept_runs import Row
from gnvpro.apps.studies.surrogates.data import DATA
from gnvpro.apps.studies.surrogates.runs import OURS

# The error that our training states, and the factor within which it should be true.
STATED, FACTOR = "cross-validated", 1.5


@dataclass(frozen=True)
class Comparison:
    """All methods on one data set of one size, over the seeds that all of them have."""

    data: str
    n: int
    rows: tuple[Row, ...]

    @property
    def measure(self) -> str:
        """The error that is compared."""
        return DATA[self.data].measure

    @property
    def methods(self) -> list[str]:
        """In the order they came, those without any result left out."""
        return list(dict.fromkeys(row["method"] for row in self.rows if self.measure in row))

    def values(self, method: str, name: str) -> dict[int, float]:
        """One number of a method, by seed."""
        return {row["seed"]: row[name] for row in self.rows if row["method"] == method and name in row}

    def error(self, method: str) -> float:
        """Geometric mean over seeds."""
        return geometric_mean(self.values(method, self.measure).values())

    @property
    def best_peer(self) -> str | None:
        """The peer of the smallest error over the seeds."""
        return min((method for method in self.methods if method != OURS), key=self.error, default=None)

    @property
    def ratio(self) -> float:
        """Our error over that of the best peer of each seed, geometric mean; NaN where one of them is missing."""
        ours = self.values(OURS, self.measure)
        peers = [self.values(method, self.measure) for method in self.methods if method != OURS]
        ratios = [
            error / min(values[seed] for values in peers if seed in values)
            for seed, error in ours.items()
            if any(seed in values for values in peers)
        ]
        return geometric_mean(ratios)

    @property
    def stated_over_true(self) -> dict[str, list[float]]:
        """Our stated error over the true one, seed by seed: as our training measures errors, and by nrmse."""
        ours = [row for row in self.rows if row["method"] == OURS]
        stated = {
            "stated": [(row["stated"][STATED], row["true"]) for row in ours if STATED in row.get("stated", {})],
            "nrmse": [(row["stated_nrmse"], row["nrmse"]) for row in ours if "stated_nrmse" in row],
        }
        return {measure: [stated / true for stated, true in pairs if true > 0] for measure, pairs in stated.items()}

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        methods = {
            method: {
                name: geometric_mean(self.values(method, name).values())
                for name in ("nrmse", "relative", "cpu_seconds")
            }
            | dict(memory_mib=max(self.values(method, "memory_mib").values()))
            for method in self.methods
        }
        return dict(
            data=self.data, n=self.n, measure=self.measure, methods=methods, best_peer=self.best_peer,
            over_best_peer=self.ratio, stated_over_true=self.stated_over_true,
        )  # fmt: skip


def geometric_mean(values: Iterable[float]) -> float:
    """NaN of nothing."""
    logarithms = np.log([max(value, 1e-300) for value in values])
    return float(np.exp(logarithms.mean())) if len(logarithms) else float("nan")


def compared(rows: Iterable[Row]) -> list[Comparison]:
    """Rows by data and size."""
    grouped: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["data"], row["n"]), []).append(row)
    order = list(DATA)
    return [
        Comparison(*key, tuple(grouped[key])) for key in sorted(grouped, key=lambda key: (order.index(key[0]), key[1]))
    ]


def summary(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """By group and size: our error over the best peer's, geometric mean and worst, seconds, how true stated errors are."""
    groups: dict[tuple[str, int], list[Comparison]] = {}
    for comparison in comparisons:
        if not np.isnan(comparison.ratio):
            groups.setdefault((DATA[comparison.data].group, comparison.n), []).append(comparison)
    lines = []
    for (group, n), members in groups.items():
        ratios = {member.data: member.ratio for member in members}
        true = {measure: _share(members, measure) for measure in ("stated", "nrmse")}
        worst = max(ratios, key=lambda name: ratios[name])
        lines.append(
            dict(
                group=group, n=n, cases=len(members), over_best_peer=geometric_mean(ratios.values()), worst=ratios[worst],
                worst_of=worst, stated_within_factor=true,
                cpu_seconds=geometric_mean(v for member in members for v in member.values(OURS, "cpu_seconds").values()),
                most_cpu_seconds=max(v for member in members for v in member.values(OURS, "cpu_seconds").values()),
            )
        )  # fmt: skip
    return lines


def _share(members: Sequence[Comparison], measure: str) -> float:
    """How many of the stated errors are true within the factor."""
    ratios = np.array([ratio for member in members for ratio in member.stated_over_true[measure]])
    return float(((ratios < FACTOR) & (ratios > 1 / FACTOR)).mean()) if len(ratios) else float("nan")
