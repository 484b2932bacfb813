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

from gnvpro.apps.build.confirmation import LEAST_JUDGES, Judgement, judge, judges_needed, level_of
from gnvpro.apps.build.costs import Costs
from gnvpro.apps.build.data import BuildData
from gnvpro.apps.build.holding import Holding
from gnvpro.apps.build.journal import Journal
from gnvpro.apps.build.kinds import FRESH, bought, kinds_of
from gnvpro.apps.build.models import Candidate, Models, errors_of
from gnvpro.apps.build.result import CONFIRMED
from gnvpro.apps.build.settings import BuildSettings
from gnvpro.apps.build.spending import AIM, Kind
from gnvpro.apps.build.start import first_holding
from gnvpro.surrogate.draws import LAWS
from gnvpro.surrogate.error_placement import MOST_PARAMETERS, placed_by_errors
from gnvpro.surrogate.formatting import percent
from gnvpro.surrogate.spaces import Array
from gnvpro.training.fitting.outcome import Training

# Samples that judge without a chance to confirm, to learn how far off the model's own estimate is; and how far above the
# target the error may be for that.
_SCOUTS, _IN_REACH = 4, 10.0
# Of samples that are bought, the share that is drawn by the law where the others are placed.
_BY_THE_LAW = 0.5
# A judgement may take so much of what was spent before.
_JUDGING = 0.3
# Looks at one model, with more judges each time.
_MOST_LOOKS = 3
# How much an estimate is believed to be off, by what judges found in the round before.
_RATIOS = (0.05, 3.0)
# Judges that would say that it is not off, and how the word of others fades with every round.
_DOUBT, _FADING = 4.0, 0.7
# Probability with which judges are to confirm an error that is what it is expected to be: of those that are drawn for it
# alone, and of those that are drawn anyhow, which cost a share of the level.
_POWER, _POWER_ANYHOW = 0.75, 0.35
# Of a budget: kept for the last judgement, within limits.
_RESERVE, _LEAST_RESERVE, _MOST_RESERVE = 0.15, 4, 12
# An error that has not fallen by a fifth since a quarter of all was there will not; nothing is told by fewer samples than so
# many a parameter, or than the number: some problems give nothing away before that.
_MORE, _FALLEN = 4.0, 0.8
_TELLING, _MOST_TELLING = 12, 120

MAX_SOLVES, MAX_COST, NOT_FALLING = "max_solves", "max_cost", "not_falling"


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


