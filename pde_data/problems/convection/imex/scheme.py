"""The time stepping of the fast solver: implicit–explicit, in the coefficients of a history of states.

SBDF4 (Ascher, Ruuth & Wetton 1995),

    Σ_i a_i U_{m+1−i} / τ + M⁻¹(A U_{m+1} − F) = Σ_i b_i r(U_{m−i}),

started by three steps of the Runge–Kutta pair ARS(4,4,3) (Ascher, Ruuth & Spiteri 1997). SBDF5 with fewer steps is
as accurate for typical parameters, but unstable for those near the corners of the simplex.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gnvpro.surrogate.spaces import Array

# SBDF4: a_0 multiplies the new state, a_1 … a_4 and b_1 … b_4 the last four states and their reactions.
A0, _A = 25 / 12, np.array([-4.0, 3.0, -4 / 3, 1 / 4])
_B = np.array([4.0, -6.0, 4.0, -1.0])
K = len(_B)

# ARS(4,4,3): implicit tableau without its diagonal (which is 1/2), explicit tableau, times of the stages.
_ARS_IMPLICIT = ((), (1 / 6,), (-1 / 2, 1 / 2), (3 / 2, -3 / 2, 1 / 2))
_ARS_EXPLICIT = ((1 / 2,), (11 / 18, 1 / 18), (5 / 6, -5 / 6, 1 / 2), (1 / 4, 7 / 4, 3 / 4, -7 / 4))
STAGE_TIMES = (0.0, 1 / 2, 2 / 3, 1 / 2)


class Slots(NamedTuple):
    """One evaluation of the reaction in a stack of states and reactions, and the combination that follows it.

    Attributes
    ----------
    state, reaction
        Slots the state is read from and its reaction written to.
    weights : (slots,)
        Of the combination; none where nothing is to be combined.
    """

    state: int
    reaction: int
    weights: Array


def multistep_slots(step: int, tau: float) -> Slots:
    """In the history: slots 0 … K−1 hold the last K states and slots K … 2K−1 their reactions, both cyclically.

    The combination is the right-hand side of the step to state `step`.
    """
    newest, age = (step - 1) % K, (step - 1 - np.arange(K)) % K
    return Slots(newest, K + newest, np.concatenate([-_A[age], tau * _B[age]]))


# Slots of a Runge–Kutta step: stage values u_0 … u_4 (u_0 the old state), their reactions r_0 … r_3, and right-hand
# sides V_1 … V_3. The implicit slope of stage i is (u_i − V_i)·2/τ, by the stage equation: no product with A.
STAGE_SLOTS = 12


def stage_slots(i: int, tau: float) -> Slots:
    """In a Runge–Kutta step; the combination is the right-hand side of stage `i` + 1."""
    weights = np.zeros(STAGE_SLOTS)
    weights[0] = 1.0
    weights[5 : 6 + i] = tau * np.array(_ARS_EXPLICIT[i])
    weights[1 : 1 + i] = 2 * np.array(_ARS_IMPLICIT[i])
    weights[9 : 9 + i] = -2 * np.array(_ARS_IMPLICIT[i])
    return Slots(i, 5 + i, weights)
