"""Cases of two fidelities: coarse and fine samples of one model, and what a coarse one costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np

from gnvpro.apps.build.costs import solve_cost
from gnvpro.apps.studies.few_solves.functions import PAIRS, Pair
from gnvpro.apps.studies.surrogates import darcy
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.loading import registered_problem
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.sampling import default_design, directions, draw, place
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Array

# Of the samples that measure, and how many they are; numbers of the fine samples, none of which is a coarse one.
_TEST_SEED, _N_TEST = 1_000_003, 400
_FINE = 2**20
_TIMED, _TIMED_DIRECTIONS = 20, 3


@dataclass(frozen=True)
class LevelCosts:
    """Of a coarse solve, and of one derivative beside it, in fine solves."""

    coarse: float
    coarse_derivative: float = 0.0

    def of(self, n_coarse: int, n_directions: int, n_fine: int) -> float:
        """Of so many samples of each kind, in fine solves."""
        return n_coarse * (self.coarse + n_directions * self.coarse_derivative) + n_fine


@dataclass(frozen=True, eq=False)
class Levels:
    """What a case offers; every number is reproducible by its seed.

    Attributes
    ----------
    coarse
        Number, seed and number of directions to coarse samples.
    points
        Number, seed and number of coarse samples beside them to parameters of fine samples by the law (n, n_in).
    fine_at
        Parameters (n, n_in) to fine samples.
    costs
        As measured on one thread.
    coarse_sizes, fine_sizes
        Numbers of samples that are tried unless others are asked for; `paired` where each goes with one of the other.
    methods
        Ways to place fine samples, and models beside ours, that make sense.
    has_derivatives
        Of the coarse samples.
    measure
        The error that is shown.
    """

    coarse: Callable[[int, int, int], Samples]
    points: Callable[[int, int, int], Array]
    fine_at: Callable[[Array], Samples]
    costs: Callable[[], LevelCosts]
    coarse_sizes: tuple[int, ...]
    fine_sizes: tuple[int, ...]
    methods: tuple[str, ...] = ("random", "alone")
    has_derivatives: bool = False
    paired: bool = False
    measure: Literal["relative", "nrmse"] = "relative"


def of_problems(
    make: Callable[[], tuple[Problem, Problem]], coarse_sizes: tuple[int, ...], fine_sizes: tuple[int, ...]
) -> Levels:
    """A problem and a cheaper version of it."""
    both = cache(make)

    def coarse(n: int, seed: int, n_directions: int) -> Samples:
        problem: Any = both()[1]
        space, index = problem.parameters, np.arange(n)
        samples = _solved(problem, place(space, default_design(space), seed, index))
        if not n_directions:
            return samples
        along = directions(space, seed, index, n_directions)
        return replace(samples, directions=along, derivatives=problem.tangents(samples.parameters, along)[1])

    def points(n: int, seed: int, n_coarse: int) -> Array:
        return draw(both()[0].parameters, seed, _FINE + np.arange(n))

    @cache
    def costs() -> LevelCosts:
        fine, cheap = (solve_cost(problem, _TIMED_DIRECTIONS) for problem in both())
        return LevelCosts(cheap.solve / fine.solve, cheap.derivative / fine.solve)

    return Levels(
        coarse, points, lambda y: _solved(both()[0], y), costs, coarse_sizes, fine_sizes,
        methods=("random", "placed", "alone"), has_derivatives=True,
    )  # fmt: skip


def _solved(problem: Problem, y: Array) -> Samples:
    background = getattr(problem, "background", None)
    solved = solve_block(problem, y).observables
    return Samples(y, solved, problem.parameters, problem.observables, background=background)


def _of_darcy() -> Levels:
    """Darcy flow on 50 x 50 cells, and on 10 x 10."""

    def parameters(n: int, seed: int) -> Array:
        return np.random.default_rng(seed).standard_normal((n, darcy.MODES))

    def solved(y: Array, solve: Callable[[Array], Array]) -> Samples:
        return Samples(y, np.array([solve(row) for row in y]), *darcy.spaces())

    @cache
    def costs() -> LevelCosts:
        y, seconds = darcy.parameters(_TIMED), []
        for solve in (darcy.pressure, darcy.coarse_pressure):
            began = time.process_time()
            solved(y, solve)
            seconds.append(time.process_time() - began)
        return LevelCosts(seconds[1] / seconds[0])

    return Levels(
        lambda n, seed, _: solved(parameters(n, 2 * seed), darcy.coarse_pressure),
        lambda n, seed, _: parameters(n, 2 * seed + 1),
        lambda y: solved(y, darcy.pressure),
        costs, (950,), (6, 25, 50, 100),
    )  # fmt: skip


def of_pair(pair: Pair) -> Levels:
    """A function and its cheaper version; the fine samples are some of the coarse ones."""
    function = pair.fine
    return Levels(
        lambda n, seed, _: pair.samples(n, 1, seed)[0],
        lambda n, seed, n_coarse: pair.samples(max(n_coarse, n), n, seed)[1].parameters,
        lambda y: Samples(y, function.observe(y), function.parameter_space, function.observable_space),
        lambda: LevelCosts(0.1),  # as is usually assumed of these
        (100, 200, 400), (10, 20, 40), methods=("random", "alone", "co-kriging"), paired=True, measure="nrmse",
    )  # fmt: skip


@cache
def measuring_samples(name: str) -> Samples:
    """Fine samples that measure."""
    levels = LEVELS[name]
    return levels.fine_at(levels.points(_N_TEST, _TEST_SEED, 0))


def _cdr(**settings: int) -> tuple[Problem, Problem]:
    return registered_problem("cdr"), registered_problem("cdr", {"settings": settings})


def _other_diffusion() -> tuple[Problem, Problem]:
    fine = registered_problem("cdr")
    diffusion = fine.definition["options"]["coefficients"]["diffusion"]
    return fine, registered_problem("cdr", {"coefficients": {"diffusion": 0.8 * diffusion}})


def _with_cheapest(name: str) -> tuple[Problem, Problem]:
    """With the last of the chain of its coarser versions."""
    fine = coarsest = registered_problem(name)
    while (coarser := coarsest.coarser()) is not None:  # pyright: ignore[reportAttributeAccessIssue]
        coarsest = coarser
    return fine, coarsest


_FEW = (6, 12, 20, 25, 50, 100)
LEVELS: dict[str, Levels] = {
    "cdr": of_problems(lambda: _with_cheapest("cdr"), (500,), _FEW),
    "cdr-linear": of_problems(lambda: _cdr(cells=8, degree=1, steps=20), (500,), _FEW),
    "cdr-rough": of_problems(lambda: _cdr(cells=3, degree=2, steps=20), (500,), _FEW),
    "cdr-diffusion": of_problems(_other_diffusion, (500,), _FEW),
    "dcr": of_problems(lambda: _with_cheapest("dcr"), (288,), (25, 50, 100)),
    "nonlinear-diffusion": of_problems(lambda: _with_cheapest("nonlinear-diffusion"), (400,), (6, 12, 25, 50)),
    "darcy": _of_darcy(),
    **{name: of_pair(pair) for name, pair in PAIRS.items()},
}
