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
    """The reactions of a block of samples, and of their tangents, which stand below the samples in every array.

    Attributes
    ----------
    table : (samples, 4, cells)
    table_tangent : (samples, directions, 4, cells)
        The same with the directions in place of the parameters.
    outside : (samples,)
        Counts the values that were looked up outside the table.
    scratch
        Arrays that a reaction uses again and again while this block is taken through time.
    """

    table: Array
    table_tangent: Array
    outside: NDArray[np.int64]
    scratch: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, table: ReactionTable, y: Array, directions: Array | None = None) -> Block:
        """At parameters (n, n_in) and along directions (n, k, n_in), none by default."""
        directions = np.zeros((len(y), 0, y.shape[1])) if directions is None else directions
        flat = table.coefficients(directions.reshape(-1, y.shape[1]))
        tangent = flat.reshape(*directions.shape[:2], 4, table.cells)
        return cls(table.coefficients(y), tangent, np.zeros(len(y), dtype=np.int64))

    @property
    def rows(self) -> int:
        """Samples and tangents."""
        return len(self.table) * (1 + self.table_tangent.shape[1])


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
        tables = block.table, block.table_tangent, self.table.lower, self.table.step
        kernels.advance(stack, *slots, out, self.parity.pairs, *tables, forced, block.outside)

    def retreat(self, block: Block, bars: Array, slots: Slots, bar: Array, visited: Array, gradient: Array) -> None:
        """The transpose of `advance` (`kernels.retreat`)."""
        table = block.table, self.table.lower, self.table.step
        kernels.retreat(bars, *slots, bar, visited, self.parity.pairs, *table, gradient)
