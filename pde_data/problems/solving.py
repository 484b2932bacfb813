"""A user's code called: on copies of its arrays, and so that a bad sample costs one sample."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import NoSampleAtFault, Problem, SolveFailed, SolveStatus, has_observables
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# Of the message of a failed sample, in characters.
_LONGEST_MESSAGE = 2000
# Of the reasons of failures, letters of each and how many, that a table shows.
_LONGEST_TOLD, _TOLD = 200, 3


@dataclass(frozen=True, eq=False)
class SolvedBlock:
    """Observables (n, n_out), status (n,) and a message for every sample, empty where there is nothing to say."""

    observables: Array
    status: NDArray[np.int8]
    messages: tuple[str, ...]

    @classmethod
    def joined(cls, parts: list[SolvedBlock]) -> SolvedBlock:
        """Samples of several blocks, in their order; one block at least."""
        messages = tuple(message for part in parts for message in part.messages)
        observables, status = (np.concatenate([getattr(p, name) for p in parts]) for name in ("observables", "status"))
        return cls(observables, status, messages)

    @property
    def failures(self) -> dict[str, int]:
        """Reasons of the failures, with their numbers of samples."""
        rows = zip(self.status, self.messages, strict=True)
        return dict(Counter(message or SolveStatus(s).in_words for s, message in rows if s != SolveStatus.OK))

    @classmethod
    def failed(cls, n: int, n_out: int, message: str, status: SolveStatus = SolveStatus.EXCEPTION) -> SolvedBlock:
        """So many samples that could not be solved, for one reason."""
        return cls(np.full((n, n_out), np.nan), np.full(n, status, dtype=np.int8), (message,) * n)


def reasons(failures: dict[str, int]) -> str:
    """The commonest few of `SolvedBlock.failures` in words."""
    most = sorted(failures.items(), key=lambda reason: -reason[1])
    told = [" ".join(reason.split())[:_LONGEST_TOLD] + (f" ({n} times)" if n > 1 else "") for reason, n in most[:_TOLD]]
    return "; ".join(told) + ("; …" if len(most) > _TOLD else "")


def on_copies(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` that is given copies of arrays, and of what it returns copies too.

    A user's code may change its argument in place, or return one buffer at every call. Functions that it returns, alone
    or in a tuple or dict, are called in the same way, and so is a model.
    """

    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        result = function(*map(_copied, arguments), **{name: _copied(value) for name, value in keywords.items()})
        return _copied(result)

    return call


class OnCopies:
    """A model whose functions are called on copies; everything else is the model's own."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "_model" or attribute.startswith("__"):  # not yet there while unpickling
            raise AttributeError(attribute)
        return attribute_on_copies(self._model, attribute)


def attribute_on_copies(model: Any, attribute: str) -> Any:
    """An attribute of a user's model; what is called with arrays is called on copies."""
    value = getattr(model, attribute)
    return on_copies(value) if attribute in _CALLED else value


# What a model may offer that is called with arrays, or returns what is.
_CALLED = (
    "evaluate", "solve", "jvp", "vjp", "tangents", "jacobian", "linearize", "pullback", "hessian",
    "references", "plain_route",
)  # fmt: skip


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, tuple):
        return tuple(map(_copied, value))
    if isinstance(value, dict):
        return {name: _copied(part) for name, part in value.items()}
    if hasattr(value, "evaluate"):
        return OnCopies(value)
    return on_copies(value) if callable(value) else value


def checked(values: Any, what: str, shape: tuple[int, ...]) -> Array:
    """What a model returned, as float64 of the shape expected; a copy.

    Raises UsageError: another shape, or what is no real number.
    """
    if shape[0] == 0:  # nothing was asked for: a list of nothing has no second dimension
        return np.empty(shape)
    array = numbers(values, f"the {what}")
    if array.shape != shape:
        raise UsageError(f"expected {what} {shape}, got {array.shape}")
    return array.copy()


def at_once(problem: Problem, n: int) -> int:
    """How many of n samples are handed to a problem together: its `piece_size`, or all if it has a `block_size`, else one.

    Nothing that is solved is then lost to an exception or an interrupt, and no result depends on the others beside it.
    """
    return getattr(problem, "piece_size", None) or (max(n, 1) if getattr(problem, "block_size", None) else 1)


def solve_block(problem: Problem, y: Array, *, partial: bool = False) -> SolvedBlock:
    """Solve a block of samples so that a bad sample costs one sample.

    So many as `at_once` says are handed over together; where that raises or gives arrays of the wrong shape, they are
    solved again one by one. Observables of every failed sample are NaN. A missing library is raised, not recorded, and so
    is `NoSampleAtFault`.

    `partial`: a sample some of whose observables are NaN keeps the others, with the status `PARTIAL`; else it has failed.
    """
    size = at_once(problem, len(y))
    pieces = [solve_piece(problem, y[i : i + size], partial=partial) for i in range(0, max(len(y), 1), size)]
    return SolvedBlock.joined(pieces)


