"""What is analysed and what corrects it, from what a user names; and the memory of what was solved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gnvpro.apps.arguments import surrogate_of
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.loading import as_problem, load_problem
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.surrogate import Surrogate


def subject_of(model: Any) -> Surrogate | Problem:
    """A surrogate, or what is solved itself: a folder is that of a surrogate, any other name that of a problem."""
    if isinstance(model, Surrogate | Classifier):
        return surrogate_of(model)
    if not isinstance(model, str | Path):
        return as_problem(model)
    if Path(model).is_dir():
        return surrogate_of(model)
    name = str(model)
    try:
        return load_problem(name)
    except UsageError as error:
        if ":" in name or name.endswith(".toml"):
            raise
        raise UsageError(f"{name} is not a saved model, and {error}") from None


def refuse_without_solves(
    problem: Any, checkpoint: Any, time_limit: float | None, ranks: int, threads_per_solve: int
) -> None:
    """Of a surrogate that no solves correct."""
    if (problem, checkpoint, time_limit) != (None,) * 3 or max(ranks, threads_per_solve) > 1:
        raise UsageError(
            "`problem`, `checkpoint`, `time_limit`, `ranks` and `threads_per_solve` belong to fresh solves; say how many "
            "with `solves`, or leave them out"
        )


def remembering(solvable: Problem, problem: Problem, checkpoint: str | Path | None) -> Solves | None:
    """The memory of what `solvable` computes, which is the problem with its limits; None without a file."""
    if checkpoint is None:
        return None
    return Solves(solvable, path_of(checkpoint), definition_hash(problem.definition))
