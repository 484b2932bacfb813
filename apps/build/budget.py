"""What a build may still spend, and when that ends it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gnvpro.apps.build.costs import Costs
from gnvpro.apps.build.holding import Holding
from gnvpro.apps.build.settings import BuildSettings
from gnvpro.apps.build.spending import Kind

MAX_SOLVES, MAX_COST = "max_solves", "max_cost"
# Kept for the last judgement: a share of the budget, within limits.
_RESERVE, _LEAST_RESERVE, MOST_RESERVE = 0.15, 4, 12
# Fewer than this share of what there is are not worth a round.
_WORTH = 0.05


@dataclass(frozen=True)
class Budget:
    """The limits of a build, and what solves cost."""

    settings: BuildSettings
    costs: Costs

    def left(self, has: Holding) -> int:
        """Fresh solves that it still allows."""
        left = self.settings.max_solves - has.solves
        if self.settings.max_cost is not None:
            left = min(left, math.floor(self.settings.max_cost - has.cost(self.costs)))
        return max(left, 0)

    def affordable(self, has: Holding, kind: Kind) -> int:
        """How many of a kind can be bought, so that some solves are left to judge with."""
        whole = self.settings.max_solves
        if self.settings.max_cost is not None:
            whole = min(whole, math.floor(self.settings.max_cost))
        reserve = min(max(math.ceil(_RESERVE * whole), _LEAST_RESERVE), MOST_RESERVE)
        return max(math.floor((self.left(has) - reserve) / kind.cost), 0)

    def spent(self, has: Holding, kind: Kind, more: int) -> str | None:
        """Which limit leaves nothing to buy that is worth it; None where there is enough."""
        if more >= 1 and more >= min(_WORTH * kind.have, kind.growth(1.0)):
            return None
        by_solves, cost = self.settings.max_solves - has.solves, self.settings.max_cost
        return MAX_COST if cost is not None and cost - has.cost(self.costs) < by_solves else MAX_SOLVES

    def in_words(self, limit: str) -> str:
        """Why a build ended."""
        by_cost = f"a cost of {self.settings.max_cost:g} solves" if self.settings.max_cost is not None else ""
        return f"the budget, {by_cost if limit == MAX_COST else f'{self.settings.max_solves} solves'}, is spent"
