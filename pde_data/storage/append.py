"""Data sets that grow by samples at given parameters instead of by a design: solves that were asked for one by one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gnvpro.pde_data.problems.contract import Problem, SolveStatus, background_of
from gnvpro.pde_data.problems.solving import SolvedBlock
from gnvpro.pde_data.storage.provenance import Recipe
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# In place of a design in the attributes: the parameters were given, no law or sequence makes them again.
GIVEN = "given"
BLOCK_SIZE = 32


def append(
    problem: Problem, out: str | os.PathLike[str], parameters: Array, solved: SolvedBlock, wall_seconds: float
) -> int:
    """Add solved samples, failed ones with their reason, to the data set `out`, made if absent; returns its size.

    A run that is killed in between leaves what was there, and at most samples that the next call replaces.

    `parameters` (n, n_in): in the order of `solved`.

    Raises UsageError: `out` is something else, of another problem, a data set that a design makes, or being written.
    """
    # zarr is needed to write, and not by what only predicts and might have written
    from gnvpro.pde_data.storage import layout, store

    path = Path(out).absolute()
    require_appendable(problem, path)
    with store.sole_writer(path):
        if not path.exists():
            layout.create(path, _recipe(problem, len(parameters)), background_of(problem))
        status = store.read_status(path)
        first = int((status != SolveStatus.PENDING).sum())  # those after it are of a call that was killed
        total = first + len(parameters)
        if not store.has_size(path, total):
            store.resize(path, total)
        each = np.full(len(parameters), wall_seconds / len(parameters))
        store.write_block(path, first, total, store.Block(parameters, solved, each))
    return total


def require_appendable(problem: Problem, path: Path) -> None:
    """What `append` would refuse, before anything is solved."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist; create it, or choose another place")
    if not path.exists():
        return
    from gnvpro.pde_data.storage import store

    there = store.recipe_in(path)
    if there.design != GIVEN:
        raise UsageError(
            f"{path} is placed by the design {there.design!r}: its samples are those of its seed, others would not be "
            "found again; append to another data set"
        )
    if difference := there.difference(_recipe(problem, there.n_samples)):
        raise UsageError(f"{path} is of other solves: {difference}; append to another data set")


def _recipe(problem: Problem, n: int) -> Recipe:
    return Recipe.of(problem, n, seed=0, block_size=BLOCK_SIZE, design=GIVEN)
