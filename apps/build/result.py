"""What `build` returns: a model, its confirmed error, what it cost and why the build ended."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnvpro.apps.build.costs import Costs
from gnvpro.apps.build.holding import Holding
from gnvpro.apps.build.journal import CONFIRMED
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.result import Result

REPORT = "report.html"


@dataclass(frozen=True, repr=False, eq=False)
class Build(Result):
    """A build's model and its journal.

    Attributes
    ----------
    path
        The folder of the model; its data are in the folder `data` beside it.
    record
        The journal: settings, costs, rounds, why it ended; docs/build.md says what stands in it.
    """

    surrogate: Surrogate
    path: Path
    data: Path
    record: dict[str, Any]

    @property
    def confirmed(self) -> bool:
        """Whether the error asked for is confirmed."""
        return self.record["status"] == CONFIRMED

    @property
    def error(self) -> float | None:
        """Mean error of the fresh solves that judged the model; None where the budget left none."""
        return None if self.judged is None else self.judged["mean"]

    @property
    def judged(self) -> dict[str, Any] | None:
        """Of the model by fresh solves: their number `n`, `mean` and limits of the error, at the `level`."""
        return self.record["rounds"][-1]["judged"]

    @property
    def solves(self) -> int:
        """Of the problem itself, those that judged last among them."""
        return Holding.of(self.record["rounds"][-1]["then"]).solves

    @property
    def cost(self) -> float:
        """Of everything, in solves of the problem."""
        return Holding.of(self.record["rounds"][-1]["then"]).cost(Costs(**self.record["costs"]))

    @property
    def title(self) -> str:
        """Problem and error."""
        return f"Surrogate of {self.record['problem']} to {percent(self.record['settings']['error'])}"

    def rows(self) -> list[tuple[str, str]]:
        """Error, cost, why it ended, what more would buy, what the model is, where it is."""
        choice = self.surrogate.training["choice"]["reason"]
        return [
            ("error", self._error_in_words()),
            ("ended because", self.record["reason"]),
            ("cost", self._cost_in_words()),
            ("half of the error", self._outlook()),
            ("rounds", f"{len(self.record['rounds'])}; their report is {self.data / REPORT}"),
            ("chosen because", choice),
            ("saved", f"{self.path}, its data in {self.data}"),
        ]

    def numbers(self) -> dict[str, Any]:
        """Status, error, cost, and the whole journal."""
        judged = self.judged
        return {
            "status": self.record["status"],
            "confirmed": self.confirmed,
            "error": None
            if judged is None
            else {name: judged[name] for name in ("mean", "lower", "upper", "level", "n")},
            "solves": self.solves,
            "cost": self.cost,
            "out": str(self.path),
            "data": str(self.data),
            "journal": self.record,
        }

    def _error_in_words(self) -> str:
        judged, rounds = self.judged, self.record["rounds"]
        if judged is None:
            return f"about {percent(rounds[-1]['estimate'])} by samples left out; no fresh solves were left to judge it"
        of_what = " of the observables less background" if self.surrogate.background is not None else ""
        state = f"confirmed at {percent(self.record['settings']['confidence'])}" if self.confirmed else "not confirmed"
        tail = f"; {judged['tail']}" if judged.get("tail") else ""
        mean, upper = percent(judged["mean"]), percent(judged["upper"])
        return f"{mean} at {judged['n']} fresh solves{of_what}, below {upper}: {state}{tail}"

    def _cost_in_words(self) -> str:
        has = Holding.of(self.record["rounds"][-1]["then"])
        kinds = [f"{has.solves} solves"]
        if has.directions and (with_derivatives := has.solves - has.fresh):
            kinds.append(f"{has.directions} derivatives of {with_derivatives} of them")
        if has.coarse:
            beside = f" with {has.coarse_directions} derivatives each" if has.coarse_directions else ""
            kinds.append(f"{has.coarse} coarse ones{beside}")
        if measuring := self.record["costs"].get("measuring"):
            kinds.append(f"{measuring:.2g} to measure what they cost")
        total = f": as much as {self.cost:.3g} solves" if len(kinds) > 1 else ""
        return (
            f"{', '.join(kinds)}{total}; {self.judged['n_drawn'] if self.judged else 0} of them judged the model last"
        )

    def _outlook(self) -> str:
        more = self.record["rounds"][-1]["to_halve"]
        return "out of sight: the error hardly falls" if math.isinf(more) else f"about {more:.2g} more solves' worth"
