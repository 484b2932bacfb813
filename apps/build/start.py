"""What a build starts with: fine samples by the number of parameters, or coarse ones until these are learned well."""

from __future__ import annotations

import math

from gnvpro.apps.build.costs import DIRECTIONS, Costs
from gnvpro.apps.build.holding import Holding
from gnvpro.apps.build.journal import Journal
from gnvpro.apps.build.models import Models
from gnvpro.apps.build.settings import BuildSettings
from gnvpro.apps.build.spending import slope_of
from gnvpro.surrogate.spaces import Space

# Derivatives are bought where one costs at most a solve.
DEAREST_DERIVATIVE = 1.0
# Coarse solves are, where one costs at most so much of a solve.
DEAREST_COARSE = 0.25
# Fine samples a parameter, within limits; half of them where they have derivatives, and few beside coarse ones.
_A_PARAMETER, _LEAST, _MOST = 2, 8, 40
_BESIDE_COARSE = 8
# Coarse samples, within limits by the number of parameters, and their growth. It ends where their own error is that share
# of the one asked for, where they cost so many solves, or where the error falls more slowly than the power of their number.
_COARSE, _COARSE_GROWTH = (16, 64), 1.5
_COARSE_AIM, _COARSE_MOST, _COARSE_SLOPE = 0.5, 15.0, 0.25


def first_holding(space: Space, models: Models, journal: Journal, settings: BuildSettings, costs: Costs) -> Holding:
    """What the first model is made of."""
    r = directions_worth(costs.derivative, settings.derivatives, space)
    if costs.coarse is not None and costs.coarse <= DEAREST_COARSE:
        of_coarse = None if costs.coarse_derivative is None else costs.coarse_derivative / costs.coarse
        r_coarse = directions_worth(of_coarse, settings.derivatives, space)
        n_coarse = _coarse_start(space, r_coarse, models, journal, settings, costs)
        fresh = min(_BESIDE_COARSE, settings.max_solves)
        return Holding(fresh=fresh, directions=r, coarse=n_coarse, coarse_directions=r_coarse)
    n = min(max(_A_PARAMETER * int((~space.fixed).sum()), _LEAST), _MOST)
    if r:
        n = max(math.ceil(n / 2), _LEAST)
    affordable = settings.max_solves if settings.max_cost is None else settings.max_cost / costs.sample(r)
    return Holding(samples=min(n, settings.max_solves, max(math.floor(affordable), 1)), directions=r)


def directions_worth(cost: float | None, asked: int | None, space: Space) -> int:
    """Derivatives of a sample, where one costs that much of its solve; as many as were asked for, if that was said."""
    if cost is None or asked == 0:
        return 0
    if asked is not None:
        return asked
    return min(DIRECTIONS, int((~space.fixed).sum())) if cost <= DEAREST_DERIVATIVE else 0


def _coarse_start(
    space: Space, n_directions: int, models: Models, journal: Journal, settings: BuildSettings, costs: Costs
) -> int:
    """As many coarse samples as make a good model of the cheap version, within a cost.

    The journal keeps the sizes that were tried.
    """
    tried = journal.document["coarse"]
    n = min(max(int((~space.fixed).sum()), _COARSE[0]), _COARSE[1])
    while True:
        if not tried or n > tried[-1]["samples"]:
            error = models.coarse_error(n, n_directions)
            tried.append({"samples": n, "directions": n_directions, "error": error})
            journal.write()
        upto = [one for one in tried if one["samples"] <= n]
        more = math.ceil(n * _COARSE_GROWTH)
        is_good = upto[-1]["error"] <= _COARSE_AIM * settings.error
        is_dear = more * costs.coarse_sample(n_directions) > _COARSE_MOST
        last = upto[-2:]
        falls = (
            len(last) < 2 or slope_of([one["samples"] for one in last], [one["error"] for one in last]) > _COARSE_SLOPE
        )
        if is_good or is_dear or not falls:
            return n
        n = more
