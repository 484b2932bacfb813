"""The training methods by name: what each minimises, its solver, and a call that trains by any of them.

`varpro-…` eliminates W (variable projection); the others keep W among the variables. `kf`: in the Kronecker-factored
metric. `varpro-batches`, `adam` and `sgd` take batches and are charged for them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, override

from torch import Tensor

from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import did_you_mean
from gnvpro.surrogate.objectives.batches import BatchObjective
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.surrogate.objectives.gram import LayerSum
from gnvpro.surrogate.objectives.protocol import Objective
from gnvpro.surrogate.objectives.reduced import ReducedObjective
from gnvpro.surrogate.objectives.regularisation import Regulariser
from gnvpro.surrogate.objectives.streamed import StreamedObjective
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.validation import Validation
from gnvpro.training.solvers.batches import BatchProjection
from gnvpro.training.solvers.first_order import GradientDescent, MinibatchDescent, Rule
from gnvpro.training.solvers.kronecker_metric import KroneckerMetric
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.levenberg import FIRST_DAMPING, MAX_WEIGHTS, LevenbergMarquardt
from gnvpro.training.solvers.protocol import Solver
from gnvpro.training.solvers.trust_region import TrustRegionKrylov

Setting = Mapping[str, float]
# In a setting: a factor on the task's own regularisation of theta; start from W solved for where W is kept; epochs over
# which a method of minibatches averages its weights.
ALPHA, SOLVED, AVERAGED = "alpha", "solved", "averaged"


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """The prepared data of one training of one network: all that a method needs.

    `Preparation.task` prepares it from samples, `ClassPreparation.task` from labelled ones; any tensors will do.

    Attributes
    ----------
    reduced
        The objective with W eliminated. Every training gets a copy with a meter of its own.
    theta : (n_theta,)
        First weights of the network.
    measures
        Loss and error of the samples of a set: `train`, `validation` or `test`.
    """

    reduced: ReducedObjective | StreamedObjective
    theta: Tensor
    measures: Callable[[str], Validation]

    @property
    def in_memory(self) -> ReducedObjective:
        """The objective; UsageError where its samples are read from a file, which a few methods cannot do with."""
        if isinstance(self.reduced, StreamedObjective):
            raise UsageError("expected samples in memory; train with more memory, or by another method")
        return self.reduced

    @cached_property
    def validation(self) -> Validation:
        """What chooses the iterate."""
        return self.measures("validation")


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes
    ----------
    objective
        `reduced`: W eliminated. `full`: W kept. `batches`: W kept, and paid by the batch. `reduced-batches`: W eliminated,
        and paid by the batch.
    solver
        From a setting, the budget in work units and a seed.
    usual
        The setting without tuning; others have the same names, and `alpha` and `solved` besides.
    needs
        `layers`: works in the Kronecker-factored metric, and would be another method on a network that does not show its
        layers. `closed form`: least squares. `matrix`: a dense Gauss-Newton matrix, which is out of reach but for few
        weights, least squares and a network of dense layers.
    """

    objective: Literal["reduced", "full", "batches", "reduced-batches"]
    solver: Callable[[Setting, float, int], Solver]
    usual: Setting
    needs: Literal["nothing", "layers", "closed form", "matrix"] = "nothing"

    @property
    def eliminates(self) -> bool:
        """Whether this is variable projection."""
        return self.objective.startswith("reduced")

    def suits(self, reduced: ReducedObjective, theta: Tensor) -> bool:
        """Whether it can do what its name says on this network."""
        if self.needs == "layers":
            return KroneckerMetric.at(reduced.sibling().at(theta), 0) is not None
        if self.needs == "closed form":
            return isinstance(reduced.elimination, LeastSquaresLayer)
        if self.needs == "matrix":
            # From the cheapest to the dearest: the last asks for a pass over all samples and an inner solve.
            return (
                len(theta) <= MAX_WEIGHTS
                and isinstance(reduced.linearize(theta, slice(1)), LayerSum)
                and reduced.sibling().at(theta).inner.gram_terms("kaufman") is not None
            )
        return True


