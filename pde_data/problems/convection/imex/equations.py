"""What is taken through time: the implicit part of a step, the reaction, and when and where a state is observed."""

from __future__ import annotations

from dataclasses import dataclass

import scipy.sparse as sp

from gnvpro.pde_data.problems.convection.imex.nodal_reaction import NodalReaction
from gnvpro.pde_data.problems.convection.imex.propagator import Parity, Propagator, propagator
from gnvpro.pde_data.problems.convection.imex.scheme import A0
from gnvpro.surrogate.spaces import Array


@dataclass(frozen=True)
class DiscreteEquations:
    """All that a march forwards in time and a sweep backwards need; the same for every sample.

    States are rows of `size` coordinates: of parity (propagator.py), or of modes in a reduced model.

    Attributes
    ----------
    observed
        Steps that are observed, with the number of their observation.
    tau
        Length of a step.
    multistep, stage
        What the implicit part of a step multiplies with, (a_0 M + τ A)⁻¹ M and (M + ½ τ A)⁻¹ M;
        `multistep_load` and `stage_load` are what the source adds.
    sensors : (n_sensors, size)
        Observations of a state.
    """

    observed: dict[int, int]
    tau: float
    multistep: Propagator
    multistep_load: Array
    stage: Propagator
    stage_load: Array
    sensors: Array
    reaction: NodalReaction

    @classmethod
    def of(
        cls,
        observed: dict[int, int],
        tau: float,
        mass: sp.csr_array,
        transport: sp.csr_array,
        load: Array,
        parity: Parity,
        sensors: Array,
        reaction: NodalReaction,
    ) -> DiscreteEquations:
        """Of M, A and F in the coordinates of the states."""
        multistep = propagator(mass, A0 * mass + tau * transport, tau * load, parity)
        stage = propagator(mass, mass + tau / 2 * transport, tau / 2 * load, parity)
        return cls(observed, tau, *multistep, *stage, sensors, reaction)

    @property
    def last(self) -> int:
        """The last step that is observed, where time ends."""
        return max(self.observed)
