"""How a model of a build is judged: by how many fresh solves, and whether that is a test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnvpro.apps.build.confirmation import LEAST_JUDGES, Judgement, judge, judges_needed, level_of
from gnvpro.apps.build.data import BuildData
from gnvpro.apps.build.holding import Holding
from gnvpro.apps.build.models import Candidate, errors_of
from gnvpro.apps.build.settings import BuildSettings
from gnvpro.surrogate.spaces import Array

# Fresh solves that judge without a chance to confirm, to learn how far off the model's own estimate is; and how far above the
# target the error may be for that.
_SCOUTS, _IN_REACH = 4, 10.0
# A judgement may take so much of what was spent before.
_JUDGING = 0.3
# Looks at one model, with more judges each time.
_MOST_LOOKS = 3
# How much an estimate is believed to be off by what judges found in the rounds before; judges that would say that it is not
# off, and how the word of the others fades with every round.
_RATIOS, _DOUBT, _FADING = (0.05, 3.0), 4.0, 0.7
# Probability with which judges are to confirm an error that is what it is expected to be: of those that are drawn for it
# alone, and of those that are drawn anyhow, which cost a share of the level.
_POWER, _POWER_ANYHOW = 0.75, 0.35


@dataclass(frozen=True, eq=False)
class Judged:
    """A model as fresh solves judge it.

    Attributes
    ----------
    n_drawn
        Solves, failed ones among them.
    parameters, errors : (n, n_in), (n,)
        Of those that were solved.
    tests
        Looks that count as tests; without any the judgement confirms nothing.
    """

    n_drawn: int
    parameters: Array
    errors: Array
    judgement: Judgement
    tests: int

    @property
    def confirmed(self) -> bool:
        """Whether the error asked for is confirmed."""
        return self.tests > 0 and self.judgement.confirmed

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            **self.judgement.to_dict(),
            "tests": self.tests,
            "n_drawn": self.n_drawn,
            "errors": self.errors.tolist(),
        }


class Judging:
    """Judges the models of one build, given the rounds that are over."""

    def __init__(self, data: BuildData, settings: BuildSettings, rounds: Sequence[dict[str, Any]]) -> None:
        self._data, self._target, self._confidence, self._rounds = data, settings.error, settings.confidence, rounds

    def ratio(self) -> float:
        """Error of fresh solves over the model's own estimate, as it was in the rounds before; of the last ones above all."""
        weight, total = _DOUBT, 0.0
        for one in self._rounds:
            weight, total = weight * _FADING + _DOUBT * (1 - _FADING), total * _FADING
            if one["judged"] is not None and one["judged"]["mean"] and one["estimate"]:
                n = one["judged"]["n"]
                weight, total = weight + n, total + n * math.log(one["judged"]["mean"] / one["estimate"])
        return float(np.clip(math.exp(total / weight), *_RATIOS))

    def level(self, further: int = 1) -> float:
        """Of the next test."""
        done = sum(one["judged"]["tests"] for one in self._rounds if one["judged"] is not None)
        return level_of(done + further, self._confidence)

    def planned(
        self, model: Candidate, cost: float, expected: float, anyhow: int | None, left: int
    ) -> tuple[int, bool]:
        """How many fresh solves judge a model, and whether that is a test; decided before any of them is seen.

        Parameters
        ----------
        cost
            Of what the model is made of, in solves.
        expected
            Error of fresh solves.
        anyhow
            Fresh solves that are bought in any case; None where others are.
        left
            Fresh solves that the budget allows.
        """
        most = min(max(LEAST_JUDGES, math.ceil(_JUDGING * cost), anyhow or 0), left)
        asked = expected, self._target, self.level(), *model.by_the_law
        if (needed := judges_needed(*asked, most, _POWER)) is not None:
            return needed, True
        if anyhow is not None:
            return anyhow, judges_needed(*asked, anyhow, _POWER_ANYHOW) is not None
        return (min(_SCOUTS, left) if expected < _IN_REACH * self._target else 0), False

    def judged(self, has: Holding, model: Candidate, n: int, left: int, *, tests: bool) -> Judged | None:
        """A model by the next n fresh solves, and some more where they would decide it; None for fewer than two errors."""
        if n < 2:
            return None
        looks, (shape, weights) = 0, model.by_the_law
        while True:
            parameters, errors = self._fresh_errors(has, model, n)
            if len(errors) < 2:
                return None
            looks += tests
            judgement = judge(errors, self._target, self.level(max(looks, 1)), shape, weights)
            judges = Judged(n, parameters, errors, judgement, looks)
            if not tests or judgement.confirmed or looks == _MOST_LOOKS:
                return judges
            most = min(n + max(n // 2, LEAST_JUDGES // 2), left)
            needed = judges_needed(judgement.mean, self._target, self.level(looks + 1), shape, weights, most, _POWER)
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
