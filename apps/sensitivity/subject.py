"""What is analysed and what corrects it, from what a user names; and the memory of what was solved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gnvpro.apps.arguments import surrogate_of
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.pde_data.problems.loading import as_problem, load_problem
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


def remembering(solvable: Problem, problem: Problem, checkpoint: str | Path | None) -> Solves | None:
    """The memory of what `solvable` computes, which is the problem with its limits; None without a file."""
    return None if checkpoint is None else Solves.of_pde(solvable, problem, checkpoint)
