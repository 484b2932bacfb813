"""Convection–diffusion–reaction: its coefficients, and the forward model a user sees.

    ∂u/∂t = div(D grad u) − v·grad u + f + Σ_j y_j r_j(u)   in (0, 1)²,   D grad u·n = 0,   u(0) = 0

The velocity is v = (∂ψ/∂y, −∂ψ/∂x) with ψ = (c₁/π) sin πx sin πy + (c₂/π) sin 2πx sin 2πy, hence free of
divergence and tangential to the boundary. With f ≥ 0 and r_j(0) = 0 the solution is non-negative. The
parameters are the reactions' weights y, on the unit simplex; the observables are u at a few sensors and times.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pde_data.problem import SolveStatus
from pde_data.reactions import Reactions, ReactionTable
from surrogate.forward_model import Array, Axis, Coordinate, Space

if TYPE_CHECKING:
    from pde_data.convection_imex import ImexSolver
    from pde_data.convection_newton import PlainConvectionDiffusionReaction

# Up to this many samples are evaluated at a narrow width: one sample should not pay for a whole batch.
_FEW = 8


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
            raise ValueError(f"expected diffusion > 0, got {self.diffusion}")
        if not self.source_strength >= 0:
            raise ValueError(
                f"expected source_strength >= 0 (the solution must not turn negative), got {self.source_strength}"
            )
        for source in self.sources:
            if not (source.width > 0 and source.weight >= 0):
                raise ValueError(f"expected sources of width > 0 and weight >= 0, got {source}")
        if not self.sensors or not all(0 <= x <= 1 and 0 <= y <= 1 for x, y in self.sensors):
            raise ValueError(f"expected at least one sensor, all in the unit square [0, 1]², got {self.sensors}")
        if not self.times or np.any(np.diff((0.0, *self.times)) <= 0) or self.times[-1] > self.final_time:
            raise ValueError(f"expected increasing times in (0, {self.final_time:g}], got {self.times}")

    def observation_steps(self, steps: int) -> tuple[int, ...]:
        """The step after which each time is observed, when `final_time` is divided into `steps` steps.

        Raises
        ------
        ValueError
            A time falls between two steps; names the next number of steps for which none does.
        """
        if steps < 1:
            raise ValueError(f"expected at least one time step, got {steps}")
        if not self._divides(steps):
            fitting = next((n for n in range(steps + 1, 100 * steps + 1000) if self._divides(n)), None)
            advice = f"use steps = {fitting}" if fitting else "choose times that are multiples of a common step"
            raise ValueError(
                f"{steps} steps of {self.final_time / steps:.6g} do not meet all observation times "
                f"{self.times[0]:g} … {self.times[-1]:g}; {advice}"
            )
        return tuple(round(time / self.final_time * steps) for time in self.times)

    def _divides(self, steps: int) -> bool:
        count = np.array(self.times) / self.final_time * steps
        return bool(np.abs(count - np.rint(count)).max() < 1e-8 * steps and np.rint(count).min() >= 1)

    @property
    def parameter_space(self) -> Space:
        """Weights of the reactions, on the simplex."""
        n = self.reactions.count
        return Space.vector(
            self.reactions.names,
            lower=(0.0,) * n,
            upper=(1.0,) * n,
            constraint="simplex",
            law="normalised_uniform",
        )

    @property
    def observable_space(self) -> Space:
        """u by time and sensor, time-major."""
        x, y = zip(*self.sensors, strict=True)
        sensor = Axis(
            "sensor",
            tuple(str(i) for i in range(len(self.sensors))),
            coordinates=(Coordinate("sensor_x", x), Coordinate("sensor_y", y)),
        )
        return Space((Axis("time", self.times), sensor))


@dataclass(frozen=True)
class ImexSettings:
    """Discretisation of the production route; the defaults reach an observable error below 1e-4.

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
                raise ValueError(f"expected {name} >= 1, got {getattr(self, name)}")
        if self.element not in ("quadrilateral", "triangle"):
            raise ValueError(f"expected element 'quadrilateral' or 'triangle', got {self.element!r}")

    def table(self, reactions: Reactions) -> ReactionTable:
        """The reaction table with these settings."""
        return ReactionTable(reactions, self.table_lower, self.table_upper, self.table_step)


