"""A problem on its way to another process."""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.source import difference_of_definitions
from gnvpro.surrogate.errors import UsageError


@dataclass(frozen=True)
class PickledProblem:
    """A problem on its way to a worker process: small to send, unpacked once where it arrives.

    Attributes
    ----------
    pickled
        The problem itself, without its solver; or its factory's name and options.
    folder
        The driver's working directory: modules are found there as they were by the driver.
    """

    pickled: bytes
    folder: str
    definition: dict[str, Any]

    def __hash__(self) -> int:
        return hash((self.pickled, self.folder))

    @classmethod
    def of(cls, problem: Problem) -> PickledProblem:
        """Pack it.

        Raises UsageError: it can neither be pickled nor named by a factory.
        """
        try:
            pickled = _dumps(problem)
        except Exception as error:  # whatever the user's class, or a library's object in it, raises
            raise UsageError(
                f"problem {problem.name!r} cannot be sent to workers ({error}); give it as package.module:factory, or "
                "build its solver at the first solve and leave it out of the pickle (__getstate__)"
            ) from error
        return cls(pickled, os.getcwd(), problem.definition)

    def unpack(self) -> Problem:
        """The problem, the same object for every block.

        Raises UsageError: its definition is another one here: the worker finds another version of the code.
        """
        return _unpacked(self)


def _dumps(problem: Problem) -> bytes:
    try:
        from cloudpickle import dumps  # comes with Dask; takes classes of scripts and notebooks too
    except ImportError:
        dumps = pickle.dumps
    return dumps(problem)


@lru_cache(maxsize=1)  # a worker holds the one problem it works on, and with it the solver
def _unpacked(sent: PickledProblem) -> Problem:
    if sent.folder not in sys.path:
        sys.path.insert(0, sent.folder)
    problem = pickle.loads(sent.pickled)
    if difference := difference_of_definitions(sent.definition, problem.definition):
        raise UsageError(
            f"the worker's problem {problem.name!r} is not the driver's: {difference}; install the same code for both, "
            "and restart the workers"
        )
    return problem
