"""The rounds of a build: train on what there is, judge on fresh solves, solve more while the error is not confirmed.

Every fresh solve judges a model before it trains another. All decisions follow from numbers in the journal and the data, so
that a build that was killed comes to the same end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gnvpro.apps.build.budget import MOST_RESERVE, Budget
from gnvpro.apps.build.confirmation import Judgement
from gnvpro.apps.build.costs import Costs
from gnvpro.apps.build.data import BuildData
from gnvpro.apps.build.holding import Holding
from gnvpro.apps.build.journal import CONFIRMED, Journal
from gnvpro.apps.build.judging import Judged, Judging
from gnvpro.apps.build.kinds import FRESH, bought, kinds_of
from gnvpro.apps.build.models import Candidate, Models
from gnvpro.apps.build.settings import BuildSettings
from gnvpro.apps.build.spending import AIM, Kind
from gnvpro.apps.build.start import first_holding
from gnvpro.pde_data.sampling import LAW, default_design
from gnvpro.surrogate.draws import LAWS
from gnvpro.surrogate.error_placement import MOST_PARAMETERS, placed_by_errors
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.spaces import Array
from gnvpro.training.fitting.outcome import Training

# Of samples that are bought, the share that is drawn by the law where the others are placed, or follow a design.
_BY_THE_LAW = 0.5
# An error that has not fallen by a fifth since a quarter of all was there will not; nothing is told by fewer samples than so
# many a parameter, or than the number: some problems give nothing away before that.
_MORE, _FALLEN = 4.0, 0.8
_TELLING, _MOST_TELLING = 12, 120

NOT_FALLING = "not_falling"


@dataclass(frozen=True, eq=False)
class End:
    """Of a build.

    Attributes
    ----------
    status, reason
        Why it ended: one of the names above, and in words.
    parameters, errors : (n, n_in), (n,)
        Of the fresh solves that judged the model, and of its own samples when they are left out.
    """

    training: Training
    judgement: Judgement | None
    status: str
    reason: str
    parameters: Array
    errors: Array


class Rounds:
    """The rounds of one build."""

    def __init__(
        self,
        data: BuildData,
        models: Models,
        journal: Journal,
        settings: BuildSettings,
        costs: Costs,
        tell: Callable[[str], None],
    ) -> None:
        self._data, self._models, self._journal, self._tell = data, models, journal, tell
        self._settings, self._costs, self._budget = settings, costs, Budget(settings, costs)
        self._judging = Judging(data, settings, journal.rounds)

    def run(self) -> End:
        """Until the error is confirmed, the budget is spent, or the error no longer falls."""
        while True:
            rounds = self._journal.rounds
            has = Holding.of(rounds[-1]["then"]) if rounds else self._first()
            end = self._round(has)
            self._journal.write()
            if end is not None:
                return end

    def _first(self) -> Holding:
        return first_holding(self._data.problem.parameters, self._models, self._journal, self._settings, self._costs)

    def _round(self, has: Holding) -> End | None:
        """Train, judge and decide what is solved next; an end where there is one."""
        solved, trained = self._data.cpu_seconds, self._models.stopwatch.cpu_seconds
        model = self._models.of(has)
        expected = model.estimate * self._judging.ratio()
        has = replace(has, alone=has.coarse > 0 and model.stands_alone)
        kinds = kinds_of(has, model, self._models, self._journal.rounds, self._costs)
        kind = max(kinds, key=lambda one: one.gain)
        record: dict[str, Any] = {
            "number": len(self._journal.rounds) + 1,
            "has": has.to_dict(),
            "cost": has.cost(self._costs),
            "estimate": model.estimate,
            "expected": expected,
            "contender": model.surrogate.training["choice"]["reason"],
            "gains": {one.name: one.gain for one in kinds},
            "to_halve": min(one.to_halve() for one in kinds),
            "judged": None,
        }
        more = min(kind.growth(expected / (AIM * self._settings.error)), self._budget.affordable(has, kind))
        spent = self._budget.spent(has, kind, more)
        judges = self._judged(has, model, expected, kind, more, last=spent is not None)
        then = has
        if judges is not None:
            then = replace(has, fresh=has.fresh + judges.n_drawn)
            record["judged"] = judges.to_dict()
        end = self._end(model, judges, spent, record)
        if end is None:
            in_words = f"{more} more {kind.name if more > 1 else kind.name.replace('solves', 'solve')}"
            if kind.name == FRESH and judges is not None:
                more = max(more - judges.n_drawn, 0)
            placed = self._placed(then, kind, more, model, judges)
            if placed is not None:
                then = replace(then, placed=then.placed + placed)
            elif kind.name == FRESH and self._has_design(then):
                then = replace(then, samples=then.samples + more)
            else:
                then = bought(then, kind, more)
            record["next"] = in_words + (f", {more} where errors are large" if placed else "")
        else:
            record["next"] = end.reason
        record["then"] = then.to_dict()
        record["cpu_seconds"] = {
            "solves": self._data.cpu_seconds - solved,
            "training": self._models.stopwatch.cpu_seconds - trained,
        }
        self._journal.rounds.append(record)
        self._tell(self._in_words(record))
        return end

    def _end(self, model: Candidate, judges: Judged | None, spent: str | None, record: dict[str, Any]) -> End | None:
        if judges is not None and judges.confirmed:
            status, reason = CONFIRMED, f"{judges.judgement.n} fresh solves confirm it"
        elif spent is not None:
            status, reason = spent, self._budget.in_words(spent)
        elif (not_falling := self._not_falling(record)) is not None:
            status, reason = NOT_FALLING, not_falling
        else:
            return None
        seen = np.isfinite(model.errors)
        parameters, errors, judgement = [model.samples.parameters[seen]], [model.errors[seen]], None
        if judges is not None:
            judgement = judges.judgement
            parameters.append(judges.parameters)
            errors.append(judges.errors)
        return End(model.training, judgement, status, reason, np.concatenate(parameters), np.concatenate(errors))

    def _judged(
        self, has: Holding, model: Candidate, expected: float, kind: Kind, more: int, *, last: bool
    ) -> Judged | None:
        """By fresh solves: enough to confirm it where that has a chance, those bought anyhow, or what the budget left."""
        left = self._budget.left(has)
        if last:
            return self._judging.judged(has, model, min(left, max(MOST_RESERVE, more)), left, tests=True)
        anyhow = None
        if kind.name == FRESH:
            anyhow = math.ceil(_BY_THE_LAW * more) if self._places(has) or self._has_design(has) else more
        n, tests = self._judging.planned(model, has.cost(self._costs), expected, anyhow, left)
        return self._judging.judged(has, model, n, left, tests=tests)

    def _has_design(self, has: Holding) -> bool:
        """Whether there is a better plain design than draws by the law, for samples that only train."""
        space = self._data.problem.parameters
        return default_design(space) != LAW and not has.uses_coarse and not has.directions

    def _places(self, has: Holding) -> bool:
        """Whether samples may be placed where errors are large: not where a design fills the space better."""
        space, asked = self._data.problem.parameters, self._settings.placement
        few = int((~space.fixed).sum()) <= MOST_PARAMETERS and space.law in LAWS
        wanted = asked == "adaptive" or (asked == "auto" and default_design(space) == LAW)
        return wanted and few and not has.uses_coarse

    def _placed(
        self, then: Holding, kind: Kind, n: int, model: Candidate, judges: Judged | None
    ) -> tuple[int, ...] | None:
        """Points at which n samples are solved next; None where the design says."""
        if not n or not self._places(then) or (kind.name == FRESH and then.directions):
            return None
        points, errors = [model.samples.parameters], [model.errors]
        if judges is not None:
            points.append(judges.parameters)
            errors.append(judges.errors)
        numbers, candidates = self._data.candidates(then.placed)
        chosen = placed_by_errors(model.surrogate, n, candidates, np.concatenate(points), np.concatenate(errors))
        return None if chosen is None else tuple(numbers[chosen].tolist())

    def _not_falling(self, record: dict[str, Any]) -> str | None:
        space = self._data.problem.parameters
        telling = min(_TELLING * int((~space.fixed).sum()), _MOST_TELLING)
        before = [
            one
            for one in self._journal.rounds
            if _MORE * one["cost"] <= record["cost"] and Holding.of(one["has"]).solves >= telling
        ]
        if not before or record["estimate"] <= _FALLEN * before[-1]["estimate"]:
            return None
        then = before[-1]
        return (
            f"the error no longer falls: {percent(then['estimate'])} after {then['cost']:.3g} solves, "
            f"{percent(record['estimate'])} after {record['cost']:.3g}; noise of the solver or a jump may be the reason"
        )

    def _in_words(self, record: dict[str, Any]) -> str:
        judged = record["judged"]
        of_fresh = f", {percent(judged['mean'])} of {judged['n']} fresh solves" if judged else ""
        return (
            f"round {record['number']}, {record['cost']:.3g} solves: error {percent(record['estimate'])} left out{of_fresh}; "
            f"{record['next']}"
        )
