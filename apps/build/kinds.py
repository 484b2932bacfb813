"""The kinds of solves that a build can buy next, and what each is measured to buy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gnvpro.apps.build.costs import Costs
from gnvpro.apps.build.holding import Holding
from gnvpro.apps.build.models import Candidate, Models
from gnvpro.apps.build.spending import USUAL_SLOPE, Kind, paired_slope, slope_of

FRESH, WITH_DERIVATIVES, COARSE = "solves", "solves with derivatives", "coarse solves"
# What a solve with r derivatives is worth in solves without, before anything is measured: 1 + r times that.
_USUAL_WORTH = 0.6
# Of corrections of a coarse model, which fall more slowly than the errors of models of fine samples alone.
_SLOPE_OF_CORRECTIONS = 1.0
# Of coarse samples, so many times fewer tell what the last of them have brought.
_FEWER = 1.5


def kinds_of(
    has: Holding, model: Candidate, models: Models, rounds: Sequence[dict[str, Any]], costs: Costs
) -> list[Kind]:
    """What can be bought beside a holding, of which there is this model."""
    past = [(Holding.of(one["has"]), one["estimate"]) for one in rounds]
    if has.uses_coarse:
        return _beside_coarse(has, model, models, past, costs)
    alike = [(one.solves, error) for one, error in past if not one.uses_coarse]
    sizes, errors = zip(*alike, (has.solves, model.estimate), strict=True)
    slope = slope_of(sizes, errors, USUAL_SLOPE)
    if not has.directions:
        return [Kind(FRESH, has.solves, 1.0, slope)]
    worth = 1 + _USUAL_WORTH * has.directions
    if (gain := model.gain_of_derivatives) is not None:
        worth = max(gain, 1.0) ** (1 / slope)
    # In solves without derivatives.
    equivalent = has.fresh + worth * (has.solves - has.fresh)
    return [
        Kind(FRESH, max(round(equivalent), 1), 1.0, slope),
        Kind(WITH_DERIVATIVES, max(round(equivalent / worth), 1), costs.sample(has.directions), slope),
    ]


def _beside_coarse(
    has: Holding, model: Candidate, models: Models, past: Sequence[tuple[Holding, float]], costs: Costs
) -> list[Kind]:
    """Fine solves by how the error fell with them, coarse ones by what fewer of them give at the same fine samples."""
    alike = [(one.solves, error) for one, error in past if one.coarse == has.coarse]
    sizes, errors = zip(*alike, (has.solves, model.estimate), strict=True)
    fewer = math.ceil(has.coarse / _FEWER)
    error_of_fewer = models.of(has, fewer).estimate
    slope = paired_slope(error_of_fewer, model.estimate, fewer, has.coarse)
    return [
        Kind(FRESH, has.solves, 1.0, slope_of(sizes, errors, _SLOPE_OF_CORRECTIONS)),
        Kind(COARSE, has.coarse, costs.coarse_sample(has.coarse_directions), slope),
    ]


def bought(has: Holding, kind: Kind, n: int) -> Holding:
    """The holding with n more of a kind."""
    if kind.name == COARSE:
        return replace(has, coarse=has.coarse + n)
    if kind.name == WITH_DERIVATIVES:
        return replace(has, samples=has.samples + n)
    return replace(has, fresh=has.fresh + n)
