"""Convection–diffusion–reaction as a forward model: from reaction weights to sensor values.

The equation is in coefficients.py, how it is solved in fast_solver.py; this is what a user sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

from gnvpro.pde_data.problems.convection.fast_solver import FastSolver
from gnvpro.pde_data.problems.convection.reference_solver import PlainConvectionDiffusionReaction
from gnvpro.pde_data.problems.options import options_of
from gnvpro.surrogate.spaces import Array

_ROUTES = {
    "full": "ARS(4,4,3) and SBDF4, reaction at the nodes",
    "reduced": "reduced model: ARS(4,4,3) and SBDF4 on modes of the full route's solutions, reaction at the nodes",
}


@dataclass(frozen=True)
class ConvectionDiffusionReaction(FastSolver):
    """The forward model from reaction weights to sensor values, solved by the fast solver.

    Constructing it is cheap; its options and what they may be are those of `FastSolver`.
    """

    name: str = field(default="cdr", init=False)

    cf_attributes: ClassVar = {
        "title": "Convection-diffusion-reaction: sensor values at several times for weights of reactions",
        "references": "Newman, Ruthotto, Hart, van Bloemen Waanders: Train Like a (Var)Pro, SIAM J. Math. Data Sci. 3 "
        "(2021), https://arxiv.org/abs/2007.13171",
    }

    @cached_property
    def definition(self) -> dict[str, Any]:
        """JSON-able: everything that fixes the numbers."""
        return dict(problem=self.name, route=_ROUTES[self.tier], options=options_of(self))

    @property
    def block_size(self) -> int:
        """Samples that are best solved together."""
        return self.settings.width

    def refined(self) -> ConvectionDiffusionReaction:
        """The same problem by the full route, on half the mesh width and half the time step."""
        return ConvectionDiffusionReaction(self.coefficients, self.settings.refined())

    def coarser(self) -> ConvectionDiffusionReaction | None:
        """By the full route, with fewer nodes a side and a quarter of the steps; None where 8 nodes a side are left."""
        coarse = self.settings.coarser(self.coefficients)
        return coarse and replace(self, settings=coarse, tier="full")

    def plain_route(self) -> PlainConvectionDiffusionReaction:
        """The same equation as one would write it in FEniCSx and trust: what speed-ups are measured from."""
        return PlainConvectionDiffusionReaction(self.coefficients)

    def references(self) -> dict[str, Callable[[Array], Array]]:
        """What its own error is measured against: the `refined` discretisation; of a reduced model the full route too."""
        references = {"refined": self.refined().evaluate}
        if self.tier == "reduced":
            references["full route"] = replace(self, tier="full").evaluate
        return references