def train_by(
    method: str,
    task: TrainingTask,
    budget: float,
    setting: Setting | None = None,
    seed: int = 0,
    on_step: Callable[[Fit], None] | None = None,
) -> Fit:
    """Train by one method until the budget is spent, as a comparison of methods does it.

    Validation is measured after every iteration or epoch and off the clock, for all methods alike, and iterates from
    beyond the budget are not chosen. `fit.best` is the chosen iterate, `fit.history` has a record for every iteration.

    The budget includes the work of a solved start; the task's meter is left alone. For the rest of the arguments, and for
    trainings that stop at something else than a budget, see `fit_by`.

    Examples
    --------
    Adam and variable projection on the same prepared samples, from the same weights:

    >>> prepared = Preparation(samples.split(0), TrainSettings(seed=0))
    >>> task = prepared.task(DenseNetwork(3, (8, 8)), prepared.standardised(gain=1.0))
    >>> fits = [train_by(method, task, budget=200) for method in ("adam", "varpro-kf-lbfgs")]
    >>> [task.measures("test").measure(fit.best)[1] for fit in fits]

    Raises
    ------
    UsageError
        As `fit_by` does, and for a network on which the method cannot do what its name says.
    """
    fit = fit_by(method, task, budget, setting, seed, compared=True, choose_beyond_budget=False)
    fit.advance(budget - fit.objective.meter.total, on_step)
    return fit


def fit_by(
    method: str,
    task: TrainingTask,
    budget: float,
    setting: Setting | None = None,
    seed: int = 0,
    *,
    outer: Tensor | None = None,
    compared: bool = False,
    **options: Any,
) -> Fit:
    """The fit of one method at its first point, to be advanced.

    Parameters
    ----------
    budget
        Work units by which the rates of `adam`, `sgd`, `varpro-adam` and `varpro-batches` fall to zero; the others do not
        read it.
    setting
        None for the method's usual one; else the same names with other values, and where wanted `alpha`, a factor on the
        task's regularisation of theta. Where W is kept, `solved=1` starts from W solved for at the first theta, which
        is charged as a forward pass.
    seed
        Of what the solver draws, and of a random W.
    outer : (width + q + 1, k)
        W to start from, for a method that keeps it; random without.
    compared
        Measure validation after every iteration and off the clock, and refuse a network on which the method is another.
    options
        Of `gnvpro.training.fitting.fit.Fit`.

    Raises
    ------
    UsageError
        An unknown method, or a setting that it does not have.
    """
    if method not in METHODS:
        hint = did_you_mean(method, METHODS)
        raise UsageError(f"unknown method {method!r}; {hint}the known ones are {', '.join(METHODS)}")
    chosen = METHODS[method]
    setting = chosen.usual if setting is None else setting
    kept = {ALPHA, SOLVED, AVERAGED} if chosen.objective == "batches" else {ALPHA, SOLVED}
    optional = {ALPHA} if chosen.eliminates else kept
    if set(setting) - optional != set(chosen.usual) - optional:
        raise UsageError(f"expected settings {', '.join(chosen.usual)} of {method}, got {', '.join(setting) or 'none'}")
    solver = chosen.solver(setting, budget, seed)
    if compared:
        _require_suitable(method, chosen, task)
        options = {"stage": method, "time_validation": False, **options}
        solver.validation_interval = 1
    return Fit(*_start(chosen, task, setting, seed, outer), solver, task.validation, method=method, **options)