@dataclass(eq=False)
class _Judges:
    """Fresh solves that judge one model."""

    n_drawn: int
    parameters: Array
    errors: Array
    judgement: Judgement
    tests: int


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
        self._settings, self._costs, self._target = settings, costs, settings.error

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
        expected = model.estimate * self._ratio()
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
        more = min(kind.growth(expected / (AIM * self._target)), self._affordable(has, kind))
        spent = self._spent(more, kind, has)
        judges = self._judges(has, model, expected, kind, more, last=spent is not None)
        then = has
        if judges is not None:
            then = replace(has, fresh=has.fresh + judges.n_drawn)
            tested = {"tests": judges.tests, "n_drawn": judges.n_drawn, "errors": judges.errors.tolist()}
            record["judged"] = {**judges.judgement.to_dict(), **tested}
        end = self._end(model, judges, spent, record)
        if end is None:
            in_words = f"{more} more {kind.name if more > 1 else kind.name.replace('solves', 'solve')}"
            if kind.name == FRESH and judges is not None:
                more = max(more - judges.n_drawn, 0)
            placed = self._placed(then, kind, more, model, judges)
            then = bought(then, kind, more) if placed is None else replace(then, placed=then.placed + placed)
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

    def _end(self, model: Candidate, judges: _Judges | None, spent: str | None, record: dict[str, Any]) -> End | None:
        if judges is not None and judges.judgement.confirmed and judges.tests:
            status, reason = CONFIRMED, f"{judges.judgement.n} fresh solves confirm it"
        elif spent is not None:
            status, reason = spent, self._budget_in_words(spent)
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

    def _places(self, has: Holding) -> bool:
        """Whether samples may be placed where errors are large."""
        space = self._data.problem.parameters
        few = int((~space.fixed).sum()) <= MOST_PARAMETERS and space.law in LAWS
        return self._settings.placement != "plain" and few and not has.uses_coarse

    def _placed(
        self, then: Holding, kind: Kind, n: int, model: Candidate, judges: _Judges | None
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

    # Judging.

    def _ratio(self) -> float:
        """Error of fresh solves over the model's own estimate, as it was in the rounds before; of the last ones above all."""
        weight, total = _DOUBT, 0.0
        for one in self._journal.rounds:
            weight, total = weight * _FADING + _DOUBT * (1 - _FADING), total * _FADING
            if one["judged"] is not None and one["judged"]["mean"] and one["estimate"]:
                n = one["judged"]["n"]
                weight, total = weight + n, total + n * math.log(one["judged"]["mean"] / one["estimate"])
        return float(np.clip(math.exp(total / weight), *_RATIOS))

    def _level(self, further: int = 1) -> float:
        """Of the next test."""
        done = sum(one["judged"]["tests"] for one in self._journal.rounds if one["judged"] is not None)
        return level_of(done + further, self._settings.confidence)

    def _judges(
        self, has: Holding, model: Candidate, expected: float, kind: Kind, more: int, *, last: bool
    ) -> _Judges | None:
        """Fresh solves that judge the model: enough to confirm it where that has a chance, or those bought anyhow."""
        left = self._left(has)
        if last:
            return self._judged(has, model, min(left, max(_MOST_RESERVE, more)), tests=True)
        most = max(LEAST_JUDGES, math.ceil(_JUDGING * has.cost(self._costs)), more if kind.name == FRESH else 0)
        shape, weights = model.by_the_law
        asked = expected, self._target, self._level(), shape, weights, min(most, left)
        if (needed := judges_needed(*asked, _POWER)) is not None:
            return self._judged(has, model, needed, tests=True)
        if kind.name == FRESH:
            anyhow = math.ceil(_BY_THE_LAW * more) if self._places(has) else more
            chance = judges_needed(*asked[:-1], anyhow, _POWER_ANYHOW) is not None
            return self._judged(has, model, anyhow, tests=chance)
        if expected < _IN_REACH * self._target:
            return self._judged(has, model, min(_SCOUTS, left), tests=False)
        return None

    def _judged(self, has: Holding, model: Candidate, n: int, *, tests: bool) -> _Judges | None:
        """By n fresh solves, and some more where they would decide it; None where fewer than two can judge."""
        if n < 2:
            return None
        looks, (shape, weights) = 0, model.by_the_law
        while True:
            parameters, errors = self._fresh_errors(has, model, n)
            if len(errors) < 2:
                return None
            looks += tests
            judgement = judge(errors, self._target, self._level(max(looks, 1)), shape, weights)
            judges = _Judges(n, parameters, errors, judgement, looks)
            if not tests or judgement.confirmed or looks == _MOST_LOOKS:
                return judges
            most = min(n + max(n // 2, LEAST_JUDGES // 2), self._left(has))
            needed = judges_needed(judgement.mean, self._target, self._level(looks + 1), shape, weights, most, _POWER)
            if needed is None or needed <= n:
                return judges
            n = needed

    def _fresh_errors(self, has: Holding, model: Candidate, n: int) -> tuple[Array, Array]:
        """Parameters and errors of the next n fresh samples, without those that could not be solved."""
        samples, numbers = self._data.fresh(has.fresh + n)
        if samples is None:
            return np.empty((0, self._data.problem.parameters.size)), np.empty(0)
        new = samples.subset(np.flatnonzero(numbers >= has.fresh))
        predicted = model.surrogate.evaluate(new.parameters) if len(new) else new.observables
        return new.parameters, errors_of(predicted, new, model.surrogate)

    # Ending.

    def _left(self, has: Holding) -> int:
        """Fresh solves that the budget still allows."""
        left = self._settings.max_solves - has.solves
        if self._settings.max_cost is not None:
            left = min(left, math.floor(self._settings.max_cost - has.cost(self._costs)))
        return max(left, 0)

    def _affordable(self, has: Holding, kind: Kind) -> int:
        """How many of a kind can be bought, so that some solves are left to judge with."""
        budget = self._settings.max_solves
        if self._settings.max_cost is not None:
            budget = min(budget, math.floor(self._settings.max_cost))
        reserve = min(max(math.ceil(_RESERVE * budget), _LEAST_RESERVE), _MOST_RESERVE)
        return max(math.floor((self._left(has) - reserve) / kind.cost), 0)

    def _spent(self, more: int, kind: Kind, has: Holding) -> str | None:
        """Which limit leaves nothing to buy; None where there is enough."""
        if more >= 1 and more >= min(0.05 * kind.have, kind.growth(1.0)):
            return None
        by_cost = self._settings.max_cost is not None and self._settings.max_cost - has.cost(self._costs) < (
            self._settings.max_solves - has.solves
        )
        return MAX_COST if by_cost else MAX_SOLVES

    def _budget_in_words(self, spent: str) -> str:
        limit = (
            f"{self._settings.max_solves} solves"
            if spent == MAX_SOLVES
            else f"a cost of {self._settings.max_cost:g} solves"
        )
        return f"the budget, {limit}, is spent"

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
