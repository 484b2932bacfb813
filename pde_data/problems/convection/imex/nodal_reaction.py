"""The reaction of a block of samples, evaluated at the nodes from its table, and the transpose of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.convection.imex import kernels
from gnvpro.pde_data.problems.convection.imex.propagator import Parity
from gnvpro.pde_data.problems.convection.imex.scheme import Slots
from gnvpro.pde_data.problems.convection.reactions import ReactionTable
from gnvpro.surrogate.spaces import Array

# Nodal values (n_nodes,) at a time.
Forcing = Callable[[float], Array]


@dataclass(frozen=True)
class Block:
    """The reactions of a block of samples, and of tangents of the first of them.

    Attributes
    ----------
    table : (samples, 4, cells)
    knots : (samples that have tangents, directions, 2, cells + 1)
        Values and slopes with the directions in place of the parameters, in the precision of the tangents.
    together
        Rows of tangents that are multiplied at once: their bits depend on no others.
    outside : (samples,)
        Counts the values that were looked up outside the table.
    scratch
        Arrays that a reaction uses again and again while this block is taken through time.
    """

    table: Array
    knots: NDArray[np.floating]
    together: int
    outside: NDArray[np.int64]
    scratch: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def of(
        cls, table: ReactionTable, y: Array, directions: NDArray[np.floating] | None = None, together: int = 0
    ) -> Block:
        """At parameters (n, n_in) and along directions (n or fewer, k, n_in), none by default.

        Tangents have the precision of the directions; they are all multiplied at once, or so many as `together` says.
        """
        directions = np.zeros((0, 0, y.shape[1])) if directions is None else directions
        tangents = directions.shape[0] * directions.shape[1]
        together = together or max(tangents, 1)
        rows = np.zeros((-(-tangents // together) * together, y.shape[1]), directions.dtype)
        rows[:tangents] = directions.reshape(tangents, y.shape[1])
        knots = np.empty((len(rows), 2, table.cells + 1), rows.dtype)
        for first in range(0, len(rows), together):
            knots[first : first + together] = table.knots(rows[first : first + together])
        knots = knots[:tangents].reshape(*directions.shape[:2], 2, table.cells + 1)
        return cls(table.coefficients(y), knots, together, np.zeros(len(y), dtype=np.int64))

    @property
    def rows(self) -> list[int]:
        """Of the samples and, if there are any, of their tangents.

        Direction d of sample s is row s · directions + d; rows of zeros fill the last product.
        """
        tangents = self.knots.shape[0] * self.knots.shape[1]
        return [len(self.table)] + ([-(-tangents // self.together) * self.together] if tangents else [])


@dataclass(frozen=True)
class NodalReaction:
    """The reaction term at the nodes, of states in parity coordinates.

    `forcing`: is added to the reaction: a known solution can be manufactured.
    """

    table: ReactionTable
    parity: Parity
    forcing: Forcing | None = None

    def advance(self, block: Block, stack: Array, slots: Slots, out: Array, time: float) -> None:
        """Evaluate the reaction of a slot of the stack, then combine the stack (`kernels.advance`)."""
        forced = np.zeros(len(self.parity.order)) if self.forcing is None else self.forcing(time)[self.parity.order]
        table = block.table, self.table.lower, self.table.step
        kernels.advance(stack, *slots, out, self.parity.pairs, *table, forced, block.outside)

    def advance_tangents(self, block: Block, states: Array, stack: Array, slots: Slots, out: Array) -> None:
        """The derivative of `advance` at the states of the samples (`kernels.advance_tangents`)."""
        tables = block.table, block.knots, self.table.lower, self.table.step
        kernels.advance_tangents(states, stack, *slots, out, self.parity.pairs, *tables)

    def retreat(self, block: Block, bars: Array, slots: Slots, bar: Array, visited: Array, gradient: Array) -> None:
        """The transpose of `advance` (`kernels.retreat`)."""
        table = block.table, self.table.lower, self.table.step
        kernels.retreat(bars, *slots, bar, visited, self.parity.pairs, *table, gradient)
