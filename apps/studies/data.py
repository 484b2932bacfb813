"""Samples of a study: a file that the user names, that of the original study, or fresh solves of a registered problem."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gnvpro.apps.settings import portable
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.loading import registered_problem
from gnvpro.pde_data.sampling import default_design, place
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.samples import Samples

# Seed of the parameters that a study draws itself.
SEED = 0
# The original study's convection-diffusion-reaction data, and where to look for them.
CDR_FILE, FOLDER_VARIABLE = "CDR_Data.mat", "GNVPRO_PAPER_DATA"
CDR_SIZES = dict(train=400, validation=200, test=200)


def solved_samples(problem: str, count: int, report: Report) -> Samples:
    """So many samples of a registered problem, solved in this process and kept nowhere.

    Raises
    ------
    UsageError
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


def cdr_samples(data: Path | None, report: Report, count: int = sum(CDR_SIZES.values())) -> tuple[Samples, str]:
    """Samples, and where they are from: `data`, else the original study's file, else `count` solves of our own.

    The study's file is looked for in the folder that the environment variable GNVPRO_PAPER_DATA names.
    """
    if data is not None:
        return read_samples(data), portable(data)
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        return read_samples(Path(folder) / CDR_FILE), f"{CDR_FILE} of the original study"
    source = (
        f"{count} solves of the problem cdr, seed {SEED}; keep such a set with `gnvpro generate` and give it as --data"
    )
    return solved_samples("cdr", count, report), source


def sizes_for(samples: Samples) -> dict[str, int]:
    """The original study's sizes, in proportion where there are fewer samples."""
    share = min(1.0, len(samples) / sum(CDR_SIZES.values()))
    return {name: int(share * size) for name, size in CDR_SIZES.items()}
