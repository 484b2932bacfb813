"""What derivatives and coarse solves cost, in solves of the problem itself: what a build decides by."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gnvpro.apps.build.settings import BuildSettings
from gnvpro.apps.comparison.costs import median_cpu_seconds, one_thread
from gnvpro.pde_data.generation.pieces import TANGENTS, solved_piece
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.solving import derivative_block, solve_block
from gnvpro.pde_data.sampling import directions, draw
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import offers
from gnvpro.surrogate.spaces import Array

# Of the points that are timed at; no data set of a build or a study has this seed.
_TIMED_SEED = 1_000_003
# Samples of a problem that names no block, and runs of which the median counts.
_TIMED, _REPEATS = 32, 5
# Samples that tell what one costs where a problem solves one at a time: the first one sets up its solver.
_TIMED_ALONE = 2
# Derivatives of a sample, where they are bought.
DIRECTIONS = 3


@dataclass(frozen=True)
class SolveCost:
    """CPU seconds of a solve, and of one derivative beside it; one thread, in blocks."""

    solve: float
    derivative: float

    def of(self, samples: int, directions: int) -> float:
        """CPU seconds of so many samples, each with derivatives along so many directions."""
        return samples * (self.solve + directions * self.derivative)


def solve_cost(problem: Problem, n_directions: int) -> SolveCost:
    """Measured on a whole block of samples, the derivatives along so many directions together."""
    n = getattr(problem, "block_size", _TIMED)
    y = draw(problem.parameters, _TIMED_SEED, np.arange(n))
    along = directions(problem.parameters, _TIMED_SEED, np.arange(n), n_directions)
    with one_thread():
        solve = median_cpu_seconds(lambda: solve_block(problem, y), _REPEATS) / n
        if not n_directions:
            return SolveCost(solve, 0.0)
        tangents = getattr(problem, "tangents", None)
        if tangents is not None:
            both = median_cpu_seconds(lambda: solved_piece(problem, y, along, TANGENTS), _REPEATS) / n
            return SolveCost(solve, max(both - solve, 0.0) / n_directions)
        return SolveCost(solve, median_cpu_seconds(lambda: _derived(problem, y, along), _REPEATS) / n)


@dataclass(frozen=True)
class Costs:
    """In solves of the problem: one derivative beside a solve, a coarse solve, a derivative beside that.

    None for what the problem does not offer, or is not to use. `measuring`: what it took to measure them.
    """

    derivative: float | None = None
    coarse: float | None = None
    coarse_derivative: float | None = None
    measuring: float = 0.0

    def sample(self, n_directions: int) -> float:
        """Of a sample with derivatives along so many directions."""
        return 1 + n_directions * (self.derivative or 0.0)

    def coarse_sample(self, n_directions: int) -> float:
        """The same of the coarse version."""
        return (self.coarse or 0.0) + n_directions * (self.coarse_derivative or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def measured_costs(problem: Problem, coarse: Problem | None, settings: BuildSettings) -> Costs:
    """What the settings do not give is measured: on whole blocks of a problem that prefers them, else on single samples.

    Raises UsageError: derivatives are asked for, and the problem offers none.
    """
    has_derivatives = offers(problem, "tangents") or offers(problem, "jvp")
    if settings.derivatives and not has_derivatives:
        raise UsageError(f"problem {problem.name!r} offers no derivatives (jvp, tangents); leave `derivatives` out")
    r = settings.derivatives
    if r is None:
        r = min(DIRECTIONS, problem.parameters.size)
    r = r if has_derivatives else 0
    derivative, of_coarse, measuring = settings.derivative_cost, settings.coarse_cost, 0.0
    if (r and derivative is None) or (coarse is not None and of_coarse is None):
        in_blocks = hasattr(problem, "block_size")
        measured = solve_cost if in_blocks else _cost_alone
        fine = measured(problem, r)
        derivative = derivative or fine.derivative / fine.solve
        measuring = 0.0 if in_blocks else _spent_alone(problem, r, derivative)
        if coarse is not None and of_coarse is None:
            of_coarse = measured(coarse, 0).solve / fine.solve
    if coarse is None:
        return Costs(derivative if r else None, measuring=measuring)
    assert of_coarse is not None
    coarse_derivative = None
    if r and derivative is not None and (offers(coarse, "tangents") or offers(coarse, "jvp")):
        coarse_derivative = of_coarse * derivative
    return Costs(derivative if r else None, of_coarse, coarse_derivative, measuring)


def _spent_alone(problem: Any, n_directions: int, derivative: float) -> float:
    """What `_cost_alone` takes, in solves."""
    if not n_directions:
        return float(_TIMED_ALONE)
    beside = 1 + n_directions * derivative if offers(problem, "tangents") else derivative
    return _TIMED_ALONE * (1 + beside)


def _cost_alone(problem: Any, n_directions: int) -> SolveCost:
    """Seconds on the clock of single samples, the first of which sets up the solver: the work may be done elsewhere."""
    y = draw(problem.parameters, _TIMED_SEED, np.arange(_TIMED_ALONE))
    along = directions(problem.parameters, _TIMED_SEED, np.arange(1), n_directions)

    def seconds_of(call: Callable[[], object]) -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    with one_thread():
        solve = [seconds_of(lambda row=row: solve_block(problem, row[None])) for row in y][-1]
        if not n_directions:
            return SolveCost(solve, 0.0)
        if offers(problem, "tangents"):
            both = [seconds_of(lambda row=row: solved_piece(problem, row[None], along, TANGENTS)) for row in y][-1]
            return SolveCost(solve, max(both - solve, 0.0) / n_directions)
        return SolveCost(solve, [seconds_of(lambda row=row: _derived(problem, row[None], along)) for row in y][-1])


def _derived(problem: Problem, y: Array, along: Array) -> Array:
    """Derivatives along the first of the directions; NaN where the problem fails, which ends no measurement."""
    return derivative_block(problem.jvp, (y, along[:, 0]), problem.observables.size)
