"""A problem on its way to a worker process: small to send, built once where it arrives."""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import dataclass
from functools import lru_cache

from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.surrogate.errors import UsageError


@dataclass(frozen=True)
class ShippedProblem:
    """What a worker needs to have the same problem.

    Attributes
    ----------
    pickled
        The problem itself, without its solver; None where it cannot be pickled and its factory is called instead.
    factory
        `package.module:factory`.
    folder
        The driver's working directory: modules are found there as they were by the driver.
    """

    pickled: bytes | None
    factory: str | None
    folder: str
    definition_hash: str

    @classmethod
    def of(cls, problem: Problem) -> ShippedProblem:
        """Pack it.

        Raises
        ------
        ValueError
            It can neither be pickled nor named by a factory.
        """
        import cloudpickle  # comes with Dask

        factory = getattr(problem, "factory", None)
        pickled = None
        try:
            pickled = cloudpickle.dumps(problem)
        except Exception as error:  # whatever the user's class, or a library's object in it, raises
            if factory is None:
                raise UsageError(
                    f"problem {problem.name!r} cannot be sent to workers ({error}); build its solver at the first "
                    "solve and leave it out of the pickle (__getstate__)"
                ) from error
        return cls(pickled, factory, os.getcwd(), definition_hash(problem.definition))

    def unpack(self) -> Problem:
        """The problem, the same object for every block.

        Raises
        ------
        ValueError
            Its definition is another one here: the worker finds another version of the code.
        """
        return _unpacked(self)


@lru_cache(maxsize=1)  # a worker holds the one problem it works on, and with it the solver
def _unpacked(shipped: ShippedProblem) -> Problem:
    if shipped.folder not in sys.path:
        sys.path.insert(0, shipped.folder)
    problem = pickle.loads(shipped.pickled) if shipped.pickled else load_problem(str(shipped.factory))
    if (found := definition_hash(problem.definition)) != shipped.definition_hash:
        raise UsageError(
            f"the worker's problem {problem.name!r} has the definition {found[:12]}, the driver's "
            f"{shipped.definition_hash[:12]}; install the same code for both, and restart the workers"
        )
    return problem
