"""Samples of a study: a file that is given, or fresh solves of a registered problem."""

from __future__ import annotations

import numpy as np

from gnvpro.apps.progress import Report
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.loading import registered_problem
from gnvpro.pde_data.sampling import default_design, place
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.samples import Samples

# Seed of the parameters that a study draws itself.
SEED = 0


def solved_samples(problem: str, count: int, report: Report) -> Samples:
    """So many samples of a registered problem, solved in this process and kept nowhere.

    Raises
    ------
    ValueError
        Samples that could not be solved: make a data set with `gnvpro generate`, which keeps the reasons.
    """
    model = registered_problem(problem)
    parameters = place(model.parameters, default_design(model.parameters), SEED, np.arange(count))
    blocks, size = [], max(1, min(getattr(model, "block_size", 64), 64))
    for start in range(0, count, size):
        report(start, count, f"solving {problem}: {start}/{count}")
        observables, status = model.solve(parameters[start : start + size])
        if (status != SolveStatus.OK).any():
            raise UsageError(f"{problem}: some of its samples could not be solved; see `gnvpro generate {problem}`")
        blocks.append(observables)
    background = getattr(model, "background", None)
    return Samples(
        parameters, np.concatenate(blocks), model.parameters, model.observables,
        provenance={"problem": problem, "seed": SEED, "n_samples": count},
        background=None if background is None else np.asarray(background).reshape(-1),
    )  # fmt: skip