@dataclass(frozen=True)
class ConvectionDiffusionReaction:
    """The forward model from reaction weights to sensor values, solved by the production route.

    Constructing it is cheap; FEniCSx is imported and the solver built at the first solve.

    Raises
    ------
    ValueError
        The number of steps does not meet the observation times, or the table reaches a pole of the rates.
    """

    coefficients: ConvectionCoefficients = field(default_factory=ConvectionCoefficients)
    settings: ImexSettings = field(default_factory=ImexSettings)
    name: str = field(default="cdr", init=False)

    def __post_init__(self) -> None:
        self.coefficients.observation_steps(self.settings.steps)
        self.settings.table(self.coefficients.reactions)

    @cached_property
    def parameters(self) -> Space:
        """Weights of the reactions, on the simplex."""
        return self.coefficients.parameter_space

    @cached_property
    def observables(self) -> Space:
        """u by time and sensor, time-major."""
        return self.coefficients.observable_space

    @cached_property
    def definition(self) -> dict[str, Any]:
        """JSON-able: everything that fixes the numbers."""
        return dict(
            problem=self.name,
            route="ARS(4,4,3) and SBDF4, reaction at the nodes",
            coefficients=asdict(self.coefficients),
            settings=asdict(self.settings),
        )

    @property
    def block_size(self) -> int:
        """Samples that are best solved together."""
        return self.settings.width

    def refined(self) -> ConvectionDiffusionReaction:
        """The same problem on half the mesh width and half the time step."""
        s = asdict(self.settings)
        settings = ImexSettings(**{**s, "cells": 2 * s["cells"], "steps": 2 * s["steps"], "width": _FEW})
        return ConvectionDiffusionReaction(self.coefficients, settings)

    def plain_route(self) -> PlainConvectionDiffusionReaction:
        """The same equation as one would write it in FEniCSx and trust: what speed-ups are measured from."""
        from pde_data.convection_newton import PlainConvectionDiffusionReaction  # imports this module

        return PlainConvectionDiffusionReaction(self.coefficients)

    @cached_property
    def _solver(self) -> ImexSolver:
        from pde_data.convection_imex import ImexSolver  # needs FEniCSx and numba

        return ImexSolver(self.coefficients, self.settings)

    def solve(self, y: Array) -> tuple[Array, NDArray[np.int8]]:
        """Observables (n, n_out) and a status per sample (n,); NaN where the status is not 0.

        Samples are solved `settings.width` at a time, short blocks padded, so that a sample's bits do not
        depend on how many others come along.
        """
        return self._solve(self.parameters.rows(y), self.settings.width)

    def evaluate(self, y: Array) -> Array:
        """Observables (n, n_out), NaN in the rows that failed.

        The numbers of `solve`, up to rounding: a few samples are not padded to the full width.
        """
        y = self.parameters.rows(y)
        return self._solve(y, len(y) if 0 < len(y) <= _FEW else self.settings.width)[0]

    def _solve(self, y: Array, width: int) -> tuple[Array, NDArray[np.int8]]:
        observables = np.full((len(y), self.observables.size), np.nan)
        admissible = self.parameters.contains(y)
        status = np.where(admissible, SolveStatus.OK, SolveStatus.OUTSIDE_PARAMETER_SPACE).astype(np.int8)
        # Inadmissible samples keep their place in the block, with the centre of the simplex instead.
        stand_in = np.where(admissible[:, None], y, 1.0 / y.shape[1])
        for start in range(0, len(y), width):
            block = slice(start, min(start + width, len(y)))
            n = block.stop - start
            values, outcome = self._solver.solve(_padded(stand_in[block], width))
            status[block] = np.where(admissible[block], outcome[:n], status[block])
            observables[block] = np.where((status[block] == SolveStatus.OK)[:, None], values[:n], np.nan)
        return observables, status

    def jvp(self, y: Array, dy: Array) -> Array:
        """Tangent of the discrete equations, row by row: (n, n_in), (n, n_in) -> (n, n_out)."""
        y, dy = self.parameters.require(y), self.parameters.rows(dy)
        if len(y) != len(dy):
            raise ValueError(f"expected one direction per sample, got {len(dy)} directions for {len(y)} samples")
        return self._tangent(y, dy[:, None, :])[:, 0]

    def jacobian(self, y: Array) -> Array:
        """Derivative of every observable by every parameter: (n, n_in) -> (n, n_out, n_in).

        In ambient coordinates; on the simplex only its action on directions that sum to zero has a meaning.
        """
        y = self.parameters.require(y)
        units = np.broadcast_to(np.eye(y.shape[1]), (len(y), y.shape[1], y.shape[1]))
        return self._tangent(y, units).swapaxes(1, 2)

    def vjp(self, y: Array, dc: Array) -> Array:
        """Gradient of <dc, observables>, row by row: (n, n_in), (n, n_out) -> (n, n_in).

        Through the whole Jacobian: its tangents share one batch, which a backward sweep does not beat.
        """
        y, dc = self.parameters.require(y), self.observables.rows(dc)
        if len(y) != len(dc):
            raise ValueError(f"expected one row of weights per sample, got {len(dc)} rows for {len(y)} samples")
        return np.einsum("noi,no->ni", self.jacobian(y), dc)

    def _tangent(self, y: Array, directions: Array) -> Array:
        out = np.empty((len(y), directions.shape[1], self.observables.size))
        together = max(1, self.settings.width // directions.shape[1])
        for start in range(0, len(y), together):
            block = slice(start, start + together)
            out[block] = self._solver.tangent(y[block], directions[block])
        return out

    def estimate_error(self, y: Array) -> float:
        """Mean relative L2 error of the observables at `y`, measured against the `refined` discretisation.

        Raises
        ------
        ValueError
            No sample was solved by both.
        """
        y = self.parameters.require(y)
        coarse, fine = self.evaluate(y), self.refined().evaluate(y)
        solved = np.isfinite(coarse).all(1) & np.isfinite(fine).all(1)
        if not solved.any():
            raise ValueError(f"none of the {len(y)} samples was solved on both meshes; give others")
        difference = np.linalg.norm(coarse[solved] - fine[solved], axis=1)
        return float(np.mean(difference / np.linalg.norm(fine[solved], axis=1)))


def _padded(block: Array, width: int) -> Array:
    return np.concatenate([block, np.repeat(block[:1], width - len(block), axis=0)])