def _start(
    method: Method, task: TrainingTask, setting: Setting, seed: int, outer: Tensor | None
) -> tuple[Objective, Tensor]:
    """What the method minimises, with a meter of its own, and its first variables."""
    reduced = task.reduced.sibling()
    if (factor := setting.get(ALPHA, 1.0)) != 1.0:
        reduced = reduced.sibling(alpha_theta=_Scaled(reduced.regulariser, factor))
    if method.eliminates:
        return (BatchObjective(reduced) if method.objective == "reduced-batches" else reduced), task.theta
    full = FullObjective(task.in_memory.sibling(alpha_theta=reduced.regulariser), watched=method.objective == "batches")
    if outer is not None:
        return full, full.joined(task.theta, outer)
    return full, full.start(task.theta, "solved" if setting.get(SOLVED) else "random", seed)


def _require_suitable(name: str, method: Method, task: TrainingTask) -> None:
    if not method.suits(task.in_memory, task.theta):
        raise UsageError(f"{name} {_NEEDS[method.needs]}")


_NEEDS = {
    "layers": "needs the layers of the network, which this one does not show; take one without kf",
    "closed form": "works on least squares; take another method for classes",
    "matrix": "works on least squares with a small dense network; take another method",
}


@dataclass(frozen=True)
class _Scaled(Regulariser):
    """A regulariser times a number."""

    regulariser: Regulariser
    factor: float

    @override
    def value(self, theta: Tensor) -> Tensor:
        return self.factor * self.regulariser.value(theta)

    @override
    def apply(self, direction: Tensor) -> Tensor:
        return self.factor * self.regulariser.apply(direction)

    @override
    def mean_diagonal(self, where: slice) -> float:
        return self.factor * self.regulariser.mean_diagonal(where)


def _lbfgs(objective: Literal["reduced", "full"], metric: bool) -> Method:
    def solver(setting: Setting, budget: float, seed: int) -> Solver:
        return LimitedMemoryBFGS(int(setting["memory"]), metric, seed)

    return Method(objective, solver, dict(memory=30), "layers" if metric else "nothing")


def _krylov(objective: Literal["reduced", "full"], metric: bool) -> Method:
    def solver(setting: Setting, budget: float, seed: int) -> Solver:
        return TrustRegionKrylov(int(setting["size"]), metric=metric, seed=seed)

    # In the metric a longer basis pays: 0.0020 -> 0.0012 on the CDR data at equal work.
    return Method(objective, solver, dict(size=40 if metric else 20), "layers" if metric else "nothing")


def _batches(kind: Literal["adam", "sgd"]) -> Method:
    def solver(setting: Setting, budget: float, seed: int) -> Solver:
        rule, averaged = Rule(kind, setting["rate"], budget), setting.get(AVERAGED, 0.0)
        return MinibatchDescent(rule, setting["batch"], seed=seed, averaged=averaged)

    return Method("batches", solver, dict(rate=1e-2, batch=0.04))


METHODS: dict[str, Method] = {
    "varpro-lbfgs": _lbfgs("reduced", metric=False),
    "varpro-kf-lbfgs": _lbfgs("reduced", metric=True),
    "varpro-krylov": _krylov("reduced", metric=False),
    "varpro-kf-krylov": _krylov("reduced", metric=True),
    "varpro-lm": Method(
        "reduced", lambda setting, *_: LevenbergMarquardt(setting["damping"]), dict(damping=FIRST_DAMPING), "matrix"
    ),
    "varpro-adam": Method(
        "reduced", lambda setting, budget, _: GradientDescent(Rule("adam", setting["rate"], budget)), dict(rate=2e-2)
    ),
    "varpro-batches": Method(
        "reduced-batches",
        lambda setting, budget, seed: BatchProjection(
            Rule("adam", setting["rate"], budget), setting["batch"], seed=seed
        ),
        dict(rate=2e-2, batch=1024),
        "closed form",
    ),
    "gauss-newton": _krylov("full", metric=False),
    "lbfgs": _lbfgs("full", metric=False),
    "kf-lbfgs": _lbfgs("full", metric=True),
    "adam": _batches("adam"),
    "sgd": _batches("sgd"),
}
