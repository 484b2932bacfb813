"""The methods that are compared, by name: the objective each works on, its solver, and the settings it is tuned over.

Every grid has nine settings. Methods that take the whole gradient are tuned in one number of the solver and in the
regularisation of theta (a factor on the problem's own); VarPro + Adam has a rate alone, finely; stochastic ones have their
rate and the size of their batches, which regularises too. These, the baselines, get two such grids, eighteen settings: no
nine held the best of all problems (small batches on PDE data, large ones on pixels).

Where W is kept it starts at random, or solved for at the first theta if a setting says `solved`. Solved is what the
original study gave Adam, and a handicap: with features that are nearly dependent, as nearly linear ones are, the solution
is large, and descent is slow to move it (measured in docs/studies.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.surrogate.objectives.gram import LayerSum
from gnvpro.surrogate.objectives.protocol import Objective
from gnvpro.surrogate.objectives.reduced import ReducedObjective
from gnvpro.surrogate.objectives.regularisation import Regulariser
from gnvpro.training.fitting.fit import Fit, Validation
from gnvpro.training.solvers.first_order import GradientDescent, MinibatchDescent, Rule
from gnvpro.training.solvers.kronecker_metric import KroneckerMetric
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.levenberg import MAX_WEIGHTS, LevenbergMarquardt
from gnvpro.training.solvers.protocol import Solver
from gnvpro.training.solvers.trust_region import TrustRegionKrylov

Setting = Mapping[str, float]
# In a setting of a method that keeps W: start from W solved for.
SOLVED = "solved"
# Of the problem's own regularisation of theta.
ALPHAS = (1.0, 1e2, 1e4)
# Shares of the samples, of the two grids of methods that work on batches.
BATCHES = (0.02, 0.08, 0.32), (0.01, 0.04, 0.16)


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes
    ----------
    label
        For tables and figures.
    objective
        `reduced`: W eliminated. `full`: W kept. `batches`: W kept, and paid by the batch.
    solver
        From a setting, the budget in work units and a seed.
    grid
        Settings to tune over.
    usual
        The setting without tuning: the problem's own regularisation.
    needs
        `layers`: works in the Kronecker-factored metric, and would be another method on a network that does not show its
        layers. `matrix`: a dense Gauss-Newton matrix, which is out of reach but for few weights, least squares and a
        network of dense layers.
    """

    label: str
    objective: Literal["reduced", "full", "batches"]
    solver: Callable[[Setting, float, int], Solver]
    grid: tuple[Setting, ...]
    usual: Setting
    needs: Literal["nothing", "layers", "matrix"] = "nothing"

    @property
    def eliminates(self) -> bool:
        """Whether this is variable projection."""
        return self.objective == "reduced"

    def suits(self, reduced: ReducedObjective, theta: Tensor) -> bool:
        """Whether it can do what its name says on this network."""
        if self.needs == "layers":
            return KroneckerMetric.at(reduced.sibling().at(theta), 0) is not None
        if self.needs == "matrix":
            shown = isinstance(reduced.network.linearize(theta, reduced.inputs[:1]), LayerSum)
            has_terms = reduced.sibling().at(theta).inner.gram_terms("kaufman") is not None
            return shown and has_terms and len(theta) <= MAX_WEIGHTS
        return True


def run_method(
    method: str,
    reduced: ReducedObjective,
    theta0: Tensor,
    validation: Validation,
    budget: float,
    setting: Setting | None = None,
    seed: int = 0,
    on_step: Callable[[Fit], None] | None = None,
) -> Fit:
    """Train by one method until the budget is spent.

    Looks are after every iteration or epoch, and off the clock, for all methods alike; iterates from beyond
    the budget are not chosen.

    Parameters
    ----------
    reduced
        The problem; its own meter is left alone.
    theta0 : (n_theta,)
        Of the network.
    setting
        See `set_up`.

    Raises
    ------
    ValueError
        As `set_up` does.
    """
    objective, theta, solver = set_up(method, reduced, theta0, budget, setting, seed)
    solver.validation_interval = 1
    fit = Fit(objective, theta, solver, validation, stage=method, time_validation=False, choose_beyond_budget=False)
    fit.advance(budget - objective.meter.total, on_step)
    return fit


def set_up(
    method: str, reduced: ReducedObjective, theta0: Tensor, budget: float, setting: Setting | None = None, seed: int = 0
) -> tuple[Objective, Tensor, Solver]:
    """The objective a method works on, with a meter of its own, the first variables, and its solver.

    Parameters
    ----------
    theta0 : (n_theta,)
        Of the network.
    budget
        Work units, for methods whose rates follow a plan.
    setting
        One of the method's grid, or any of that form; None for the usual one. Where W is kept `solved=1` starts
        it from the solution at `theta0`, which is charged as a forward pass.

    Raises
    ------
    ValueError
        An unknown method, a setting that it does not have, or a network on which it cannot do what its name says.
    """
    if method not in METHODS:
        raise UsageError(f"unknown method {method!r}; the known ones are {', '.join(METHODS)}")
    chosen = METHODS[method]
    setting = chosen.usual if setting is None else setting
    optional = set() if chosen.eliminates else {SOLVED}
    if set(setting) - optional != set(chosen.grid[0]):
        raise UsageError(
            f"expected settings {', '.join(chosen.grid[0])} of {method}, got {', '.join(setting) or 'none'}"
        )
    if not chosen.suits(reduced, theta0):
        raise UsageError(
            f"{method} works on least squares with a small dense network; take another method"
            if chosen.needs == "matrix"
            else f"{method} needs the layers of the network, which this one does not show; take one without kf"
        )
    objective, theta = _problem(chosen, reduced, theta0, setting, seed)
    return objective, theta, chosen.solver(setting, budget, seed)


