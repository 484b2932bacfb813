"""Data sets that grow by samples at given parameters instead of by a design: solves that were asked for one by one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gnvpro.pde_data.problems.contract import Problem, SolveStatus, attributes_of, background_of
from gnvpro.pde_data.problems.solving import SolvedBlock
from gnvpro.pde_data.storage.provenance import GIVEN, Recipe
from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

BLOCK_SIZE = 32
# For another process that appends, which takes a fraction of a second.
_WAIT_SECONDS = 60.0


def append(
    problem: Problem, out: str | os.PathLike[str], parameters: Array, solved: SolvedBlock, wall_seconds: float
) -> int:
    """Add solved samples, failed ones with their reason, to the data set `out`, made if absent; returns its size.

    They are there once `n_samples` counts them, which is written last: a run that is killed before leaves what was
    there. Several processes may append; each waits for the others.

    `parameters` (n, n_in): in the order of `solved`.

    Raises
    ------
    UsageError
        `out` is something else, of another problem, a data set that a design makes, or damaged where samples would be
        added; or another process writes it for a minute.
    OSError
        It cannot be written, or its file system has no locks.
    """
    # zarr is needed to write, and not by what only predicts and might have written
    from gnvpro.pde_data.storage import layout, store
    from gnvpro.pde_data.storage.lock import sole_writer

    path = path_of(out).absolute()
    _require_same_solves(problem, path)
    n, each = len(parameters), np.full(len(parameters), wall_seconds / max(len(parameters), 1))

    def write(place: Path, first: int) -> None:
        for begin in _cut(first, n):
            rows = slice(begin, min(begin + BLOCK_SIZE - (first + begin) % BLOCK_SIZE, n))
            part = SolvedBlock(solved.observables[rows], solved.status[rows], solved.messages[rows])
            store.write_block(
                place, first + begin, first + n, store.Block.of_values(parameters[rows], part, each[rows])
            )

    with sole_writer(path, wait=_WAIT_SECONDS, required=True):
        if not path.exists():
            recipe, mesh = _recipe(problem, n), problem.observables.mesh
            about = attributes_of(problem)
            layout.create(path, recipe, background_of(problem), lambda place: write(place, 0), mesh=mesh, about=about)
            return n
        _require_same_solves(problem, path)
        _require_sound_end(path)
        first = _length(path)
        store.resize(path, first + n, lambda: write(path, first))
        return first + n


def require_appendable(problem: Problem, path: Path) -> None:
    """What `append` would refuse, before anything is solved."""
    from gnvpro.pde_data.storage.lock import sole_writer

    _require_same_solves(problem, path)
    if path.exists():
        with sole_writer(path, wait=_WAIT_SECONDS, required=True):  # while nobody writes the block
            _require_sound_end(path)


def _require_same_solves(problem: Problem, path: Path) -> None:
    """There is a place for the data set, and one that is there takes samples of this problem."""
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


def _require_sound_end(path: Path) -> None:
    """The last block, which is written again with the samples that are in it, is what was written."""
    from gnvpro.pde_data.storage import integrity, store

    integrity.require_metadata(path)
    block, beside = divmod(_length(path), store.recipe_in(path).block_size)
    if beside:
        integrity.raise_damage(path, integrity.damage_of_block(path, block))


def _length(path: Path) -> int:
    """How many samples there are: the next one has this number."""
    from gnvpro.pde_data.storage import integrity, metadata

    attributes = metadata.read_attributes(path)
    if attributes["schema_version"] >= 3:
        return attributes["n_samples"]
    # Before, `n_samples` was raised first: at the end there may be samples of a run that was killed.
    there = integrity.read_sound(path, "status", SolveStatus.EXCEPTION) != SolveStatus.PENDING
    there |= np.isfinite(integrity.read_sound(path, "parameters", 0.0)).reshape(len(there), -1).all(axis=1)
    return int(np.flatnonzero(there).max(initial=-1)) + 1


def _cut(first: int, n: int) -> list[int]:
    """Where n samples from number `first` on are cut into blocks, counted from the first of them."""
    return [0, *range(BLOCK_SIZE - first % BLOCK_SIZE, n, BLOCK_SIZE)]


def _recipe(problem: Problem, n: int) -> Recipe:
    return Recipe.of(problem, n, seed=0, block_size=BLOCK_SIZE, design=GIVEN)
