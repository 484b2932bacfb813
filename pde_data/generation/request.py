"""What is asked of `generate`: the problem, or a coarser version of it, and a recipe that fits what is in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.pde_data.generation.pieces import derivative_method
from gnvpro.pde_data.problems.contract import Problem, coarser_version
from gnvpro.pde_data.problems.loading import as_problem, load_problem
from gnvpro.pde_data.sampling import default_design, directions, place
from gnvpro.pde_data.storage import store
from gnvpro.pde_data.storage.metadata import read_attributes
from gnvpro.pde_data.storage.provenance import GIVEN, Recipe
from gnvpro.surrogate.checks import integer
from gnvpro.surrogate.errors import UsageError

# What a kill costs at most, for problems that do not name a size; a block should still be a second of work.
DEFAULT_BLOCK_SIZE = 32
# Of a chunk: readers and writers hold one in memory.
_MOST_BYTES = 64 << 20


def problem_asked(problem: Any, options: dict[str, Any] | None, coarser: int = 0) -> Problem:
    """The problem, by name or as it is, or the version of it that is so many times coarser.

    Raises UsageError: options of an object, or no such version.
    """
    if isinstance(problem, str | Path):
        asked = load_problem(str(problem), options)
    elif options:
        raise UsageError("options are those of a problem that is named; give them to the object when it is made")
    else:
        asked = as_problem(problem)
    return coarser_version(asked, integer("coarser", coarser, least=0))


def recipe_asked(
    problem: Problem,
    out: Path,
    n_samples: int,
    seed: int,
    block_size: int | None,
    design: str | None,
    derivatives: int | None,
    differences: bool,
    placement: dict[str, Any] | None = None,
) -> Recipe:
    """What is asked for, once it is known to fit what is in place; what is left out is as there, or as usual.

    Raises UsageError: it does not fit, and the difference is named, or a problem without derivatives.
    """
    for what, size in (("samples", n_samples), ("samples per block", block_size)):
        if size is not None and size < 1:
            raise UsageError(f"expected at least 1 {what}, got {size}")
    there = store.recipe_in(out) if is_data_set(out) else None
    usual_size = there.block_size if there else getattr(problem, "block_size", _block_size(problem, derivatives or 0))
    usual_design = there.design if there else default_design(problem.parameters)
    n_directions = derivatives if derivatives is not None else there.n_directions if there else 0
    integer("derivatives", n_directions, least=0)
    if differences and not n_directions:
        raise UsageError("differences are a way to derivatives; say how many of each sample (derivatives=3)")
    method = derivative_method(problem, differences, there and there.derivative_method) if n_directions else None
    placed = n_samples, seed, block_size or usual_size, design or usual_design
    placement = placement or (there.placement if there else None)
    if placement and (n_placed := len(placement["numbers"])) < n_samples:
        raise UsageError(
            f"{out}: {n_samples} samples asked, {n_placed} are placed for a model; name the model that further ones are "
            "to be placed for (--at-points-for, at_points_for), or choose another place"
        )
    recipe = Recipe.of(problem, *placed, n_directions, method, placement)
    if not there or recipe.design != GIVEN:
        # A design, law or seed that gives no points: before anything is written.
        place(problem.parameters, recipe.design, seed, recipe.points(np.array([n_samples - 1])))
    directions(problem.parameters, seed, [n_samples - 1], n_directions)
    if there and (difference := there.difference(recipe)):
        raise UsageError(
            f"{out} was made with other settings: {difference}; repeat them to resume, or choose another place"
        )
    if there and n_samples < there.n_samples:
        raise UsageError(
            f"{out} has {there.n_samples} samples there, {n_samples} asked; none are thrown away: ask for "
            f"{there.n_samples} or more, or choose another place"
        )
    if there and there.design == GIVEN and n_samples > there.n_samples:
        raise UsageError(
            f"{out} has {there.n_samples} samples there whose parameters were given, {n_samples} asked: no design places "
            f"more; ask for {there.n_samples} to repair it or to retry failed ones"
        )
    return recipe


def _block_size(problem: Problem, n_directions: int) -> int:
    """The usual one, less where the values of so many samples would be more than a chunk should hold."""
    return max(1, min(DEFAULT_BLOCK_SIZE, _MOST_BYTES // (8 * problem.observables.size * max(1, n_directions))))


def is_data_set(out: Path) -> bool:
    """Whether `out` is a data set; False for nothing or an empty folder, an error for anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    read_attributes(out)
    return True
