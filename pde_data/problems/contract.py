"""What a problem is: a forward model with a definition, and a status for every solve."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Array


class SolveStatus(IntEnum):
    """What became of one sample; the values are those of `status` in a data set."""

    PENDING = -1
    OK = 0
    RANGE_EXCEEDED = 1
    NOT_FINITE = 2
    EXCEPTION = 3
    OUTSIDE_PARAMETER_SPACE = 4
    TIMED_OUT = 5
    EXIT_CODE = 6
    SIGNAL = 7
    PARTIAL = 8

    @property
    def in_words(self) -> str:
        """As a sentence says it, such as `timed out`."""
        return "solved in part" if self is SolveStatus.PARTIAL else self.name.lower().replace("_", " ")


# Of the CF conventions, what only a user can say.
TEXT_ATTRIBUTES = ("title", "institution", "references", "comment")


def has_observables(status: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Which samples are solved, or some of their observables are there."""
    return (status == SolveStatus.OK) | (status == SolveStatus.PARTIAL)


def has_failed(status: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Which samples could not be solved at all."""
    return (status > SolveStatus.OK) & (status != SolveStatus.PARTIAL)


class SolveFailed(RuntimeError):
    """Raised by a model whose solve failed at one sample, in a way that has a status of its own."""

    def __init__(self, message: str, status: SolveStatus = SolveStatus.EXCEPTION) -> None:
        super().__init__(message)
        self.status = status


class NoSampleAtFault(UsageError):
    """Nothing can be solved, whatever the sample: no process can be started, or a server is gone."""


@runtime_checkable
class Problem(ForwardModel, Protocol):
    """A `ForwardModel` that can be named and described, and whose samples fail one by one.

    Its options are what it can be made with (options.py); a dataclass has its fields as options.

    May offer besides: `references()`, a dict of named functions y (n, n_in) -> (n, n_out) that give the same
    observables more accurately, the one its error is stated against first; `background` (n_out,), the
    observables without what the parameters describe; `block_size`, the number of samples it prefers to
    solve at once, and `piece_size`, the pieces that such a block is cut into where an interrupt should cost less;

    - `cf_attributes`, a dict of texts that its data sets carry as attributes of the CF conventions: `title`, `institution`,
      `references`, `comment`. They fix no number: a data set with others is the same.
    - `coarser()`, the next cheaper version of itself: another problem with the same parameters and observables and
      a definition of its own, such as one on a coarser mesh; None where there is none. Called on what it returns, it gives
      a chain.
    - `tangents(y, directions)`, the observables (n, n_out) and their derivatives (n, r, n_out) along directions
      (n, r, n_in) of each sample, at the cost of one solve and r linear ones: the numbers of `solve` and `jvp`, to
      rounding. Rows of samples that fail are NaN.
    """

    @property
    def name(self) -> str:
        """What it is called in data sets and reports; for registered problems the registered name."""
        ...

    @property
    def definition(self) -> dict[str, Any]:
        """JSON-able; everything that fixes the numbers.

        `problem`, its name; `route`, in words how it is solved; `options`, which make the same problem again.
        """
        ...

    def solve(self, y: Array) -> tuple[Array, NDArray[np.int8]]:
        """Observables (n, n_out), NaN where a sample failed, and the `SolveStatus` (n,) of every sample.

        May give a list of messages (n,) besides, empty where there is nothing to say.
        """
        ...


class PickledWithoutCaches:
    """Mixin: pickled, an object leaves its cached properties behind, such as a solver, and makes them again."""

    def __getstate__(self) -> dict[str, Any]:
        attributes = (item for kind in type(self).__mro__ for item in vars(kind).items())
        cached = {name for name, attribute in attributes if isinstance(attribute, cached_property)}
        return {name: value for name, value in self.__dict__.items() if name not in cached}


def background_of(problem: Problem) -> Array | None:
    """The problem's `background` (n_out,), None where it has none.

    Raises UsageError: it does not fit the observables, or is not finite.
    """
    background = getattr(problem, "background", None)
    if background is None:
        return None
    background = numbers(background, f"the background of problem {problem.name!r}")
    expected = (problem.observables.size,)
    if background.shape != expected or not np.isfinite(background).all():
        got = f"shape {background.shape}" if background.shape != expected else "numbers that are not finite"
        raise UsageError(f"background of problem {problem.name!r}: expected {expected} finite numbers, got {got}")
    return background


def attributes_of(problem: Problem) -> dict[str, str]:
    """The problem's `cf_attributes`; none where it has none.

    Raises UsageError: they are not texts by name.
    """
    attributes = getattr(problem, "cf_attributes", None) or {}
    if not isinstance(attributes, Mapping) or not all(
        isinstance(text, str) and name in TEXT_ATTRIBUTES for name, text in attributes.items()
    ):
        expected = f"a dict of texts, of {', '.join(TEXT_ATTRIBUTES)}"
        raise UsageError(f"cf_attributes of problem {problem.name!r}: expected {expected}, got {attributes!r}")
    return dict(attributes)


def checked_directions(directions: Array, n: int, n_in: int) -> Array:
    """Directions (n, r, n_in) of `tangents`, as they are; raises UsageError: another shape."""
    directions = numbers(directions, "the directions")
    if directions.ndim != 3 or (len(directions), directions.shape[2]) != (n, n_in):
        raise UsageError(f"expected directions ({n}, r, {n_in}), got {directions.shape}")
    return directions


def coarser_version(problem: Problem, times: int = 1) -> Problem:
    """What `coarser` gives when it is applied so many times.

    Raises UsageError: the problem has not so many coarser versions, one has other parameters or observables, or does not
    define itself as another problem.
    """
    for level in range(times):
        coarse = getattr(problem, "coarser", lambda: None)()
        if coarse is None:
            versions = f"{level or 'no'} coarser version{'s' * (level != 1)} (`coarser`)"
            raise UsageError(f"problem {problem.name!r}: expected {times} and got {versions}")
        for what in ("parameters", "observables"):
            if getattr(coarse, what) != getattr(problem, what):
                raise UsageError(f"the coarser version of problem {problem.name!r} has other {what} than itself")
        if coarse.definition == problem.definition:
            raise UsageError(f"the coarser version of problem {problem.name!r} has the same definition as itself")
        problem = coarse
    return problem
