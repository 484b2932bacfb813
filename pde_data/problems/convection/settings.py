"""Settings of the routes of convection."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gnvpro.pde_data.problems.convection.coefficients import ConvectionCoefficients
from gnvpro.pde_data.problems.convection.reactions import Reactions, ReactionTable
from gnvpro.surrogate.errors import UsageError

# Samples of which a narrow block has room: one sample should not pay for a whole batch.
FEW = 8
# Degree and least number of steps of a coarser version, and from how many intervals a side on there is one.
_COARSE_DEGREE, _FEWEST_STEPS, _FINE_INTERVALS = 4, 20, 16


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

    def coarser(self, coefficients: ConvectionCoefficients) -> ImexSettings | None:
        """Degree 4 where it is higher, else half the cells, and a quarter of the steps; None below 16 intervals a side.

        At equal cost, degree 4 is five times as accurate as degree 1 and four times as degree 2. Not fewer than 20
        steps, since the reactions are explicit.
        """
        if self.cells * self.degree < _FINE_INTERVALS:
            return None
        higher = self.degree > _COARSE_DEGREE
        cells, degree = (max(2, self.cells), _COARSE_DEGREE) if higher else (self.cells // 2, self.degree)
        fewest = min(self.steps, max(_FEWEST_STEPS, self.steps // 4))
        steps = next(n for n in range(fewest, self.steps + 1) if coefficients.divides(n))
        return replace(self, cells=cells, degree=degree, steps=steps)


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
