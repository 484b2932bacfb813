"""CPU seconds per sample, of the PDE and of the surrogate, each one at a time and in batches.

All on one thread and measured with `time.process_time`: a clock on the wall would measure whoever else uses the
machine. Every figure is the median of several runs after one that warms up.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from threadpoolctl import threadpool_limits

from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.loading import as_problem
from gnvpro.pde_data.problems.solving import cpu_seconds, solve_block
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Array
from gnvpro.training.device import torch_threads

SURROGATE_BATCH = 10_000
# Values that a batch of the surrogate may have: of a field fewer are evaluated at once.
_MOST_VALUES = 1 << 24
# Samples of a median over single evaluations: one evaluation is too short for the clock.
_SINGLES, _PDE_SINGLES, _PLAIN_SINGLES = 200, 5, 3
# CPU seconds after which a measurement ends with the runs it has.
_MOST_SECONDS = 10.0


@dataclass(frozen=True)
class Costs:
    """CPU seconds per sample; that of the reference solver is None where the problem has none.

    Attributes
    ----------
    plain
        The PDE as one would write it without care for speed, one sample at a time.
    production_batch
        Samples in a batch of the fast solver.
    no_plain
        Why that route cannot be made for the settings of this problem.
    surrogate_batch
        Samples in a batch of the surrogate.
    """

    plain: float | None
    production_single: float
    production_batched: float
    production_batch: int
    surrogate_single: float
    surrogate_batched: float
    no_plain: str | None = None
    surrogate_batch: int = SURROGATE_BATCH

    @property
    def speedup_single(self) -> float:
        """Surrogate against fast solver, both one sample at a time."""
        return self.production_single / self.surrogate_single

    @property
    def speedup_batched(self) -> float:
        """Surrogate against fast solver, both in batches."""
        return self.production_batched / self.surrogate_batched

    @property
    def speedup_plain(self) -> float | None:
        """Surrogate against reference solver, both one sample at a time."""
        return None if self.plain is None else self.plain / self.surrogate_single

    def payoff(self, n_generated: float, training: float) -> float:
        """Evaluations after which the surrogate has cost less than the fast solver in batches.

        (n_generated · production + training) / (production − surrogate), in CPU seconds; infinite where the
        surrogate is not the faster of the two.
        """
        gained = self.production_batched - self.surrogate_batched
        return (n_generated * self.production_batched + training) / gained if gained > 0 else float("inf")


def measure_costs(problem: Problem, surrogate: ForwardModel, points: Callable[[int], Array], repeats: int) -> Costs:
    """Time a problem and its surrogate at `points(n)`, n parameters that both accept."""
    batch = int(getattr(problem, "block_size", 32))
    n_many = min(SURROGATE_BATCH, max(1, _MOST_VALUES // surrogate.observables.size))
    block, many = points(batch), points(n_many)
    few = many[:_SINGLES]
    with one_thread():
        plain = no_plain = None
        if hasattr(problem, "plain_route"):
            try:
                route = as_problem(problem.plain_route())  # pyright: ignore[reportAttributeAccessIssue]
            except UsageError as refused:  # it cannot be made for these settings
                no_plain = str(refused)
            else:
                plain = _one_at_a_time(route, block[:_PLAIN_SINGLES])
        return Costs(
            plain=plain,
            no_plain=no_plain,
            production_single=_one_at_a_time(problem, block[:_PDE_SINGLES]),
            production_batched=median_cpu_seconds(lambda: solve_block(problem, block), repeats) / batch,
            production_batch=batch,
            surrogate_single=median_cpu_seconds(lambda: _each(surrogate, few), repeats) / len(few),
            surrogate_batched=median_cpu_seconds(lambda: surrogate.evaluate(many), repeats) / n_many,
            surrogate_batch=n_many,
        )


def median_cpu_seconds(action: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds of an action, after one run that is not counted."""
    action()
    return _median_cpu_seconds([action] * repeats)


def _median_cpu_seconds(actions: Iterable[Callable[[], object]]) -> float:
    times = []
    for action in actions:
        began = cpu_seconds()
        action()
        times.append(cpu_seconds() - began)
        if sum(times) >= _MOST_SECONDS:
            break
    return statistics.median(times)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch and for the linear algebra under numpy."""
    with torch_threads(1), threadpool_limits(limits=1):
        yield


def _one_at_a_time(problem: Problem, points: Array) -> float:
    """Median over samples; the first solve builds the solver and is not counted."""
    solve_block(problem, points[:1])
    return _median_cpu_seconds(partial(solve_block, problem, point[None]) for point in points)


def _each(model: ForwardModel, points: Array) -> None:
    for point in points:
        model.evaluate(point[None])
