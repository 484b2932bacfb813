"""Coarse to fine: train a network of few steps in depth, prolong its weights to twice the steps, train on.

The weights are a function of time, so halving the step hardly changes the map
(`gnvpro.surrogate.networks.in_time.time_weights`). alpha_theta is halved with it, as in the original study: theta has
twice the entries, and alpha h sum ||theta_j||² stands for an integral.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from gnvpro.surrogate.networks.in_time.time_weights import TimeNetwork
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.solvers.protocol import Status


class Level(NamedTuple):
    """Where a level starts: its network, theta (None for random weights), alpha_theta, and its label in the history."""

    network: TimeNetwork
    theta: Tensor | None
    alpha_theta: float
    stage: str


def coarse_to_fine(
    network: TimeNetwork,
    levels: int,
    alpha_theta: float,
    start: Callable[[Level], Fit],
    budget: float,
    on_step: Callable[[Fit], None] | None = None,
) -> list[Fit]:
    """The fits of all levels, coarsest first; fewer where one was interrupted.

    `network` is the coarsest, `start` begins the fit of a level, and `budget` is in work units, shared equally by all levels.
    A level starts from the best iterate on validation data of the one before.
    """
    theta, fits = None, []
    for level in range(levels):
        stage = f"level {level + 1}, {network.steps} steps"
        fit = start(Level(network, theta, alpha_theta, stage))
        fits.append(fit)
        if fit.advance(budget / levels, on_step) is Status.interrupted:
            break
        network, theta = network.prolonged(fit.best.theta)
        alpha_theta *= 0.5
    return fits
