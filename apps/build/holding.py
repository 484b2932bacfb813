"""What a model of a build is made of: numbers of solves of every kind, and what they cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gnvpro.apps.build.costs import Costs


@dataclass(frozen=True)
class Holding:
    """Numbers of solves, failed ones among them.

    Attributes
    ----------
    samples
        Of the default design; they only train.
    fresh
        Drawn by the law, values alone; each has judged a model before it trains one.
    placed
        Points of the sequence of draws that were chosen for a model; they only train.
    directions
        Derivatives of every one of `samples` and `placed`.
    coarse, coarse_directions
        Of the cheap version, and their derivatives.
    alone
        Whether coarse samples did not help, so that the model is made without them.
    """

    samples: int = 0
    fresh: int = 0
    placed: tuple[int, ...] = ()
    directions: int = 0
    coarse: int = 0
    coarse_directions: int = 0
    alone: bool = False

    @property
    def solves(self) -> int:
        """Of the problem itself."""
        return self.samples + self.fresh + len(self.placed)

    @property
    def uses_coarse(self) -> bool:
        """Whether the model is one of coarse samples that fine ones correct."""
        return self.coarse > 0 and not self.alone

    def cost(self, costs: Costs) -> float:
        """Of everything, in solves."""
        with_derivatives = (self.samples + len(self.placed)) * costs.sample(self.directions)
        return (
            costs.measuring + with_derivatives + self.fresh + self.coarse * costs.coarse_sample(self.coarse_directions)
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "placed": list(self.placed)}

    @classmethod
    def of(cls, described: dict[str, Any]) -> Holding:
        """Inverse of `to_dict`."""
        return cls(**{**described, "placed": tuple(described["placed"])})
