"""Settings of the routes of convection."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gnvpro.pde_data.problems.convection.reactions import Reactions, ReactionTable
from gnvpro.surrogate.errors import UsageError

# Samples of which a narrow block has room: one sample should not pay for a whole batch.
FEW = 8


@dataclass(frozen=True)
class ImexSettings:
    """Discretisation of the fast solver; the defaults reach an observable error below 1e-4.

    Attributes
    ----------
    cells, degree, element
        `cells` × `cells` squares (or twice as many triangles) with Lagrange elements of this degree.
    steps
        Time steps in `final_time`; must meet the observation times.
    table_lower, table_upper, table_step
        Range and cell width of the reaction table.
    width
        Samples solved at once. Shorter blocks are padded to it, so a sample's bits do not depend on the cut.
    """

    cells: int = 2
    degree: int = 10
    element: str = "quadrilateral"
    steps: int = 80
    table_lower: float = -2.0
    table_upper: float = 400.0
    table_step: float = 1.0
    width: int = 128

    def __post_init__(self) -> None:
        for name in ("cells", "degree", "steps", "width"):
            if getattr(self, name) < 1:
                raise UsageError(f"expected {name} >= 1, got {getattr(self, name)}")
        if self.element not in ("quadrilateral", "triangle"):
            raise UsageError(f"expected element 'quadrilateral' or 'triangle', got {self.element!r}")

    def table(self, reactions: Reactions) -> ReactionTable:
        """The reaction table with these settings."""
        return ReactionTable(reactions, self.table_lower, self.table_upper, self.table_step)

    def refined(self) -> ImexSettings:
        """Half the mesh width, half the time step and half the table's, for a few samples."""
        return replace(self, cells=2 * self.cells, steps=2 * self.steps, table_step=self.table_step / 2, width=FEW)


@dataclass(frozen=True)
class ReducedSettings:
    """The reduced model; the defaults add less to the error than the full route has itself.

    Attributes
    ----------
    modes
        Unknowns of the reduced model.
    samples
        Solutions of the full route that the modes are taken from, at parameters that are in no data set.
    """

    modes: int = 64
    samples: int = 128

    def __post_init__(self) -> None:
        for name in ("modes", "samples"):
            if getattr(self, name) < 1:
                raise UsageError(f"expected {name} >= 1, got {getattr(self, name)}")