def _problem(
    method: Method, reduced: ReducedObjective, theta: Tensor, setting: Setting, seed: int
) -> tuple[Objective, Tensor]:
    apart = reduced.sibling()
    if (factor := setting.get("alpha", 1.0)) != 1.0:
        apart.regulariser = _Scaled(reduced.regulariser, factor)
    if method.objective == "reduced":
        return apart, theta
    full = FullObjective(apart, watched=method.objective == "batches")
    return full, full.start(theta, "solved" if setting.get(SOLVED) else "random", seed)


@dataclass(frozen=True)
class _Scaled:
    """A regulariser times a number."""

    one: Regulariser
    factor: float

    def value(self, theta: Tensor) -> Tensor:
        return self.factor * self.one.value(theta)

    def apply(self, direction: Tensor) -> Tensor:
        return self.factor * self.one.apply(direction)

    def mean_diagonal(self, where: slice) -> float:
        return self.factor * self.one.mean_diagonal(where)


def _grid(**values: tuple[float, ...]) -> tuple[Setting, ...]:
    return tuple(dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values()))


def _needs(metric: bool) -> Literal["nothing", "layers"]:
    return "layers" if metric else "nothing"


def _lbfgs(label: str, objective: Literal["reduced", "full"], metric: bool) -> Method:
    def solver(setting: Setting, budget: float, seed: int) -> Solver:
        return LimitedMemoryBFGS(int(setting["memory"]), metric, seed)

    grid, usual = _grid(memory=(10, 30, 100), alpha=ALPHAS), dict(memory=30, alpha=1.0)
    return Method(label, objective, solver, grid, usual, _needs(metric))


def _krylov(label: str, objective: Literal["reduced", "full"], sizes: tuple[float, ...], metric: bool) -> Method:
    def solver(setting: Setting, budget: float, seed: int) -> Solver:
        return TrustRegionKrylov(int(setting["size"]), metric=metric, seed=seed)

    grid, usual = _grid(size=sizes, alpha=ALPHAS), dict(size=sizes[1], alpha=1.0)
    return Method(label, objective, solver, grid, usual, _needs(metric))


def _batches(label: str, kind: Literal["adam", "sgd"], *rates: tuple[float, ...]) -> Method:
    def solver(setting: Setting, budget: float, seed: int) -> Solver:
        return MinibatchDescent(Rule(kind, setting["rate"], budget), setting["batch"], seed=seed)

    grids = (_grid(rate=some, batch=sizes) for some, sizes in zip(rates, BATCHES, strict=True))
    return Method(label, "batches", solver, tuple(itertools.chain(*grids)), dict(rate=1e-2, batch=0.04))


def _levenberg(setting: Setting, budget: float, seed: int) -> Solver:
    return LevenbergMarquardt(setting["damping"])


def _varpro_adam(setting: Setting, budget: float, seed: int) -> Solver:
    return GradientDescent(Rule("adam", setting["rate"], budget))


METHODS: dict[str, Method] = {
    "varpro-lbfgs": _lbfgs("VarPro + L-BFGS", "reduced", False),
    "varpro-kf-lbfgs": _lbfgs("VarPro + KF-L-BFGS", "reduced", True),
    "varpro-krylov": _krylov("VarPro + Gauss–Newton–Krylov", "reduced", (10, 20, 40), False),
    "varpro-kf-krylov": _krylov("VarPro + KF-Krylov", "reduced", (20, 40, 80), True),
    "varpro-lm": Method(
        "VarPro + Levenberg–Marquardt", "reduced", _levenberg,
        _grid(damping=(1e-5, 1e-3, 1e-1), alpha=ALPHAS), dict(damping=1e-3, alpha=1.0), "matrix",
    ),
    "varpro-adam": Method(
        "VarPro + Adam", "reduced", _varpro_adam,
        _grid(rate=(1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 2e-1, 5e-1)), dict(rate=2e-2),
    ),
    "gauss-newton": _krylov("full Gauss–Newton", "full", (10, 20, 40), False),
    "lbfgs": _lbfgs("full L-BFGS", "full", False),
    "kf-lbfgs": _lbfgs("full KF-L-BFGS", "full", True),
    "adam": _batches("Adam", "adam", (3e-3, 1e-2, 3e-2), (1e-2, 3e-2, 1e-1)),
    "sgd": _batches("SGD", "sgd", (1e-2, 3e-2, 1e-1), (1e-2, 5e-2, 2e-1)),
}  # fmt: skip
