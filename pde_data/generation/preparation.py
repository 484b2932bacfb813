"""Where a data set is to be made: what stands there, whether it fits what is asked, and having it ready."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnvpro.pde_data.problems.contract import Problem, SolveStatus, background_of
from gnvpro.pde_data.sampling import default_design, place
from gnvpro.pde_data.storage import integrity, layout, store
from gnvpro.pde_data.storage.recipe import Recipe
from gnvpro.surrogate.errors import UsageError

# What a kill costs at most, for problems that do not name a size; a block should still be a second of work.
DEFAULT_BLOCK_SIZE = 32


def asked_recipe(
    problem: Problem, out: Path, n_samples: int, seed: int, block_size: int | None, design: str | None
) -> Recipe:
    """What is asked for, once it is known to fit what is in place."""
    for what, size in (("samples", n_samples), ("samples per block", block_size)):
        if size is not None and size < 1:
            raise UsageError(f"expected at least 1 {what}, got {size}")
    there = store.recipe_in(out) if _is_data_set(out) else None
    usual_size = there.block_size if there else getattr(problem, "block_size", DEFAULT_BLOCK_SIZE)
    usual_design = there.design if there else default_design(problem.parameters)
    asked = Recipe.of(problem, n_samples, seed, block_size or usual_size, design or usual_design)
    # A design, law or seed that gives no points: before anything is written.
    place(problem.parameters, asked.design, seed, [n_samples - 1])
    if there and (difference := there.difference(asked)):
        raise UsageError(
            f"{out} was made with other settings: {difference}; repeat them to resume, or choose another place"
        )
    if there and n_samples < there.n_samples:
        raise UsageError(
            f"{out} has {there.n_samples} samples there, {n_samples} asked; none are thrown away: ask for "
            f"{there.n_samples} or more, or choose another place"
        )
    return asked


def is_complete(out: Path, recipe: Recipe, retry_failed: bool) -> bool:
    """Whether nothing is left to solve, nor to say of the whole."""
    if not _is_data_set(out) or not store.has_size(out, recipe.n_samples):
        return False
    status = status_in(out)
    unfinished = (status != SolveStatus.OK) if retry_failed else (status == SolveStatus.PENDING)
    return not unfinished.any() and "estimated_error" in store.read_attributes(out)


def status_in(out: Path) -> NDArray[np.int8]:
    """Status of every sample; where it cannot be read, the error names the damage."""
    try:
        return store.read_status(out)
    except ValueError:
        integrity.require_sound(out)
        raise


def make_last_folder(out: Path) -> None:
    """The last folder on the way to `out` is made if need be; a longer missing way is more likely a slip."""
    folder = out.parent
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"the folder {folder.parent} does not exist; create it, or choose another place")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {folder} ({error.strerror}); choose one you may write in") from error


def prepare(problem: Problem, out: Path, recipe: Recipe, repair: bool) -> list[integrity.Damage]:
    """Have the data set in place, in its size, and without the damage that is to be repaired; returns that."""
    if not _is_data_set(out):
        layout.create(out, recipe, background_of(problem))
        return []
    if not store.has_size(out, recipe.n_samples):
        store.resize(out, recipe.n_samples)
    found = integrity.find_damage(out) if repair else []
    if found:
        integrity.give_up(out, found, background_of(problem))
    return found


def _is_data_set(out: Path) -> bool:
    """Whether `out` is a data set; False for nothing or an empty folder, an error for anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    store.read_attributes(out)
    return True