def solve_piece(problem: Problem, y: Array, *, partial: bool = False) -> SolvedBlock:
    """Solve samples at once, or one by one where that fails; see `solve_block`."""
    try:
        return _solve_at_once(problem, y, partial)
    except (ImportError, NoSampleAtFault):
        raise
    except (Exception, SystemExit) as error:
        if len(y) == 0:
            raise
        if len(y) == 1:
            status = error.status if isinstance(error, SolveFailed) else SolveStatus.EXCEPTION
            return SolvedBlock.failed(1, problem.observables.size, message_of(error), status)
    return SolvedBlock.joined([solve_piece(problem, y[i : i + 1], partial=partial) for i in range(len(y))])


# CPU seconds of the processes that problems are solved in (`limited`).
_elsewhere = 0.0
_COUNTING = threading.Lock()


def cpu_seconds() -> float:
    """CPU seconds of this process and of those that it has solved problems in: differences tell what something cost."""
    return time.process_time() + _elsewhere


def count_cpu_seconds(seconds: float) -> None:
    """Add what another process has spent for this one."""
    global _elsewhere
    with _COUNTING:
        _elsewhere += seconds


def message_of(error: BaseException) -> str:
    """Type and text of an exception, as they can be stored; of one that is a sentence (UsageError, SolveFailed), the text."""
    try:
        text = str(error)
    except Exception:  # an exception of the user's, whose text cannot be made
        text = "its text cannot be made"
    kind = "" if isinstance(error, UsageError | SolveFailed) else f"{type(error).__name__}: "
    return _stored(f"{kind}{text}")


def _stored(message: Any) -> str:
    """As it can be stored, and not too long."""
    text = str(message).encode(errors="replace").decode()
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + " …"


def derivative_block(
    derivative: Callable[..., Array],
    arguments: tuple[Array, ...],
    size: int,
    failed: Callable[[str], object] = lambda reason: None,
) -> Array:
    """`jvp` or `vjp` of a problem, (n, size), so that a bad sample costs one sample.

    All rows at once; where that raises or gives another shape, each alone, NaN for those that fail; `failed` is told why.

    Raises ImportError, NotImplementedError: a missing library, or no such derivative: no sample is at fault.
    """
    try:
        return checked(on_copies(derivative)(*arguments), "derivatives", (len(arguments[0]), size))
    except (ImportError, NotImplementedError, NoSampleAtFault):
        raise
    except (Exception, SystemExit) as error:
        if len(arguments[0]) == 1:
            failed(message_of(error))
            return np.full((1, size), np.nan)
    rows = zip(*arguments, strict=True)
    return np.concatenate(
        [derivative_block(derivative, tuple(part[None] for part in row), size, failed) for row in rows]
    )


def _solve_at_once(problem: Problem, y: Array, partial: bool) -> SolvedBlock:
    result = on_copies(problem.solve)(y)
    if not isinstance(result, tuple) or len(result) not in (2, 3):
        raise UsageError(f"expected observables and status of solve, got a {type(result).__name__}")
    observables, codes = checked(result[0], "observables", (len(y), problem.observables.size)), np.array(result[1])
    if codes.shape != (len(y),):
        raise UsageError(f"expected status {(len(y),)}, got {codes.shape}")
    if not np.isin(codes, [code for code in SolveStatus if code != SolveStatus.PENDING]).all():
        raise UsageError(f"expected status 0 to {max(SolveStatus)}, got {codes.tolist()}")
    messages = tuple(map(_stored, result[2])) if len(result) == 3 else ("",) * len(y)
    if len(messages) != len(y):
        raise UsageError(f"expected {len(y)} messages, got {len(messages)}")
    status = codes.astype(np.int8)
    # A problem need not say that a sample is solved in part: its numbers do.
    solved, finite, missing = has_observables(status), np.isfinite(observables), np.isnan(observables)
    status[solved & finite.all(axis=1)] = SolveStatus.OK
    status[solved & ~finite.all(axis=1)] = SolveStatus.NOT_FINITE
    if partial:
        status[solved & missing.any(axis=1) & finite.any(axis=1) & (finite | missing).all(axis=1)] = SolveStatus.PARTIAL
    failed = ~has_observables(status)
    observables[failed] = np.nan
    # A sample that is solved has no message: there it would say that its derivatives failed.
    return SolvedBlock(observables, status, tuple(m if s else "" for m, s in zip(messages, status, strict=True)))
