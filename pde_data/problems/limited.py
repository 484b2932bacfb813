"""How a problem is solved: with a time limit for every sample, on several MPI ranks, by several threads."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import numpy as np

from gnvpro.pde_data.problems.contract import NoSampleAtFault, Problem, SolveStatus
from gnvpro.pde_data.problems.loading import CompletedProblem, as_problem, takes_communicator
from gnvpro.pde_data.problems.pickled import PickledProblem
from gnvpro.pde_data.problems.processes import ProcessEnded, Processes
from gnvpro.pde_data.problems.solving import count_cpu_seconds, message_of
from gnvpro.pde_data.problems.worker import WARM_UP, ProblemOnRanks, Task
from gnvpro.surrogate.checks import integer
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import offers
from gnvpro.surrogate.spaces import Array

# What a problem offers that its process is asked for.
_ASKED = ("evaluate", "solve", "jvp", "vjp", "tangents", "jacobian", "linearize", "hessian")
# Until a first sample is solved: what setting up a solver may take beside it, and after how many starts that is granted to
# one in ever more of them only.
_SET_UP_SECONDS, _SET_UPS = 60.0, 3
# A reference, or a solver without care for speed, may take so many limits.
_REFERENCE = 100


@contextmanager
def solved_within(
    problem: Problem,
    time_limit: float | None = None,
    ranks: int = 1,
    threads_per_solve: int = 1,
    workers: int | None = None,
) -> Iterator[Problem]:
    """The problem as it is to be solved; its processes, if it has any, are ended after use.

    Parameters
    ----------
    time_limit
        Seconds of a sample; one that takes longer has status `TIMED_OUT`. In a process that is ended then, and one that dies
        costs its sample; or by the problem itself where it offers `with_time_limit(seconds)`.
    ranks
        MPI processes that solve a sample together: of a problem by name whose factory takes `comm`, a communicator.
    threads_per_solve
        Of every process, of linear algebra and of OpenMP.
    workers
        Processes of this machine that each solve so: a warning tells where all together are more than its processors.

    Raises UsageError: what is no limit or number; ranks or threads of a problem that cannot have them.
    """
    if time_limit is not None and not time_limit > 0:
        raise UsageError(f"expected a time limit of more than 0 s, got {time_limit!r}")
    integer("ranks", ranks, least=1)
    integer("threads_per_solve", threads_per_solve, least=1)
    if time_limit is None and ranks == threads_per_solve == 1:
        yield problem
    elif hasattr(problem, "with_time_limit"):
        if ranks > 1 or threads_per_solve > 1:
            raise UsageError(f"problem {problem.name!r} is solved elsewhere: set its ranks and threads there")
        yield as_problem(problem.with_time_limit(time_limit))  # pyright: ignore[reportAttributeAccessIssue]
    else:
        busy, processors = (workers or 1) * ranks * threads_per_solve, os.cpu_count() or 1
        if ranks * threads_per_solve > 1 and busy > processors:
            warnings.warn(
                f"{workers or 1} workers of {ranks} ranks of {threads_per_solve} threads on {processors} processors wait for "
                "each other",
                stacklevel=4,
            )
        limited = LimitedProblem(problem, time_limit, ranks, threads_per_solve)
        try:
            yield cast(Problem, limited)
        finally:
            limited.close()


class LimitedProblem:
    """A problem that is solved in a process of its own, or on several ranks, each sample within a time limit if there is one.

    The process is started when something is first solved, keeps its solver, and is started again where it has ended: by a
    sample that took too long, or by itself. That sample has failed, or its derivative; the next is solved. Several samples
    that are solved at once have as many limits together, and are solved one by one where that is not enough. A process just
    started has some time more, for setting up its solver.

    It is the problem in all else. Its references have more time; what returns functions (`pullback`) it does not offer.
    """

    def __init__(
        self,
        problem: Problem,
        time_limit: float | None = None,
        ranks: int = 1,
        threads: int = 1,
        first: Callable[[], object] | None = None,
    ) -> None:
        """`first` is called in the process before all else.

        Raises UsageError: a problem that cannot be pickled; ranks of one whose factory takes no communicator.
        """
        self._problem, self._settings = problem, (time_limit, ranks, threads, first)
        sent = PickledProblem.of(problem) if ranks == 1 else _on_ranks(problem)
        self._limit, self._task = time_limit, Task(sent, threads, ranks, first)
        self._processes: Processes | None = None
        self._closed = False
        self._set_up, self._known, self._starts = _SET_UP_SECONDS, False, 0
        self._solved, self._spent = False, 0.0

    def __reduce__(self) -> Any:
        return LimitedProblem, (self._problem, *self._settings)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_") or attribute == "pullback":
            raise AttributeError(attribute)
        value = getattr(self._problem, attribute)
        if attribute not in _ASKED:
            return value
        if not offers(self._problem, attribute):
            raise AttributeError(attribute)
        return partial(self._asked, attribute)

    @property
    def references(self) -> Callable[[], dict[str, Callable[[Array], Array]]]:
        """The problem's, computed in the process; no attribute of a problem that has none."""
        names = self._problem.references  # pyright: ignore[reportAttributeAccessIssue]
        return lambda: {name: partial(self._reference, name) for name in names()}

    @property
    def coarser(self) -> Callable[[], LimitedProblem | None]:
        """The problem's, solved in the same way."""
        coarser = self._problem.coarser  # pyright: ignore[reportAttributeAccessIssue]

        def limited() -> LimitedProblem | None:
            return None if (coarse := coarser()) is None else LimitedProblem(coarse, *self._settings)

        return limited

    @property
    def plain_route(self) -> Callable[[], LimitedProblem]:
        """The problem's, in a process of its own."""
        route = self._problem.plain_route  # pyright: ignore[reportAttributeAccessIssue]
        limit, _, threads, first = self._settings
        longer = None if limit is None else _REFERENCE * limit
        return lambda: LimitedProblem(as_problem(route()), longer, 1, threads, first)

    def warm_up(self) -> None:
        """Start the process and solve nothing, so that the problem makes its solver if it does so then."""
        self._ask(WARM_UP, (), None)

    def close(self, for_good: bool = False) -> None:
        """End the process, whatever it does; the next call starts another, unless it is for good."""
        self._closed, processes = for_good, self._processes
        if processes is not None:
            processes.end()

    def _asked(self, operation: str, *arguments: Array) -> Any:
        """A call of the problem's function; the limit is that of a sample, and again of each of its derivatives."""
        solves = max(len(arguments[0]), 1)
        if operation == "tangents":
            solves *= 1 + arguments[1].shape[1]
        elif operation in ("jacobian", "linearize", "hessian"):
            solves *= 1 + self._problem.parameters.size
        return self._ask(operation, arguments, None if self._limit is None else solves * self._limit)

    def _reference(self, name: str, y: Array) -> Any:
        seconds = None if self._limit is None else _REFERENCE * len(y) * self._limit
        return self._ask("references", (name, y), seconds)

    def _ask(self, operation: str, arguments: tuple[Any, ...], seconds: float | None) -> Any:
        fresh = self._processes is None or not self._processes.running
        if self._processes is None or fresh:
            self._processes = self._started()
            self._starts += 1
            self._solved, self._spent = False, 0.0
        if self._closed:
            self._processes.end()
            raise ProcessEnded("the process that solves it is closed")
        granted = self._known or self._starts <= _SET_UPS or self._starts & (self._starts - 1) == 0
        more = self._set_up if granted and not self._solved else 0.0
        began = time.monotonic()
        try:
            answer = self._processes.ask(operation, arguments, None if seconds is None else seconds + more)
        except ProcessEnded as ended:
            count_cpu_seconds(time.monotonic() - began)  # what it has computed is not known any more
            if ended.status == SolveStatus.TIMED_OUT:  # the limit is told without what was granted beside it
                raise ProcessEnded(f"timed out: not solved within {seconds:g} s", ended.status) from None
            raise
        count_cpu_seconds(answer.cpu_seconds)
        if not self._solved:
            self._spent += time.monotonic() - began  # also of a call that failed: it may have set up the solver
            if operation != WARM_UP and answer.error is None and _any_finite(answer.result):
                self._solved = self._known = True
                self._set_up = max(1.0, 2 * self._spent)
        return answer.unpack()

    def _started(self) -> Processes:
        try:
            return Processes(self._task)
        except (ImportError, ProcessEnded):
            raise
        except Exception as error:
            raise NoSampleAtFault(
                f"no process that solves {self._problem.name!r} could be started: {message_of(error)}"
            ) from error


def _any_finite(result: Any) -> bool:
    """Whether a call has solved anything."""
    values = result[0] if isinstance(result, tuple) and result else result
    try:
        return bool(np.isfinite(np.asarray(values, dtype=np.float64)).any())
    except (TypeError, ValueError):
        return True


def _on_ranks(problem: Problem | CompletedProblem) -> ProblemOnRanks:
    if isinstance(problem, CompletedProblem) and problem.options is not None and takes_communicator(problem.made_by):
        return ProblemOnRanks(problem.made_by, problem.options, problem.level)
    raise UsageError(
        f"problem {problem.name!r} cannot be solved on several ranks: expected package.module:factory, whose argument `comm` "
        "is the communicator of the ranks; see docs/solving.md"
    )
