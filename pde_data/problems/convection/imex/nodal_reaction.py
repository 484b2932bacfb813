"""The reaction of a block of samples, evaluated at the nodes from its table, and the transpose of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.convection.imex import kernels
from gnvpro.pde_data.problems.convection.imex.propagator import Parity
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


class Reaction(Protocol):
    """The explicit part of a step, in whatever coordinates the states have."""

    @property
    def table(self) -> ReactionTable:
        """What the reaction of a sample is read from."""
        ...

    def advance(
        self, block: Block, stack: Array, state: int, reaction: int, weights: Array, out: Array, time: float
    ) -> None:
        """Evaluate the reaction of a slot of the history, then combine the history (`kernels.advance`)."""
        ...

    def retreat(
        self,
        block: Block,
        bars: Array,
        state: int,
        reaction: int,
        weights: Array,
        bar: Array,
        visited: Array,
        gradient: Array,
    ) -> None:
        """The transpose of `advance` (`kernels.retreat`)."""
        ...


@dataclass(frozen=True)
class NodalReaction:
    """The reaction term at the nodes, of states in parity coordinates.

    Attributes
    ----------
    forcing
        Is added to the reaction: a known solution can be manufactured.
    """

    table: ReactionTable
    parity: Parity
    forcing: Forcing | None = None

    def advance(
        self, block: Block, stack: Array, state: int, reaction: int, weights: Array, out: Array, time: float
    ) -> None:
        """See `Reaction`: by `kernels.advance`."""
        kernels.advance(
            stack,
            state,
            reaction,
            weights,
            out,
            self.parity.pairs,
            block.table,
            block.table_tangent,
            self.table.lower,
            self.table.step,
            self._forced(time),
            block.outside,
        )

    def retreat(
        self,
        block: Block,
        bars: Array,
        state: int,
        reaction: int,
        weights: Array,
        bar: Array,
        visited: Array,
        gradient: Array,
    ) -> None:
        """See `Reaction`: by `kernels.retreat`."""
        kernels.retreat(
            bars,
            state,
            reaction,
            weights,
            bar,
            visited,
            self.parity.pairs,
            block.table,
            self.table.lower,
            self.table.step,
            gradient,
        )

    def _forced(self, time: float) -> Array:
        return np.zeros(len(self.parity.order)) if self.forcing is None else self.forcing(time)[self.parity.order]
