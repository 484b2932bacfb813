"""What the convection–diffusion–reaction problem consists of: coefficients, sources, sensors, times.

    ∂u/∂t = div(D grad u) − v·grad u + f + Σ_j y_j r_j(u)   in (0, 1)²,   D grad u·n = 0,   u(0) = 0

The velocity is v = (∂ψ/∂y, −∂ψ/∂x) with ψ = (c₁/π) sin πx sin πy + (c₂/π) sin 2πx sin 2πy, hence free of
divergence and tangential to the boundary. With f ≥ 0 and r_j(0) = 0 the solution is non-negative. The
parameters are the reactions' weights y, on the unit simplex; the observables are u at a few sensors and times.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gnvpro.pde_data.problems.contract import PickledWithoutCaches
from gnvpro.pde_data.problems.convection.reactions import Reactions
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Axis, Coordinate, Space


@dataclass(frozen=True)
class GaussianSource:
    """A normalised Gaussian of standard deviation `width`, times `weight`."""

    x: float
    y: float
    width: float
    weight: float


@dataclass(frozen=True)
class ConvectionCoefficients:
    """Everything the equation and its observations contain; non-dimensional.

    Attributes
    ----------
    circulations
        (c₁, c₂): strengths of the one-cell and of the four-cell part of the flow.
    source_strength
        Multiplies all sources.
    sensors
        Points (x, y) of the closed unit square.
    times
        Observation times, increasing, in (0, `final_time`].
    final_time
        The interval that the solvers divide into their steps.
    """

    diffusion: float = 0.05
    circulations: tuple[float, float] = (3.0, 1.0)
    source_strength: float = 40.0
    sources: tuple[GaussianSource, ...] = (
        GaussianSource(0.30, 0.30, 0.12, 1.0),
        GaussianSource(0.70, 0.60, 0.15, 0.5),
    )
    sensors: tuple[tuple[float, float], ...] = (
        (0.25, 0.25),
        (0.375, 0.625),
        (0.75, 0.125),
        (0.75, 0.75),
        (0.125, 0.75),
        (0.625, 0.375),
    )
    times: tuple[float, ...] = (0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
    final_time: float = 1.0
    reactions: Reactions = field(default_factory=Reactions)

    def __post_init__(self) -> None:
        if not self.diffusion > 0:
            raise UsageError(f"expected diffusion > 0, got {self.diffusion}")
        if not self.source_strength >= 0:
            raise UsageError(
                f"expected source_strength >= 0 (the solution must not turn negative), got {self.source_strength}"
            )
        for source in self.sources:
            if not (source.width > 0 and source.weight >= 0):
                raise UsageError(f"expected sources of width > 0 and weight >= 0, got {source}")
        if not self.sensors or not all(0 <= x <= 1 and 0 <= y <= 1 for x, y in self.sensors):
            raise UsageError(f"expected at least one sensor, all in the unit square [0, 1]², got {self.sensors}")
        if not self.times or np.any(np.diff((0.0, *self.times)) <= 0) or self.times[-1] > self.final_time:
            raise UsageError(f"expected increasing times in (0, {self.final_time:g}], got {self.times}")

    def observation_steps(self, steps: int) -> tuple[int, ...]:
        """The step after which each time is observed, when `final_time` is divided into `steps` steps.

        Raises UsageError: a time falls between two steps; names the next number of steps for which none does.
        """
        if steps < 1:
            raise UsageError(f"expected at least one time step, got {steps}")
        if not self.divides(steps):
            fitting = next((n for n in range(steps + 1, 100 * steps + 1000) if self.divides(n)), None)
            advice = f"use steps = {fitting}" if fitting else "choose times that are multiples of a common step"
            raise UsageError(
                f"{steps} steps of {self.final_time / steps:.6g} do not meet all observation times "
                f"{self.times[0]:g} … {self.times[-1]:g}; {advice}"
            )
        return tuple(round(time / self.final_time * steps) for time in self.times)

    def divides(self, steps: int) -> bool:
        """Whether so many steps of `final_time` meet all observation times."""
        count = np.array(self.times) / self.final_time * steps
        return bool(np.abs(count - np.rint(count)).max() < 1e-8 * steps and np.rint(count).min() >= 1)


@dataclass(frozen=True)
class ConvectionModel(PickledWithoutCaches):
    """What every route has: the coefficients, and with them the spaces."""

    coefficients: ConvectionCoefficients = field(default_factory=ConvectionCoefficients)

    @cached_property
    def parameters(self) -> Space:
        """Weights of the reactions, on the simplex."""
        reactions = self.coefficients.reactions
        return Space.vector(
            reactions.names,
            lower=(0.0,) * reactions.count,
            upper=(1.0,) * reactions.count,
            constraint="simplex",
            law="normalised_uniform",
        )

    @cached_property
    def observables(self) -> Space:
        """u by time and sensor, time-major."""
        x, y = zip(*self.coefficients.sensors, strict=True)
        sensor = Axis(
            "sensor",
            tuple(str(i) for i in range(len(self.coefficients.sensors))),
            coordinates=(Coordinate("sensor_x", x), Coordinate("sensor_y", y)),
        )
        return Space((Axis("time", self.coefficients.times), sensor))
